"""Verification of speakers: trials of two recordings, and the equal error rate of their scores.

All trials are within a corpus and a gender and of different words, so that neither channel, pitch
nor text tells the speakers apart.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from emovc.common.manifest import Utterance

Kind = Literal["all", "same emotion", "other emotion", "emotion misleads"]
KINDS: dict[Kind, str] = {
    "all": "any emotions",
    "same emotion": "both recordings of one emotion",
    "other emotion": "the two recordings of different emotions",
    "emotion misleads": "one speaker in different emotions against two speakers in one emotion",
}
BINS = 1000  # ranks that the scores of an interval are rounded to


class Trials(NamedTuple):
    """Pairs of recordings.

    Attributes:
        first: Index of one recording, (P,).
        second: Index of the other, (P,).
        same: Whether both are of one speaker, (P,).
        pair: Number of the two speakers, S * (one's number) + (other's number), (P,).
        n_speakers: Number of speakers S.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    pair: np.ndarray
    n_speakers: int


def make_trials(
    first: Sequence[Utterance],
    second: Sequence[Utterance],
    kind: Kind = "all",
    groups: dict[str, int] | None = None,
) -> Trials:
    """All trials of a recording of ``first`` with one of ``second``, both of one corpus.

    Args:
        first: Recordings.
        second: The same list, whose pairs are then taken once, or copies of some of them.
        kind: Which emotions the recordings have, see :data:`KINDS`.
        groups: Speakers that were tested together; those of different groups aren't compared.
    """
    a, b = _labels(first, groups), _labels(second, groups)
    names = np.unique([*a["speaker"], *b["speaker"]])
    alike = {}
    for key in a:
        _, place = np.unique(np.concatenate([a[key], b[key]]), return_inverse=True)
        alike[key] = place[: len(first), None] == place[None, len(first) :]
    kept = alike["gender"] & alike["group"] & ~alike["words"]
    if first is second:
        kept &= np.tri(len(first), k=-1, dtype=bool)
    if kind == "same emotion":
        kept &= alike["emotion"]
    elif kind == "other emotion":
        kept &= ~alike["emotion"]
    elif kind == "emotion misleads":
        kept &= alike["emotion"] != alike["speaker"]
    i, j = np.nonzero(kept)
    s, t = (np.searchsorted(names, own["speaker"])[at] for own, at in ((a, i), (b, j)))
    pair = np.minimum(s, t) * len(names) + np.maximum(s, t)
    return Trials(i, j, s == t, pair, len(names))


def _labels(rows: Sequence[Utterance], groups: dict[str, int] | None) -> dict[str, np.ndarray]:
    """What recordings are compared by, each (N,)."""
    return {
        "speaker": np.array([u.speaker for u in rows]),
        "gender": np.array([u.gender or "" for u in rows]),
        "group": np.array([0 if groups is None else groups[u.speaker] for u in rows]),
        "words": np.array([u.sentence or u.id for u in rows]),
        "emotion": np.array([u.emotion or "" for u in rows]),
    }


def equal_error_rate(scores: np.ndarray, same: np.ndarray) -> float:
    """Rate at which as many speakers are confused as are missed; NaN without trials of either.

    Between two thresholds the rates are taken to lie on straight lines.

    Args:
        scores: Similarities, (P,).
        same: Whether they are of one speaker, (P,).
    """
    if not len(scores):
        return float("nan")
    levels, place = np.unique(scores, return_inverse=True)
    counts = [np.bincount(place[same == of], minlength=len(levels)) for of in (True, False)]
    return float(_crossing(counts[0][None], counts[1][None])[0])


def _crossing(same: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Equal error rates (R,) of weighted counts of trials at each level of score, (R, K)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        missed = np.cumsum(same, 1) / same.sum(1, keepdims=True)
        confused = 1 - np.cumsum(other, 1) / other.sum(1, keepdims=True)
    missed = np.pad(missed, ((0, 0), (1, 0)))
    confused = np.pad(confused, ((0, 0), (1, 0)), constant_values=1.0)
    rows = np.arange(len(missed))
    after = (missed >= confused).argmax(1).clip(1)
    gap = missed - confused
    low, high = gap[rows, after - 1], gap[rows, after]
    with np.errstate(invalid="ignore"):
        share = np.where(high > low, -low / (high - low), 0.0)
    before = missed[rows, after - 1]
    rate = before + share * (missed[rows, after] - before)
    known = np.isfinite(missed[:, -1]) & np.isfinite(confused[:, -1])
    return np.where(known, rate, np.nan)


def drawn_error_rates(
    scores: np.ndarray, trials: Trials, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """Equal error rates (draws,) of the same trials with speakers drawn with replacement.

    A trial of two speakers weighs as the product of the times they were drawn, one of a single
    speaker as these times. Draws without both sorts of trials are NaN.

    Args:
        scores: Similarities, (P,).
        trials: The trials.
        draws: Number of draws.
        seed: Seed of the draws.
    """
    n = trials.n_speakers
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, scores, side="right")
    cells = n * n * (len(edges) + 1)
    flat = np.bincount(trials.pair * (len(edges) + 1) + place, minlength=cells)
    counts = flat.reshape(n * n, -1).astype(np.float64)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(n, size=(draws, n))
    times = np.stack([np.bincount(row, minlength=n) for row in chosen]).astype(np.float64)
    weights = (times[:, :, None] * times[:, None]).reshape(draws, -1)
    own = np.arange(n) * (n + 1)
    others = np.setdiff1d(np.arange(n * n), own)
    return _crossing(times @ counts[own], weights[:, others] @ counts[others])


def deal_groups(utterances: Sequence[Utterance], parts: int = 2) -> dict[str, int]:
    """Group of each speaker, 0 to ``2 parts - 1``: who is tested together, on one gender each.

    Trials need two speakers of a gender, so the speakers of each gender of a corpus are dealt to
    ``parts`` groups. Corpora begin with women and men in turn, which keeps both in every training.

    Args:
        utterances: Utterances of one or more corpora.
        parts: Groups that the speakers of a gender are dealt to.
    """
    genders = {u.speaker: (u.corpus, u.gender or "") for u in utterances}
    corpora = sorted({corpus for corpus, _ in genders.values()})
    groups: dict[str, int] = {}
    for k, corpus in enumerate(corpora):
        kinds = sorted({gender for of, gender in genders.values() if of == corpus})
        for g, gender in enumerate(kinds):
            own = sorted(s for s, of in genders.items() if of == (corpus, gender))
            side = (g + k) % 2
            order = np.random.default_rng(0).permutation(own)
            groups |= {str(s): 2 * (i % parts) + side for i, s in enumerate(order)}
    return groups
