"""Mutual information of clustered codes: what two codes share."""

from collections.abc import Callable, Sequence
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
    """K-means labels (N,) of (N, C), best of 10 starts; fewer clusters where fewer rows differ."""
    from sklearn.cluster import KMeans

    different = len(np.unique(values, axis=0))
    return KMeans(min(n_clusters, different), n_init=10, random_state=seed).fit_predict(values)


def compare_labels(
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    shuffle: Callable[[np.ndarray], np.ndarray],
) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over seeds of all measures, and of the plug-in MI of shuffled b.

    Args:
        a: Labels of one code, (N,) for each seed.
        b: Labels of the other.
        shuffle: Takes away what labels of ``b`` share with those of ``a``.
    """
    found = [shared_information(*pair) for pair in zip(a, b, strict=True)]
    shuffled = [plug_in_mi(one, shuffle(other)) for one, other in zip(a, b, strict=True)]
    return {
        **{f: mean_and_deviation([getattr(s, f) for s in found]) for f in Shared._fields},
        "shuffled": mean_and_deviation(shuffled),
    }


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over seeds."""
    array = np.asarray(values, dtype=float)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else 0.0
