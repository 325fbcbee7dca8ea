"""How well a recogniser finds each class: confusion matrix, recalls, unweighted average recall."""

from collections.abc import Sequence

import numpy as np


def confusion_matrix(
    labels: Sequence[int] | np.ndarray, predictions: Sequence[int] | np.ndarray, n: int
) -> np.ndarray:
    """Count each pair of true and predicted class.

    Args:
        labels: True classes 0 to ``n - 1``, (N,).
        predictions: Predicted classes, (N,).
        n: Number of classes.

    Returns:
        Counts, row: true class, column: predicted class, (n, n).

    Raises:
        ValueError: The lengths differ, or a class is out of range.
    """
    true, predicted = np.asarray(labels, dtype=int), np.asarray(predictions, dtype=int)
    if true.shape != predicted.shape or true.ndim != 1:
        raise ValueError(f"labels {true.shape} and predictions {predicted.shape} must be (N,) both")
    if len(true) and (
        min(true.min(), predicted.min()) < 0 or max(true.max(), predicted.max()) >= n
    ):
        raise ValueError(f"classes must be 0 to {n - 1}")
    return np.bincount(n * true + predicted, minlength=n * n).reshape(n, n)


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Share of each class that was recognised, (n,); NaN where the class doesn't occur."""
    counts = confusion.sum(axis=1)
    found = np.full(len(confusion), np.nan)
    return np.divide(np.diag(confusion), counts, out=found, where=counts > 0)


def uar(
    labels: Sequence[int] | np.ndarray, predictions: Sequence[int] | np.ndarray, n: int
) -> float:
    """Unweighted average recall: the mean recall over the classes that occur, 0 to 1.

    Guessing gives ``1 / n`` whatever the class mix, where accuracy rewards the largest class.

    Args:
        labels: True classes, (N,).
        predictions: Predicted classes, (N,).
        n: Number of classes.

    Returns:
        The mean; NaN if there are no labels.
    """
    found = recalls(confusion_matrix(labels, predictions, n))
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")
