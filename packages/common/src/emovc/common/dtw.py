"""Dynamic time warping of two feature sequences."""

import numpy as np


def warping_path(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cheapest monotone alignment with steps (1, 1), (1, 0) and (0, 1) of equal weight.

    Costs are Euclidean distances (Sakoe and Chiba, 1978). The recursion runs over anti-diagonals,
    whose cells don't depend on each other.

    Args:
        a: Features, (N, D).
        b: Features, (M, D).

    Returns:
        Frames of ``a`` and of ``b`` along the path, both (L,), from the first to the last.
    """
    n, m = len(a), len(b)
    squared = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    cost = np.sqrt(np.maximum(squared, 0))
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0
    for k in range(n + m - 1):
        i = np.arange(max(0, k - m + 1), min(n, k + 1))
        j = k - i
        before = np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
        total[i + 1, j + 1] = cost[i, j] + before
    return _trace(total)


def _trace(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow the cheapest way back from the last cell; the diagonal wins a tie."""
    i, j = total.shape[0] - 1, total.shape[1] - 1
    path = [(i, j)]
    while (i, j) != (1, 1):
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda cell: total[cell])
        path.append((i, j))
    rows, columns = np.array(path[::-1]).T - 1
    return rows, columns
