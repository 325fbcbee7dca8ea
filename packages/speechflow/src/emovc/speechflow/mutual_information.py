"""Mutual information of clustered codes, and linear probes: what the codes share and carry."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Shared(NamedTuple):
    """What two sets of cluster labels share.

    Attributes:
        mi: Plug-in mutual information in nats.
        corrected: The same less its expected bias for independent labels, (K - 1)^2 / 2N (Miller,
            1955).
        nmi: Normalised by the arithmetic mean of the entropies.
        ami: Adjusted for chance (Vinh et al., 2010).
    """

    mi: float
    corrected: float
    nmi: float
    ami: float


def plug_in_mi(a: np.ndarray, b: np.ndarray) -> float:
    """Mutual information in nats of the empirical distribution of two label sets, (N,) each."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    joint = table / table.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def entropy(labels: np.ndarray) -> float:
    """Entropy of labels (N,) in nats: at most ln K."""
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def shared_information(a: np.ndarray, b: np.ndarray) -> Shared:
    """All measures of two label sets, (N,) each."""
    from sklearn.metrics import adjusted_mutual_info_score

    mi = plug_in_mi(a, b)
    bias = (len(np.unique(a)) - 1) * (len(np.unique(b)) - 1) / (2 * len(a))
    mean_entropy = (entropy(a) + entropy(b)) / 2
    nmi = mi / mean_entropy if mean_entropy > 0 else 0.0
    return Shared(mi, mi - bias, nmi, float(adjusted_mutual_info_score(a, b)))


def cluster(values: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """K-means labels (N,) of (N, C), best of 10 starts."""
    from sklearn.cluster import KMeans

    return KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(values)


def probe_r2(codes: np.ndarray, value: np.ndarray, groups: np.ndarray) -> float:
    """Share of a value's variance that a ridge regression on the codes explains, held out.

    Args:
        codes: Codes, (N, C).
        value: Value to predict, (N,).
        groups: Utterance of each row: no utterance is in two of the five folds, (N,).
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 7)))
    predicted = cross_val_predict(model, codes, value, groups=groups, cv=GroupKFold(5))
    return 1 - float(np.square(value - predicted).sum() / np.square(value - value.mean()).sum())


def probe_recall(codes: np.ndarray, label: np.ndarray, groups: np.ndarray) -> float:
    """Unweighted average recall of a logistic regression on the codes, held out in five folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
    )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, codes, label, groups=groups, cv=folds)
    return float(balanced_accuracy_score(label, predicted))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over seeds."""
    array = np.asarray(values, dtype=float)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else 0.0
