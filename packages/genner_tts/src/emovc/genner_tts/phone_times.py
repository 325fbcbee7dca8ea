"""Known times of phones: as durations in frames, and as what an alignment is measured against."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from emovc.genner_tts.phonemes import EDGE, PAUSES, Pronunciation

SILENCES = frozenset({EDGE, *PAUSES.values()})  # phones of a pronunciation that aren't said
SILENT_LABELS = frozenset({"", "_", "_:", "sil", "sp", "spn", "SIL", "<p:>", "<eps>"})


class TimedPhone(NamedTuple):
    """A phone that was said.

    Attributes:
        label: What it is, in the alphabet of who labelled it.
        start_s: Where it begins, in s.
        end_s: Where it ends, in s.
    """

    label: str
    start_s: float
    end_s: float


class BoundaryErrors(NamedTuple):
    """How far boundaries between phones are from where they should be.

    Attributes:
        boundaries: How many.
        mean_ms: Mean absolute error in ms.
        median_ms: Median absolute error in ms.
        within_20_ms: Share that is at most 20 ms off.
        within_50_ms: Share that is at most 50 ms off.
    """

    boundaries: int
    mean_ms: float
    median_ms: float
    within_20_ms: float
    within_50_ms: float


def edges_of_times(
    said: Pronunciation, times: Sequence[TimedPhone], seconds: float
) -> list[float] | None:
    """Where each phone of a pronunciation begins, and where the last one ends, in s.

    The phones that are said are matched in order, whatever they are called. What lies between two
    of them belongs to the silences there, by equal parts, or without silences to the phone before.

    Args:
        said: L phones of the text.
        times: Labels of the recording in order of time, silences among them or not.
        seconds: Length of the recording.

    Returns:
        L + 1 times, rising; ``None`` if the recording has more or fewer phones than the text.
    """
    spoken = [t for t in times if t.label not in SILENT_LABELS]
    places = [i for i, phone in enumerate(said.phones) if phone not in SILENCES]
    if len(spoken) != len(places):
        return None
    edges = np.full(len(said.phones) + 1, np.nan)
    edges[0], edges[-1] = 0.0, seconds
    for place, phone in zip(places, spoken, strict=True):
        edges[place] = min(phone.start_s, seconds)
        if place + 1 not in places:
            edges[place + 1] = min(phone.end_s, seconds)
    known = np.flatnonzero(~np.isnan(edges))
    return np.interp(np.arange(len(edges)), known, edges[known]).tolist()


def frames_of_edges(
    edges: Sequence[float], n_frames: int, sample_rate: int, hop_length: int
) -> list[int]:
    """Frames of each phone; they sum to ``n_frames``, and a short phone may have none.

    Args:
        edges: Where each phone begins, and where the last one ends, in s.
        n_frames: Frames of the recording.
        sample_rate: Its rate in Hz.
        hop_length: Samples per frame.
    """
    frames = np.rint(np.asarray(edges) * sample_rate / hop_length).astype(int).clip(0, n_frames)
    frames[0], frames[-1] = 0, n_frames
    return np.diff(frames).tolist()


def boundary_errors(
    found: Iterable[Sequence[int]],
    known: Iterable[Sequence[float]],
    sample_rate: int,
    hop_length: int,
) -> BoundaryErrors:
    """Compare boundaries inside utterances with known ones.

    Args:
        found: Frames of each phone, for each utterance.
        known: Where each phone begins, and where the last one ends, in s, for each utterance.
        sample_rate: Rate of the recordings in Hz.
        hop_length: Samples per frame.
    """
    errors = []
    for durations, edges in zip(found, known, strict=True):
        times = np.cumsum(durations)[:-1] * hop_length / sample_rate
        errors.append(np.abs(times - np.asarray(edges)[1:-1]) * 1000)
    ms = np.concatenate(errors)
    return BoundaryErrors(
        len(ms),
        float(ms.mean()),
        float(np.median(ms)),
        float((ms <= 20).mean()),
        float((ms <= 50).mean()),
    )
