"""Weights from and to disk: tensors only, whole files only, and every name accounted for."""

import hashlib
import inspect
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.files import atomic_path, read_json


def read_weights(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU: safetensors by the file's ending, else PyTorch's format.

    Only tensors and plain containers are unpickled (``weights_only=True``).

    Raises:
        UserError: The file is absent, truncated, or holds other pickled objects.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise UserError(
                f"{path}: holds pickled objects beside its tensors (of fairseq, or of a model that"
                " was trained without a config?), which emovc doesn't load; where you trust it,"
                " save its tensors alone as .safetensors"
            ) from None
        raise _damaged(path) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, OSError):
        raise _damaged(path) from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: holds a {type(loaded).__name__}, not a table of named weights")
    return loaded


def _damaged(path: Path) -> UserError:
    """The file's bytes are no checkpoint."""
    return UserError(f"{path}: not a whole checkpoint (truncated?); copy or download it again")


def load_exactly(module: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    """Load weights of which none is missing, left over, of another shape, or NaN.

    Args:
        module: Network to fill.
        state: Weights by name.
        source: Where they are from, for the message.

    Raises:
        UserError: They don't fit; one example of each kind of misfit is named.
    """
    foreign = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if foreign:
        raise UserError(f"{source}: {foreign[0]} is no table of numbers; take another checkpoint")
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    misshapen = [name for name in own if name in state and own[name].shape != state[name].shape]
    complaints = []
    if missing:
        complaints.append(f"{len(missing)} weights are missing ({missing[0]} ...)")
    if unexpected:
        complaints.append(f"{len(unexpected)} are unknown ({unexpected[0]} ...)")
    if misshapen:
        name = misshapen[0]
        shapes = f"{tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        complaints.append(f"{len(misshapen)} have another shape ({name}: {shapes} ...)")
    if complaints:
        raise UserError(
            f"{source}: doesn't fit this {type(module).__name__}: {', '.join(complaints)}; "
            "take the checkpoint and the configuration from the same place"
        )
    diverged = [name for name, value in state.items() if not _numbers(value)]
    if diverged:
        raise UserError(
            f"{source}: {len(diverged)} weights hold NaN or infinity ({diverged[0]} ...); take an"
            " earlier checkpoint, or train anew"
        )
    module.load_state_dict(state)


def _numbers(value: Tensor) -> bool:
    """Whether all of a tensor is finite; a sum shows NaN and infinity without a copy."""
    return not value.is_floating_point() or bool(value.sum(dtype=torch.float64).isfinite())


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors, atomically."""
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary)


def read_settings(path: Path, kind: type[nn.Module]) -> dict[str, Any]:
    """The ``settings`` in the ``config.json`` of a folder written by ``save_pretrained``.

    Args:
        path: The ``config.json``.
        kind: Class whose constructor they must suit.

    Raises:
        UserError: The file is absent or for another class.
    """
    config = read_json(path)
    settings = config.get("settings") if isinstance(config, dict) else None
    if not isinstance(settings, dict) or settings.keys() - inspect.signature(kind).parameters:
        raise UserError(f"{path}: not the settings of a {kind.__name__}; save it again")
    return settings


def require_pretrained(network: nn.Module) -> None:
    """Refuse random networks: what they give looks like results.

    Raises:
        UserError: Its ``pretrained`` is not True.
    """
    if not network.pretrained:
        kind = type(network).__name__
        raise UserError(f"{kind}: has random weights; load it with {kind}.from_pretrained")


def require_trained(network: nn.Module, folder: Path) -> None:
    """Refuse to write random weights where pretrained ones are looked for.

    Raises:
        UserError: Its ``pretrained`` is not True.
    """
    if not network.pretrained:
        raise UserError(
            f"{folder}: not written, the weights of this {type(network).__name__} are random; "
            "load some, or set pretrained = True after training them"
        )


def weights_hash(module: nn.Module) -> str:
    """Twelve hexadecimal digits that identify a network's weights, whatever file they came in."""
    return state_hash(module.state_dict())


def state_hash(state: Mapping[str, Tensor]) -> str:
    """Twelve hexadecimal digits that identify weights by name."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:12]
