"""Audio that changed after its manifest was made: found before stored features meet it.

A manifest holds the hash of each file, and stored features are filed under it. ``emovc check``
compares all hashes. Commands that read features beside audio look at the time of each file, which
costs nothing, hash what is younger than the manifest, and compare the header of what they read.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emovc.common.errors import UserError
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance
from emovc.common.signals import in_threads
from emovc.common.wav import WavInfo, decode, wav_info

REMEDY = "run emovc prepare again, or bring the file back"
MOST_THREADS = 8


def require_unchanged(utterances: Sequence[Utterance], manifest: Path) -> None:
    """Refuse audio that was written to after its manifest and has other bytes than it lists.

    Args:
        utterances: Rows of the manifest; those whose file is absent are passed over.
        manifest: Where they stand.

    Raises:
        UserError: A file changed.
    """
    made = manifest.stat().st_mtime_ns
    younger = [u for u in utterances if _changed_at(u.path) > made]
    if younger:  # all of them where a corpus was copied without its times
        for _ in in_threads(require_hash, younger, MOST_THREADS, "comparing younger audio"):
            pass


def require_hash(utterance: Utterance) -> None:
    """Refuse a file whose bytes aren't those that its manifest lists.

    Raises:
        UserError: They are others.
    """
    if utterance.path.is_file() and sha256_of(utterance.path) != utterance.sha256:
        raise UserError(f"{utterance.path}: changed after its manifest was made; {REMEDY}")


def require_header(utterance: Utterance, info: WavInfo) -> None:
    """Refuse a file whose header isn't as its manifest lists it.

    Args:
        utterance: The row.
        info: The header.

    Raises:
        UserError: Length or rate are others.
    """
    own = info.num_samples, info.sample_rate
    listed = utterance.num_samples, utterance.sample_rate
    if own != listed:
        raise UserError(
            f"{utterance.path}: has {own[0]} samples at {own[1]} Hz and the manifest says"
            f" {listed[0]} at {listed[1]} Hz; {REMEDY}"
        )


def read_utterance(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """Waveform (N,) of a row of a manifest, whose header must be as listed there.

    Args:
        utterance: The row.
        sample_rate: Rate to resample to, in Hz.

    Raises:
        UserError: The file is absent, unreadable, or another one.
    """
    require_header(utterance, wav_info(utterance.path))
    return decode(utterance.path, sample_rate)[0]


def _changed_at(path: Path) -> int:
    """Time of the last change in ns, or 0 for a file that isn't there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:  # named by what reads it
        return 0
