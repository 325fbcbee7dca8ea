"""Networks of the ``transformers`` library: found or fetched, loaded quietly, never half random."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from emovc.common.checked_values import read_object
from emovc.common.errors import UserError
from emovc.common.hub import fetch_model

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the better format first
# What no result depends on: SpecAugment's mask and the loss of x-vectors.
UNUSED = ("masked_spec_embed", "objective.")
EXTRA = "judges"  # of emovc-common, with transformers and the hub's client
AGAIN = "copy or download all its files again"


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


def find_folder(
    source: str | Path, needed: Sequence[str], optional: Sequence[str], offline: bool
) -> Path:
    """The local folder of a model, downloaded first if it is a name on Hugging Face.

    Args:
        source: A folder, or a name on the hub.
        needed: Files to fetch without which it is of no use, beside ``config.json`` and the
            weights.
        optional: Further files to fetch if they are there.
        offline: Download nothing.

    Raises:
        UserError: It isn't here and can't, or mustn't, be downloaded; or the folder lacks a file.
    """
    folder, name = Path(source), str(source)
    if folder.is_dir():
        _require_model(folder)
        return folder
    if name.count("/") != 1 or name.startswith((".", "/")):
        raise UserError(
            f"{name}: no such folder or model; this is neither a folder nor a name on Hugging Face"
            " (owner/model)"
        )
    choices = [(CONFIG, *needed, weights) for weights in WEIGHTS]
    for files in choices:  # many models have one format only; what is cached needs no look-up
        try:
            return fetch_model("huggingface", name, files, optional, True, EXTRA)
        except UserError:
            continue
    for files in choices:
        folder = fetch_model("huggingface", name, files, optional, offline, EXTRA)
        if (folder / files[-1]).is_file():
            return folder
    raise UserError(f"{name}: has neither {' nor '.join(WEIGHTS)}; choose another model")


def weights_file(folder: Path) -> Path:
    """The weights of a folder of :func:`find_folder`, in the better format that is there."""
    better, other = (folder / name for name in WEIGHTS)
    return other if other.is_file() and not better.is_file() else better


def load_transformer(
    source: str | Path, kinds: Mapping[str, str], offline: bool = False
) -> Pretrained:
    """Load a network and how it wants to be fed.

    Args:
        source: Folder with ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``) and
            perhaps ``preprocessor_config.json``, or a model's name on Hugging Face.
        kinds: Class of transformers to load, by the config's ``model_type``.
        offline: Download nothing.

    Raises:
        UserError: There is no such model, it is of another kind, or it lacks weights.
    """
    folder = find_folder(source, (), (PREPROCESSOR,), offline)
    kind = str(read_object(folder / CONFIG).get("model_type"))
    if kind not in kinds:
        raise UserError(f"{source}: is a {kind} model; this takes {', '.join(kinds)}")
    network, missing = _load(kinds[kind], folder)
    if missing:
        raise UserError(
            f"{source}: lacks {len(missing)} weights of a {kinds[kind]} ({missing[0]} ...), which"
            " would stay random; take a model of that kind"
        )
    path = folder / PREPROCESSOR
    preprocessor = read_object(path) if path.is_file() else {}
    return Pretrained(network, network.config, preprocessor, str(source))


def load_network(kind: str, folder: Path) -> Any:
    """Load a network in float32, in evaluation mode.

    Args:
        kind: Class of ``transformers`` with ``from_pretrained``.
        folder: Folder with ``config.json`` and the weights.

    Raises:
        UserError: Files are absent or damaged, or a weight is missing.
    """
    network, missing = _load(kind, folder)
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} weights of {type(network).__name__} are missing "
            f"({missing[0]} ...); take a checkpoint that was trained for this"
        )
    return network


def load_part(kind: str, folder: Path) -> Any:
    """Load what stands before or after a network: a feature extractor, a processor.

    Args:
        kind: Class of ``transformers`` with ``from_pretrained``.
        folder: Folder with its files.

    Raises:
        UserError: Files are absent or damaged.
    """
    loader = _class(kind, folder)
    with _one_line(kind, folder):
        return loader.from_pretrained(folder, local_files_only=True)


@contextmanager
def quiet() -> Iterator[None]:
    """No bars, reports and warnings of ``transformers`` within."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _require_model(folder: Path) -> None:
    """Refuse a folder without configuration or weights; large models have several such files."""
    whole = any(name.suffix in (".safetensors", ".bin") for name in folder.iterdir())
    for there, name in (((folder / CONFIG).is_file(), CONFIG), (whole, " or ".join(WEIGHTS))):
        if not there:
            raise UserError(f"{folder}: can't be loaded, it lacks {name}; {AGAIN}")


def _class(kind: str, folder: Path) -> Any:
    """A class of the library, which is imported only where it is needed."""
    try:
        import transformers
    except ImportError:
        raise UserError(
            f"{folder}: needs transformers; install the extra emovc-common[{EXTRA}]"
        ) from None
    return getattr(transformers, kind)


def _load(kind: str, folder: Path) -> tuple[Any, list[str]]:
    """A network in evaluation mode, and the weights that it needs and the files lack."""
    loader = _class(kind, folder)
    with _one_line(kind, folder):
        network, report = loader.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    needed = (k for k in report["missing_keys"] if not any(part in k for part in UNUSED))
    return network.eval(), sorted(needed)


@contextmanager
def _one_line(kind: str, folder: Path) -> Iterator[None]:
    """One line instead of a traceback and of the library's own account."""
    try:
        with quiet():
            yield
    except Exception as error:  # a dozen types, from safetensors to the config's own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{folder}: can't be loaded as {kind} ({reason}); {AGAIN}") from error
