"""From weights on disk to a network: exported folders, runs and checkpoints, without Lightning.

A checkpoint and an exported folder both hold the constructor call (``class_path`` and
``init_args``) beside the weights. Only networks of emovc, and of packages the user trusts, are
built from them (:mod:`emovc.common.trust`), and no pickle is read: weights are safetensors, or
checkpoints read with ``weights_only=True``.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar, get_type_hints

import yaml
from torch import Tensor, nn

from emovc.common.checked_values import checked
from emovc.common.errors import UserError
from emovc.common.files import write_text
from emovc.common.trust import class_of_file, class_of_user, trusting
from emovc.common.weights import load_exactly, read_weights, require_trained, save_weights
from emovc.common.yaml_files import read_yaml

Network = TypeVar("Network", bound=nn.Module)
PREFIX = "model."
# What constructors raise for values that are no sizes, rates or names.
UNBUILDABLE = (
    TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError, MemoryError,
    AssertionError,
)  # fmt: skip
HELD = {"state_dict": dict[str, Any], "hyper_parameters": dict[str, Any]}


class _Arguments(TypedDict):
    manifest: str


class _Data(TypedDict):
    init_args: _Arguments


class RunConfig(TypedDict):
    """What is read of a run's ``config.yaml``."""

    data: _Data


def build(config: Any, where: str, ours: bool = True) -> Any:
    """Build what a ``class_path`` and ``init_args`` describe, nested to any depth.

    Args:
        config: A configuration value; what is no such description is returned as it is.
        where: File it stands in, for messages.
        ours: Build only what a file that came with weights may name, see
            :func:`~emovc.common.trust.class_of_file`; one that users write themselves, such as a
            list of judges, may name any class.

    Raises:
        UserError: A class may not be named, doesn't exist or doesn't know an argument.
    """
    if isinstance(config, list):
        return [build(item, where, ours) for item in config]
    if not isinstance(config, dict):
        return config
    if "class_path" not in config:
        return {key: build(value, where, ours) for key, value in config.items()}
    path = config["class_path"]
    kind = class_of_file(path, where) if ours else class_of_user(path, where)
    given = config.get("init_args") or {}
    if not isinstance(given, dict):
        raise UserError(f"{where}: init_args of {path} are malformed; write them as NAME: VALUE")
    arguments = {k: build(v, where, ours) for k, v in given.items()}
    unknown = sorted(arguments.keys() - inspect.signature(kind).parameters.keys())
    if unknown:
        known = ", ".join(inspect.signature(kind).parameters)
        raise UserError(f"{where}: {path} has no setting {unknown[0]!r}; it has {known}")
    try:
        return kind(**arguments)
    except UserError:
        raise
    except UNBUILDABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"{where}: {path} can't be built of its init_args ({reason}); correct them, or take the"
            " original file"
        ) from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint.

    Raises:
        UserError: The file is absent, truncated, or no checkpoint of emovc.
    """
    checkpoint = read_weights(path)
    if not checkpoint.keys() >= {"state_dict", "hyper_parameters"}:
        raise UserError(f"{path}: is no training checkpoint of emovc; use a file from checkpoints/")
    for name, kind in HELD.items():
        checked(checkpoint[name], kind, f"{path}: {name}", "take another checkpoint")
    return checkpoint


def load_checkpoint(
    path: Path, kind: type[Network], settings: dict[str, Any] | None = None
) -> Network:
    """Build and load the network that a training checkpoint calls ``model``.

    Args:
        path: Checkpoint file.
        kind: Class it must be of.
        settings: Constructor arguments to override.

    Raises:
        UserError: The checkpoint can't be used.
    """
    checkpoint = read_checkpoint(path)
    config = checkpoint["hyper_parameters"].get("model")
    weights = {
        key.removeprefix(PREFIX): value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith(PREFIX)
    }
    return _load(config, weights, kind, settings, path)


def load_folder(
    folder: Path, kind: type[Network], settings: dict[str, Any] | None = None
) -> Network:
    """Build and load an exported network: ``config.yaml`` and ``model.safetensors``.

    Raises:
        UserError: The folder can't be used.
    """
    config, weights = folder / "config.yaml", folder / "model.safetensors"
    if not config.is_file():
        raise UserError(f"{config}: is missing; emovc export RUN {folder} writes it")
    parsed = read_yaml(config)
    if not isinstance(parsed, dict):
        raise UserError(f"{config}: does not describe a model; export it again")
    return _load(parsed.get("model"), read_weights(weights), kind, settings, weights)


def save_folder(network: nn.Module, folder: Path) -> None:
    """Write what :func:`load_folder` reads, each file atomically.

    Args:
        network: With its constructor call as ``description``, and ``pretrained``.
        folder: Folder to write to.

    Raises:
        UserError: The weights are random.
    """
    require_trained(network, folder)
    text = yaml.safe_dump({"model": network.description}, sort_keys=False)
    write_text(folder / "config.yaml", text)
    save_weights(network, folder / "model.safetensors")  # last: without it nothing is loaded


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a path names: a file, or a run's last one.

    Raises:
        UserError: There is none.
    """
    if path.is_file():
        return path
    last = path / "checkpoints" / "last.ckpt"
    if not last.is_file():
        raise UserError(
            f"{path}: neither a run (checkpoints/last.ckpt), a checkpoint, nor an exported folder"
            " (model.safetensors)"
        )
    return last


