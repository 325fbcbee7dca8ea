"""Which emotion encoder is loaded: the one on Whisper, or the first, for machines without it."""

import os
import sys
from pathlib import Path

from emovc.common.errors import UserError
from emovc.common.weights import weights_hash
from emovc.common.whisper_folder import VARIABLE, find_whisper
from emovc.common.yaml_files import read_yaml
from emovc.ser.emotion_encoder import VARIANTS, EmotionEncoder
from emovc.ser.whisper_emotion import PURPOSES, WhisperEmotion

CONDITION, FIRST = "condition_all", "all"
ON_WHISPER = tuple(f"{purpose}_{variant}" for purpose in PURPOSES for variant in VARIANTS)


def whisper_is_found() -> bool:
    """Whether Whisper is named in the environment, in its folder, or was downloaded before.

    A folder that is named counts as found even if it holds no Whisper: then the error that names
    it is better than another encoder.
    """
    if os.environ.get(VARIABLE):
        return True
    try:
        find_whisper()
    except UserError:
        return False
    return True


def load_emotion_encoder(
    source: str | Path | None,
    sample_rate: int,
    whisper: str | Path | None = None,
    weights: str | None = None,
) -> EmotionEncoder | WhisperEmotion:
    """Load an emotion encoder of either generation.

    Args:
        source: Shipped weights of either, or a folder; ``None``: ``condition_all`` where Whisper is
            found, else ``all``, which is said on standard error.
        sample_rate: Rate of the waveforms in Hz.
        whisper: Folder or name on Hugging Face of Whisper.
        weights: Hash of the weights wanted, where ``source`` is ``None``.

    Raises:
        UserError: There are no such weights, or no such Whisper.
    """
    if source is not None:
        if on_whisper(source):
            return WhisperEmotion.from_pretrained(source, sample_rate, whisper)
        return EmotionEncoder.from_pretrained(source, sample_rate)
    first = EmotionEncoder.from_pretrained(FIRST, sample_rate)
    if weights == weights_hash(first):
        return first
    if whisper is None and weights is None and not whisper_is_found():
        sys.stderr.write(
            f"emotion encoder: {FIRST}, the first generation; the better one needs Whisper base,"
            f" whose folder {VARIABLE} names\n"
        )
        return first
    return WhisperEmotion.from_pretrained(CONDITION, sample_rate, whisper)


def on_whisper(source: str | Path) -> bool:
    """Whether shipped weights, or a folder, are of the encoder on Whisper."""
    if str(source) in ON_WHISPER:
        return True
    config = Path(source) / "config.yaml"
    if str(source) in VARIANTS or not config.is_file():
        return False
    parsed = read_yaml(config)
    model = parsed.get("model") if isinstance(parsed, dict) else None
    path = model.get("class_path") if isinstance(model, dict) else None
    return str(path).rpartition(".")[2] == WhisperEmotion.__name__
