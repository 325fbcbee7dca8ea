"""Do two models differ? Paired differences with speakers as the unit of chance.

Both models converted the same sentences, so a sentence's difficulty cancels in the difference of
their scores. Sentences of one speaker are alike, so intervals and tests draw and flip speakers.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from emovc.common.emotions import EMOTIONS
from emovc.common.metrics import bootstrap_interval

EXACT_SPEAKERS, DRAWS = 12, 9999


class Difference(NamedTuple):
    """How one model's metric differs from another's on the same sentences.

    Attributes:
        first: Name of a model.
        second: Name of the other.
        metric: Name of the metric.
        mean: Mean of first minus second.
        low: Lower end of its 95 % interval, by bootstrap over speakers.
        high: Upper end.
        p: Two-sided p of the sign-flip test.
        p_holm: The same, corrected for the number of metrics.
        n: Sentences with a value of both.
        speakers: Speakers of those.
        exact: All sign flips were tried rather than drawn.
    """

    first: str
    second: str
    metric: str
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    n: int
    speakers: int
    exact: bool


def paired_difference(
    first: str, second: str, metric: str, a: np.ndarray, b: np.ndarray, speakers: Sequence[str]
) -> Difference:
    """Compare two models on the sentences that both have a value of.

    Args:
        first: Name of a model.
        second: Name of the other.
        metric: Name of the metric.
        a: Values of the first, NaN where there is none, (N,).
        b: Values of the second, (N,).
        speakers: Speaker of each sentence.
    """
    both = np.isfinite(a) & np.isfinite(b)
    values = (a - b)[both]
    groups = [name for name, kept in zip(speakers, both, strict=True) if kept]
    count = len(set(groups))
    if not groups:
        nothing = (np.nan,) * 5
        return Difference(first, second, metric, *nothing, n=0, speakers=0, exact=True)
    low, high = bootstrap_interval(values, groups)
    p = sign_flip_test(values, groups)
    exact = count <= EXACT_SPEAKERS
    mean = float(values.mean())
    return Difference(first, second, metric, mean, low, high, p, p, len(values), count, exact)


def sign_flip_test(values: np.ndarray, groups: Sequence[str], seed: int = 0) -> float:
    """Two-sided p of a mean of differences being zero, by flipping the sign of whole speakers.

    If the models are alike, the differences of a speaker are as likely as their negatives. All
    flips are tried for up to 12 speakers; for more, 9999 are drawn. With S speakers the smallest
    possible p is 2 / 2**S: of three speakers none can be below 0.25.

    Args:
        values: Differences, (N,).
        groups: Speaker of each.
        seed: Seed of the draws.

    Source:
        Fisher, The Design of Experiments (1935), section 21; the added one of the drawn test is of
        Phipson and Smyth (2010).
    """
    names = sorted(set(groups))
    sums = np.array([values[[g == name for g in groups]].sum() for name in names])
    if len(names) <= EXACT_SPEAKERS:
        flips = np.array(list(product((1.0, -1.0), repeat=len(names))))
    else:
        drawn = np.random.default_rng(seed).choice((1.0, -1.0), size=(DRAWS, len(names)))
        flips = np.concatenate([np.ones((1, len(names))), drawn])
    totals = np.abs(flips @ sums)
    return float(np.mean(totals >= totals[0] - 1e-9 * np.abs(sums).sum()))


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected so that one false finding among them all stays as rare as stated.

    Args:
        p: P-values; NaN, where there was nothing to test, doesn't count.

    Source:
        Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = sorted((i for i in range(len(p)) if np.isfinite(p[i])), key=lambda i: p[i])
    corrected, highest = list(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p[i]))
        corrected[i] = highest
    return corrected


class Confusion(NamedTuple):
    """What was heard where what was wanted.

    Attributes:
        wanted: Emotions asked for, in the order of the rows.
        heard: Emotions recognised, in the order of the columns.
        counts: Number of sentences, (W, H).
    """

    wanted: list[str]
    heard: list[str]
    counts: np.ndarray


def confusion(wanted: Sequence[str], heard: Sequence[str], among: Sequence[str] = ()) -> Confusion:
    """Count recognised emotions by wanted emotion, both in the canonical order.

    Args:
        wanted: Emotion asked for in each sentence.
        heard: Emotion recognised in it.
        among: Emotions that get a column even if they were never heard.
    """
    rows = _ordered(set(wanted))
    columns = _ordered({*wanted, *heard, *among})
    found = Counter(zip(wanted, heard, strict=True))
    counts = [[found[row, column] for column in columns] for row in rows]
    return Confusion(rows, columns, np.array(counts, dtype=int).reshape(len(rows), len(columns)))


def _ordered(names: set[str]) -> list[str]:
    known = [name for name in EMOTIONS if name in names]
    return known + sorted(names.difference(EMOTIONS))