def find_model(path: Path) -> Path:
    """The file with the weights of an exported folder, a run, or a checkpoint.

    Raises:
        UserError: There is none.
    """
    exported = path / "model.safetensors"
    return exported if exported.is_file() else find_checkpoint(path)


def load_network(
    path: Path,
    kind: type[Network],
    settings: dict[str, Any] | None = None,
    trust: Sequence[str] = (),
) -> Network:
    """Load the network of an exported folder, a run (its last checkpoint), or a checkpoint.

    Args:
        path: Any of the three.
        kind: Class it must be of.
        settings: Constructor arguments to override.
        trust: Packages beside emovc's whose classes may be built; name only what you know.

    Raises:
        UserError: The path holds no such network.
    """
    file = find_model(path)
    load = load_folder if file.parent == path else load_checkpoint
    with trusting(*trust):
        return load(path if file.parent == path else file, kind, settings)


def load_converter(
    path: Path, settings: dict[str, Any] | None = None, trust: Sequence[str] = ()
) -> Any:
    """Load the converter of an exported folder, a run, or a checkpoint.

    Args:
        path: Any of the three; of a run its last checkpoint.
        settings: Constructor arguments to override, such as what a conversion takes over.
        trust: Packages beside emovc's whose classes may be built; name only what you know.

    Returns:
        A :class:`~emovc.common.conversion.Converter`, in eval mode on the CPU.

    Raises:
        UserError: The path holds no converter.
    """
    loaded = load_network(path, nn.Module, settings, trust)
    if not hasattr(loaded, "convert"):
        raise UserError(f"{path}: holds a {type(loaded).__name__}, which converts no speech")
    return loaded


def manifest_of(run: Path) -> Path:
    """The manifest a run was trained on.

    Raises:
        UserError: It does not tell.
    """
    config = run / "config.yaml"
    if (run / "checkpoints").is_dir() and config.is_file():
        return manifest_in(config)
    raise UserError(f"{run}: does not tell its manifest; give --manifest")


def manifest_in(config: Path) -> Path:
    """The manifest that a run's ``config.yaml`` names.

    Raises:
        UserError: It names none.
    """
    found = checked(read_yaml(config), RunConfig, config, "give --manifest")
    return Path(found["data"]["init_args"]["manifest"])


def _checked(class_path: Any, settings: dict[str, Any], where: str) -> dict[str, Any]:
    """Settings as the constructor wants them; names that it lacks are left to :func:`build`.

    Raises:
        UserError: A value is of another type, or none of the choices.
    """
    if not settings:
        return {}
    from jsonargparse import ArgumentError, ArgumentParser

    kind: Any = class_of_file(class_path, where)
    hints = get_type_hints(kind.__init__)
    checked = {}
    for name, value in settings.items():
        checked[name] = value
        described = isinstance(value, dict) and "class_path" in value
        if name not in hints or described:
            continue
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument(f"--{name}", type=hints[name])
        try:
            checked[name] = parser.parse_object({name: value})[name]
        except (ArgumentError, ValueError, TypeError):
            wanted = inspect.formatannotation(hints[name]).replace("typing.", "")
            raise UserError(f"setting {name}: {value!r} is no {wanted}") from None
    return checked


def _load(
    config: Any,
    weights: dict[str, Tensor],
    kind: type[Network],
    settings: dict[str, Any] | None,
    where: Path,
) -> Network:
    """Build from a description, load the weights, and mark what was loaded as pretrained."""
    if not isinstance(config, dict) or "class_path" not in config:
        raise UserError(f"{where}: does not say what model it holds; was it made by emovc fit?")
    given = _checked(config["class_path"], settings or {}, str(where))
    own = checked(config.get("init_args") or {}, dict[str, Any], f"{where}: init_args", "export it")
    config = {**config, "init_args": {**own, **given}}
    network = build(config, str(where))
    if not isinstance(network, kind):
        raise UserError(f"{where}: holds a {type(network).__name__}, not a {kind.__name__}")
    load_exactly(network, weights, where)
    for module in network.modules():
        if hasattr(module, "pretrained"):
            vars(module)["pretrained"] = True
    return network.eval()
