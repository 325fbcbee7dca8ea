"""Probes: what a reader who was not trained with the codes finds in them, held out."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

Reader = Literal["linear", "network"]
READERS: tuple[Reader, ...] = ("linear", "network")
FOLDS = 5
HIDDEN, BATCH, UPDATES, RATE = 32, 64, 200, 1e-2  # of the network


class Reading(NamedTuple):
    """What one reader finds in one code.

    Attributes:
        score: Unweighted average recall, or R2.
        shuffled: The same for shuffled values: what the reader finds in nothing.
        chance: Recall of any constant answer, or R2 of the mean.
        rows: Rows read.
        classes: Number of classes, 0 for values.
    """

    score: float
    shuffled: float
    chance: float
    rows: int
    classes: int


@dataclass(frozen=True)
class Target:
    """Something to be read from codes.

    Attributes:
        name: ``emotion``, ``log_f0`` and so on.
        per_step: One value for each code step; else one for each utterance.
        values: Class names or numbers; None and NaN are unknown, (N,).
        groups: What is held out together, (N,).
        held_out: What the groups are, for the report.
    """

    name: str
    per_step: bool
    values: np.ndarray
    groups: np.ndarray
    held_out: str

    @property
    def is_class(self) -> bool:
        """Whether the values are class names."""
        return self.values.dtype == object

    @property
    def known(self) -> np.ndarray:
        """Which rows have a value, (N,)."""
        if self.is_class:
            return np.array([v is not None for v in self.values])
        return np.isfinite(self.values)


def choose_rows(target: Target, limit: int, seed: int = 0) -> np.ndarray:
    """Rows with a value, of classes that are in several groups: at most ``limit``, drawn.

    Args:
        target: What is to be read.
        limit: Most rows.
        seed: Seed of the draw.

    Returns:
        Row numbers in order; empty where fewer than two classes or groups are left.
    """
    rows = np.flatnonzero(target.known)
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    if target.is_class:
        names, place = np.unique(target.values[rows].astype(str), return_inverse=True)
        spread = [len(np.unique(target.groups[rows[place == k]])) for k in range(len(names))]
        often = (np.bincount(place) >= FOLDS) & (np.array(spread) > 1)
        rows = rows[often[place]]
    values = target.values[rows]
    few = len(set(values.tolist())) < 2 or len(np.unique(target.groups[rows])) < 2
    return rows[:0] if few else rows


def read(
    codes: np.ndarray, target: Target, rows: np.ndarray, reader: Reader, seed: int = 0
) -> Reading:
    """Probe a code, and again with shuffled values.

    Args:
        codes: Codes of all rows of the target, (N, C).
        target: What is to be read.
        rows: Rows to use, see :func:`choose_rows`.
        reader: Ridge or logistic regression, or a network with one hidden layer.
        seed: Seed of the shuffling.
    """
    x, groups, y = codes[rows], target.groups[rows], target.values[rows]
    mixed = np.random.default_rng(seed).permutation(y)
    if not target.is_class:
        scores = [probe_r2(x, v.astype(float), groups, reader) for v in (y, mixed)]
        return Reading(scores[0], scores[1], 0.0, len(rows), 0)
    classes = len(set(y.tolist()))
    scores = [probe_recall(x, v.astype(str), groups, reader) for v in (y, mixed)]
    return Reading(scores[0], scores[1], 1 / classes, len(rows), classes)


def probe_r2(
    codes: np.ndarray, value: np.ndarray, groups: np.ndarray, reader: Reader = "linear"
) -> float:
    """Share of a value's variance that a reader of the codes explains, held out in five folds.

    Args:
        codes: Codes, (N, C); one that never changes explains nothing.
        value: Value to predict, (N,).
        groups: Utterance of each row, or what else is in one fold only, (N,).
        reader: Ridge regression, or a network.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold
    from sklearn.neural_network import MLPRegressor

    if not np.ptp(codes, axis=0).any():
        return 0.0
    linear = reader == "linear"
    folds = GroupKFold(min(FOLDS, len(np.unique(groups))))
    model = RidgeCV(np.logspace(-2, 4, 7)) if linear else _network(MLPRegressor, len(codes))
    if not linear:
        value = (value - value.mean()) / value.std()  # the network starts near 0
    predicted = _predict(_after_scaling(model), codes, value, groups, folds)
    return 1 - float(np.square(value - predicted).sum() / np.square(value - value.mean()).sum())


def probe_recall(
    codes: np.ndarray, label: np.ndarray, groups: np.ndarray, reader: Reader = "linear"
) -> float:
    """Unweighted average recall of a reader of the codes, held out in five folds.

    Args:
        codes: Codes, (N, C); one that never changes tells nothing.
        label: Classes, (N,); each weighs the same.
        groups: Utterance of each row, or what else is in one fold only, (N,).
        reader: Logistic regression, or a network.

    Returns:
        Recall; NaN where a class has one group only. With few groups there are fewer folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.neural_network import MLPClassifier

    if not np.ptp(codes, axis=0).any():
        return 1 / len(np.unique(label))
    rarest = min(len(np.unique(groups[label == one])) for one in np.unique(label))
    if rarest < 2:
        return float("nan")
    folds = StratifiedGroupKFold(min(FOLDS, rarest), shuffle=True, random_state=0)
    linear = LogisticRegression(max_iter=1000, class_weight="balanced")
    model = _after_scaling(linear if reader == "linear" else _network(MLPClassifier, len(codes)))
    weights = None if reader == "linear" else {"reader__sample_weight": _balance(label)}
    predicted = _predict(model, codes, label, groups, folds, weights)
    return float(balanced_accuracy_score(label, predicted))


def _after_scaling(reader: Any) -> Any:
    """A reader of standardised codes."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([("scale", StandardScaler()), ("reader", reader)])


def _network(kind: Any, rows: int) -> Any:
    """A network with one hidden layer, of a class of sklearn."""
    return kind(
        hidden_layer_sizes=(HIDDEN,),
        alpha=0.01,
        batch_size=_batch(rows),
        learning_rate_init=RATE,
        max_iter=_epochs(rows),
        random_state=0,
    )


def _batch(rows: int) -> int:
    """Rows per update: of the folds that are fitted to, there may be fewer than usual."""
    return max(min(BATCH, rows // 2), 1)


def _epochs(rows: int) -> int:
    """Epochs with about as many updates, whatever the number of rows."""
    return max(round(UPDATES * _batch(rows) / rows), 1)


def _balance(label: np.ndarray) -> np.ndarray:
    """Weights that give each class the same sum, (N,)."""
    names, place = np.unique(label, return_inverse=True)
    return len(label) / len(names) / np.bincount(place)[place]


def _predict(
    model: Any,
    codes: np.ndarray,
    wanted: np.ndarray,
    groups: np.ndarray,
    folds: Any,
    weights: dict[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Each row's prediction by the model that was fitted without its fold, (N,)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import cross_val_predict

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)  # so many epochs, no more
        return cross_val_predict(model, codes, wanted, groups=groups, cv=folds, params=weights)
