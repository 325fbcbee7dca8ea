"""Networks of the ``transformers`` library, from a hub or a folder, without a missing weight."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from emovc.common.errors import UserError
from emovc.common.hub import fetch_model

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
HARMLESS = ("masked_spec_embed",)  # missing in old checkpoints, used in training only


def find_folder(
    source: str | Path, needed: Sequence[str], optional: Sequence[str], offline: bool
) -> Path:
    """The local folder of a model, downloaded first if it is a name on Hugging Face.

    Args:
        source: A folder, or a name on the hub.
        needed: Files without which it is of no use, beside ``config.json`` and the weights.
        optional: Further files to take if they are there.
        offline: Download nothing.

    Raises:
        UserError: It isn't here and can't, or mustn't, be downloaded.
    """
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/")):
        raise UserError(f"{name}: no such folder, and no name on Hugging Face (owner/model)")
    files = ("config.json", *needed)
    for weights in WEIGHTS:
        try:
            return fetch_model("huggingface", name, (*files, weights), optional, True, "judges")
        except UserError:
            continue
    safe, pickled = WEIGHTS
    folder = fetch_model("huggingface", name, (*files, safe), optional, offline, "judges")
    if (folder / safe).exists():
        return folder
    return fetch_model("huggingface", name, (*files, pickled), optional, offline, "judges")


def load_network(kind: Any, folder: Path) -> Any:
    """Load a network in float32, in evaluation mode.

    Args:
        kind: Class of ``transformers`` with ``from_pretrained``.
        folder: Folder with ``config.json`` and the weights.

    Raises:
        UserError: Files are absent or damaged, or a weight is missing.
    """
    with _one_line(folder):
        network, report = kind.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    missing = sorted(key for key in report["missing_keys"] if not key.endswith(HARMLESS))
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} weights of {type(network).__name__} are missing "
            f"({missing[0]} ...); take a checkpoint that was trained for this"
        )
    return network.eval()


def load_part(kind: Any, folder: Path) -> Any:
    """Load what stands before or after a network: a feature extractor, a processor.

    Args:
        kind: Class of ``transformers`` with ``from_pretrained``.
        folder: Folder with its files.

    Raises:
        UserError: Files are absent or damaged.
    """
    with _one_line(folder):
        return kind.from_pretrained(folder, local_files_only=True)


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


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """One line instead of a traceback."""
    try:
        with quiet():
            yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"{folder}: can't be loaded ({reason}); copy or download all its files again"
        ) from None
