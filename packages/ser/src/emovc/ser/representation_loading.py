"""Public networks of the transformers library: found, checked, and never half random."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.hub import fetch_model

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Weights that no representation depends on: SpecAugment's mask and the loss of x-vectors.
UNUSED = ("masked_spec_embed", "objective.")


class Pretrained(NamedTuple):
    """A network with all its weights.

    Attributes:
        network: The network, in evaluation mode.
        config: Its ``config.json``, completed.
        preprocessor: Its ``preprocessor_config.json``, empty if there is none.
        source: Where it is from, for messages.
    """

    network: nn.Module
    config: Any
    preprocessor: dict[str, Any]
    source: str


def load_transformer(
    source: str | Path, kinds: dict[str, str], offline: bool = False
) -> Pretrained:
    """Load a network of the transformers library.

    Args:
        source: Folder with ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``) and
            perhaps ``preprocessor_config.json``, or a model's name on Hugging Face.
        kinds: Class of transformers to load, by the config's ``model_type``.
        offline: Download nothing.

    Raises:
        UserError: There is no such model, it is of another kind, or it lacks weights.
    """
    folder = find_folder(source, offline)
    kind = read_json(folder / CONFIG).get("model_type")
    if kind not in kinds:
        raise UserError(f"{source}: is a {kind} model; this takes {', '.join(kinds)}")
    try:
        import transformers
    except ImportError:
        raise UserError(
            f"{source}: needs transformers; install the extra emovc-ser[representations]"
        ) from None
    network, found = _load(getattr(transformers, kinds[kind]), folder, source)
    lacking = sorted(k for k in found["missing_keys"] if not _unused(k))
    if lacking:
        raise UserError(
            f"{source}: lacks {len(lacking)} weights of a {kinds[kind]} ({lacking[0]} ...), which"
            " would stay random; take a model of that kind"
        )
    path = folder / PREPROCESSOR
    preprocessor = read_json(path) if path.is_file() else {}
    return Pretrained(network.eval(), network.config, preprocessor, str(source))


def find_folder(source: str | Path, offline: bool) -> Path:
    """The local folder of a model; what isn't here is downloaded.

    Raises:
        UserError: The folder lacks a file, or there is no such model.
    """
    folder = Path(source)
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            raise UserError(f"{folder}: lacks {CONFIG}; give a folder of save_pretrained")
        if not any((folder / name).is_file() for name in WEIGHTS):
            raise UserError(f"{folder}: lacks {' or '.join(WEIGHTS)}; give the whole model")
        return folder
    if len(str(source).split("/")) != 2 or folder.is_absolute():
        raise UserError(f"{source}: neither a folder nor a name on Hugging Face (owner/model)")
    return _fetch(str(source), offline)


def _fetch(name: str, offline: bool) -> Path:
    """The cached or downloaded copy, with the weights in the better of the two formats."""
    for weights in WEIGHTS:  # many models have one format only; what is cached needs no look-up
        try:
            return fetch_model(
                "huggingface", name, [CONFIG, weights], [PREPROCESSOR], True, "judges"
            )
        except UserError:
            continue
    for weights in WEIGHTS:
        folder = fetch_model(
            "huggingface", name, [CONFIG, weights], [PREPROCESSOR], offline, "judges"
        )
        if (folder / weights).is_file():
            return folder
    raise UserError(f"{name}: has neither {' nor '.join(WEIGHTS)}; choose another model")


def _load(kind: Any, folder: Path, source: str | Path) -> tuple[Any, dict[str, Any]]:
    """Network and account of its weights; the library's own account is kept silent."""
    log = logging.getLogger("transformers")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return kind.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # a dozen types, from safetensors to the config's own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"{source}: can't be loaded as {kind.__name__} ({reason}); download it again"
        ) from error
    finally:
        log.setLevel(level)


def _unused(name: str) -> bool:
    return any(part in name for part in UNUSED)
