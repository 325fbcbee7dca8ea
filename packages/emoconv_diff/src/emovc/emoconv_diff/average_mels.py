"""What the average-voice encoder learns to give: each phone in the one sound it has on average.

Source: the notebook ``get_avg_mels`` of Popov et al., "Diffusion-based voice conversion with fast
maximum likelihood sampling scheme", ICLR 2022.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from emovc.common.phones import Phone

Statistic = Literal["mode", "median"]
STEPS_PER_UNIT = 10  # the mode is of values rounded to 0.1


class Segment(NamedTuple):
    """Frames of one phone.

    Attributes:
        label: The phone.
        start: First frame.
        stop: Frame after the last.
    """

    label: str
    start: int
    stop: int


def phone_segments(
    phones: Iterable[Phone], n_frames: int, sample_rate: int, hop_length: int
) -> list[Segment]:
    """Frames of phones, from the frame of the beginning to that of the end, which is included.

    So neighbours share a frame. Phones after the last frame are left out.

    Args:
        phones: Phones of an utterance.
        n_frames: Frames T of its mel.
        sample_rate: Rate of the mel's audio in Hz.
        hop_length: Samples per frame.
    """
    segments = []
    for label, start_s, end_s in phones:
        start, last = (int(t * sample_rate) // hop_length for t in (start_s, end_s))
        if start < n_frames:
            segments.append(Segment(label, start, min(last + 1, n_frames)))
    return segments


def occurrence_medians(mel: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """Median of each band over the frames of each segment, (N, M).

    Args:
        mel: Log-mel, (T, M).
        segments: N segments.
    """
    rows = [np.median(mel[s.start : s.stop], axis=0) for s in segments]
    return np.stack(rows) if rows else np.empty((0, mel.shape[1]), mel.dtype)


def average_sounds(
    labels: Sequence[str], medians: np.ndarray, statistic: Statistic = "mode"
) -> dict[str, np.ndarray]:
    """The average sound of each phone, (M,) by label.

    Args:
        labels: Phone of each occurrence in the corpus, N of them.
        medians: Their sounds, (N, M).
        statistic: What is taken in each band: the ``mode`` of the values rounded to 0.1, as the
            authors do (of several the lowest), or the ``median`` of the values as they are.
    """
    names = np.asarray(labels)
    table = {}
    for label in sorted(set(labels)):
        rows = medians[names == label]
        table[label] = _mode(rows) if statistic == "mode" else np.median(rows, axis=0)
    return {label: row.astype(np.float32) for label, row in table.items()}


def average_mel(
    mel: np.ndarray, segments: Iterable[Segment], sounds: Mapping[str, np.ndarray]
) -> np.ndarray:
    """A mel whose phones have their average sounds, as long as they were, (T, M).

    A frame of two phones has the later one's sound; frames without a phone, or with one that has
    no average sound, are left as they are.

    Args:
        mel: Log-mel, (T, M).
        segments: Its segments, in order.
        sounds: Average sounds, (M,) by label.
    """
    result = mel.copy()
    for label, start, stop in segments:
        result[start:stop] = sounds.get(label, mel[start:stop])
    return result


def _mode(rows: np.ndarray) -> np.ndarray:
    """Most frequent value of each column of (N, M), rounded to 0.1; of several the lowest."""
    result = []
    for column in np.rint(rows * STEPS_PER_UNIT).T:
        values, counts = np.unique(column, return_counts=True)
        result.append(values[counts.argmax()] / STEPS_PER_UNIT)
    return np.asarray(result)
