"""Known times of phones: as durations in frames, and as what an alignment is measured against."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from emovc.common.phones import Phone
from emovc.genner_tts.pauses import SILENCES
from emovc.genner_tts.phone_matching import matched, spoken_phones
from emovc.genner_tts.phonemes import Pronunciation

LEAST_MATCHED = 0.6


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
    said: Pronunciation, labels: Sequence[Phone], seconds: float
) -> tuple[list[float], list[int]] | None:
    """Where each phone of a pronunciation begins, and where the last one ends, in s.

    The phones that are said are matched with the labels by what they sound like. Silences share
    what lies between their neighbours, phones without a label what lies between those that have
    one.

    Args:
        said: L phones of the text.
        labels: Labels of the recording in order of time, silences among them or not.
        seconds: Length of the recording.

    Returns:
        L + 1 times, rising, and the places of the phones that have a label; ``None`` if less than
        60 % of the phones that are said have one.
    """
    spoken = spoken_phones(labels)
    places = [i for i, phone in enumerate(said.phones) if phone not in SILENCES]
    pairs = matched([said.phones[i] for i in places], [phone.label for phone in spoken])
    if len(pairs) < LEAST_MATCHED * len(places):
        return None
    edges = np.full(len(said.phones) + 1, np.nan)
    edges[0], edges[-1] = 0.0, seconds
    for i, j in pairs:
        place, phone = places[i], spoken[j]
        edges[place] = min(phone.start_s, seconds)
        if place + 1 not in places:
            edges[place + 1] = min(phone.end_s, seconds)
    known = np.flatnonzero(~np.isnan(edges))
    times = np.interp(np.arange(len(edges)), known, edges[known])
    return times.tolist(), [places[i] for i, _ in pairs]


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
    found: Iterable[Sequence[float]],
    known: Iterable[tuple[Sequence[float], Sequence[int]]],
    frame_s: float,
) -> BoundaryErrors:
    """Compare beginnings of phones with known ones.

    Args:
        found: Frames of each phone, for each utterance.
        known: For each utterance where each phone begins, in s, and the places of the phones that
            count, as :func:`edges_of_times` gives them.
        frame_s: Length of a frame in s.
    """
    errors = []
    for durations, (edges, places) in zip(found, known, strict=True):
        times = (np.cumsum(durations) - durations) * frame_s
        errors.append(np.abs(times - np.asarray(edges)[:-1])[list(places)] * 1000)
    ms = np.concatenate(errors)
    return BoundaryErrors(
        len(ms),
        float(ms.mean()),
        float(np.median(ms)),
        float((ms <= 20).mean()),
        float((ms <= 50).mean()),
    )
