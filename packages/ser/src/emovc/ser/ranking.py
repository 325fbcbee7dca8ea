"""A linear ranking function learned from pairs: which of two is more, and which are alike."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

C = 0.1  # weight of the pairs, as in the paper and in Emovox
MAX_PAIRS = 20_000  # of each kind
STEPS = 100


class Scale(NamedTuple):
    """A linear score, 0 to 1 over what it was fitted to.

    Attributes:
        weight: Weight of each feature, (D,).
        bias: What is added.
    """

    weight: np.ndarray
    bias: float


def objective(
    w: np.ndarray, ordered: np.ndarray, similar: np.ndarray, c: float = C
) -> tuple[float, np.ndarray]:
    """What the ranking function minimises, and its gradient.

    ``1/2 |w|^2 + c (sum max(0, 1 - w.o)^2 + sum (w.s)^2)`` over the differences ``o`` of ordered
    and ``s`` of similar pairs.

    Args:
        w: Ranking direction, (D,).
        ordered: Differences "more minus less", (K, D).
        similar: Differences of alike ones, (M, D).
        c: Weight of the pairs.

    Returns:
        Value and gradient (D,).

    Source: Parikh and Grauman, "Relative attributes", ICCV 2011, equations 4 to 7.
    """
    short = np.maximum(0.0, 1.0 - ordered @ w)
    apart = similar @ w
    value = 0.5 * w @ w + c * (short @ short + apart @ apart)
    return float(value), w + 2 * c * (apart @ similar - short @ ordered)


def fit_direction(ordered: np.ndarray, similar: np.ndarray, c: float = C) -> np.ndarray:
    """The minimum of :func:`objective`, by Newton's method with a halving line search.

    Args:
        ordered: Differences "more minus less", (K, D).
        similar: Differences of alike ones, (M, D).
        c: Weight of the pairs.

    Returns:
        Ranking direction, (D,).

    Source: Chapelle, "Training a support vector machine in the primal", Neural Computation 19,
    2007.
    """
    w = np.zeros(ordered.shape[1])
    fixed = np.eye(len(w)) + 2 * c * similar.T @ similar
    value, gradient = objective(w, ordered, similar, c)
    enough = 1e-10 * float(np.linalg.norm(gradient))
    for _ in range(STEPS):
        if np.linalg.norm(gradient) <= enough:
            break
        short = ordered[ordered @ w < 1]
        step = np.linalg.solve(fixed + 2 * c * short.T @ short, gradient)
        size, new = 1.0, objective(w - step, ordered, similar, c)
        while new[0] > value - 1e-4 * size * (gradient @ step) and size > 1e-8:
            size /= 2
            new = objective(w - size * step, ordered, similar, c)
        w, (value, gradient) = w - size * step, new
    return w


def fit_scale(
    less: Sequence[np.ndarray],
    more: Sequence[np.ndarray],
    c: float = C,
    max_pairs: int = MAX_PAIRS,
    seed: int = 0,
) -> Scale:
    """A score that is higher for the second kind, 0 for the least of all rows and 1 for the most.

    Features go from 0 to 1 over all rows before the fit, so their units don't matter. Pairs are
    formed within a group only: what sets groups apart, such as two speakers' voices, teaches
    nothing.

    Args:
        less: Rows (N, D) of the first kind in each group.
        more: Rows (M, D) of the second kind in each group.
        c: Weight of the pairs.
        max_pairs: Ordered pairs, and similar pairs, to learn from; of more a sample is drawn.
        seed: Seed of the sample.

    Returns:
        The score, for features in their own units.
    """
    rows = np.concatenate([*less, *more])
    low, high = rows.min(0), rows.max(0)
    unit = np.where(high > low, 1 / np.where(high > low, high - low, 1.0), 0.0)
    place = np.cumsum([0, *(len(part) for part in (*less, *more))])
    first, second = place[: len(less)], place[len(less) :]
    ordered, similar = [], []
    for group, (a, b) in enumerate(zip(less, more, strict=True)):
        pair = np.indices((len(b), len(a))).reshape(2, -1)
        ordered.append(pair + [[second[group]], [first[group]]])
        for start, part in ((first[group], a), (second[group], b)):
            similar.append(np.array(np.triu_indices(len(part), 1)) + start)
    rng = np.random.default_rng(seed)
    z = (rows - low) * unit
    w = fit_direction(
        _differences(z, np.concatenate(ordered, 1), max_pairs, rng),
        _differences(z, np.concatenate(similar, 1), max_pairs, rng),
        c,
    )
    scores = z @ w
    span = max(float(np.ptp(scores)), 1e-12)
    weight = w * unit / span
    return Scale(weight, -float(scores.min() / span + weight @ low))


def _differences(
    rows: np.ndarray, pairs: np.ndarray, limit: int, rng: np.random.Generator
) -> np.ndarray:
    """Differences of pairs (2, K) of rows, of at most ``limit`` of them."""
    if pairs.shape[1] > limit:
        pairs = pairs[:, rng.choice(pairs.shape[1], limit, replace=False)]
    return rows[pairs[0]] - rows[pairs[1]]
