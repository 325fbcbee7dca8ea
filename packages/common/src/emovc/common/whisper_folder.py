"""Where Whisper is on this machine, for what uses it only if it is there."""

import os
from pathlib import Path

from emovc.common.errors import UserError
from emovc.common.transformers_loading import CONFIG, find_folder

VARIABLE = "EMOVC_WHISPER"
FOLDER = Path("weights") / "whisper_base"  # below the folder in which a command runs
HUB_NAME = "openai/whisper-base"
FILES = ("generation_config.json", "preprocessor_config.json")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "normalizer.json",
    "added_tokens.json", "special_tokens_map.json",
)  # fmt: skip


def find_whisper() -> Path:
    """The folder of a Whisper that is on this machine; nothing is downloaded.

    It is the folder or cached name on Hugging Face that the environment's ``EMOVC_WHISPER`` gives,
    else ``weights/whisper_base``, else ``openai/whisper-base`` in the cache of the hub.

    Raises:
        UserError: There is none, or ``EMOVC_WHISPER`` names none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        try:
            return find_folder(named, FILES, TOKENIZER_FILES, offline=True)
        except UserError as error:
            raise UserError(f"{VARIABLE}={error}") from None
    if (FOLDER / CONFIG).is_file():
        return FOLDER
    try:
        return find_folder(HUB_NAME, FILES, TOKENIZER_FILES, offline=True)
    except UserError:
        raise UserError(
            f"Whisper is not on this machine: set {VARIABLE} to its folder, put it in {FOLDER}, or"
            f" give the recogniser source: {HUB_NAME}, which downloads 290 MB"
        ) from None
