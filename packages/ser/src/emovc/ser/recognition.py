"""Accuracy, unweighted average recall and macro-F1, with intervals over speakers."""

from collections.abc import Callable, Sequence

import numpy as np

from emovc.ser.recall import confusion_matrix

MEASURES = {"accuracy": "accuracy", "uar": "UAR", "macro_f1": "macro-F1"}


def measures(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """The three measures of confusion matrices.

    Args:
        confusion: Counts, row: true class, column: predicted class, (..., C, C).

    Returns:
        ``accuracy``; ``uar``, the mean recall of the classes that occur; ``macro_f1``, the mean F1
        of the classes that occur or were predicted. Each (...), NaN where nothing was counted.
    """
    true, guessed = confusion.sum(-1), confusion.sum(-2)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls, f1 = hits / true, 2 * hits / (true + guessed)
        return {
            "accuracy": hits.sum(-1) / true.sum(-1),
            "uar": np.where(true > 0, recalls, 0).sum(-1) / (true > 0).sum(-1),
            "macro_f1": np.where(true + guessed > 0, f1, 0).sum(-1) / (true + guessed > 0).sum(-1),
        }


def by_speaker(
    labels: np.ndarray, predictions: np.ndarray, speakers: Sequence[str], n_classes: int
) -> dict[str, np.ndarray]:
    """Confusion matrix (C, C) of each speaker, by name.

    Args:
        labels: True classes, (N,).
        predictions: Predicted classes, (N,).
        speakers: Speakers, N of them.
        n_classes: Classes C.
    """
    names = np.array(speakers)
    return {
        str(name): confusion_matrix(labels[names == name], predictions[names == name], n_classes)
        for name in np.unique(names)
    }


def bootstrap(
    confusions: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], np.ndarray],
    seed: int = 0,
    draws: int = 1000,
) -> tuple[float, float]:
    """95 % interval of a statistic of pooled predictions, by drawing speakers with replacement.

    Utterances of one speaker are alike, so drawing utterances would give too narrow an interval.

    Args:
        confusions: Confusion matrices of each speaker, (..., C, C) of whatever is compared.
        statistic: From pooled matrices (draws, ..., C, C) to numbers (draws,).
        seed: Seed of the draws; with the same, differences of statistics are paired.
        draws: Number of draws.
    """
    chosen = np.random.default_rng(seed).integers(len(confusions), size=(draws, len(confusions)))
    counts = np.zeros((draws, len(confusions)))
    np.add.at(counts, (np.arange(draws)[:, None], chosen), 1)
    pooled = np.tensordot(counts, np.stack(confusions), axes=1)
    low, high = np.nanpercentile(statistic(pooled), [2.5, 97.5])
    return float(low), float(high)
