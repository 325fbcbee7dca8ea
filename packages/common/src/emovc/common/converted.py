"""Speech that another program converted: a folder of files named after the pairs."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from emovc.common.audio import LogMel
from emovc.common.conversion import Needs
from emovc.common.errors import UserError
from emovc.common.wav import ENDINGS, SILENCE, read_wav, wav_info


class ConvertedFiles:
    """Conversions of the pairs that ``emovc pairs`` lists, made by any program.

    Args:
        folder: Holds ``<pair>.wav`` or ``<pair>.flac`` at the front end's rate.
        frontend: Mel of pictures and of copy-synthesis.

    Raises:
        UserError: The folder holds no audio.
    """

    needs = Needs()

    def __init__(self, folder: Path, frontend: LogMel) -> None:
        self.frontend = frontend
        files = sorted(p for p in folder.iterdir() if _is_shown_audio(p))
        if not files:
            raise UserError(f"{folder}: holds neither a model nor converted audio (<pair>.wav)")
        self.folder = folder
        self.files = {path.stem: path for path in files}

    def require_any(self, pairs: Collection[str]) -> None:
        """Refuse a folder that holds none of the pairs.

        Raises:
            UserError: It does; the command that lists their names is given.
        """
        if not self.files.keys() & set(pairs):
            raise UserError(
                f"{self.folder}: none of its {len(self.files)} audio files has the name of a pair;"
                " emovc pairs lists the names"
            )

    def read(self, pair: str) -> np.ndarray:
        """Waveform of a pair, (N,).

        Raises:
            UserError: It is missing, silent, unreadable, or of another rate.
        """
        path = self.files.get(pair)
        if path is None:
            raise UserError(f"{self.folder}: has no file for this pair; name it <pair>.wav")
        rate = wav_info(path).sample_rate
        if rate != self.frontend.sample_rate:
            raise UserError(
                f"{self.folder}: a file of {rate} Hz; resample it to {self.frontend.sample_rate} Hz"
            )
        wav, _ = read_wav(path)
        if abs(wav).max() < SILENCE:
            raise UserError(f"{self.folder}: a silent file; convert it again")
        return wav


def holds_audio(folder: Path) -> bool:
    """Whether a folder holds audio rather than a model or a run."""
    if not folder.is_dir() or (folder / "model.safetensors").exists():
        return False
    if (folder / "checkpoints").exists():
        return False
    return any(_is_shown_audio(p) for p in folder.iterdir())


def _is_shown_audio(path: Path) -> bool:
    """Whether it is audio by its name; what begins with a dot is half of a file that was killed."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")
