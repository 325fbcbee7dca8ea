"""Arousal from the functionals of an utterance, learned from what its emotion suggests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.ser.fitted import hash_of, read_fitted, write_fitted

KIND = "arousal regressor"
REMEDY = "emovc.ser.train_arousal makes one"
SHIPPED = Path(__file__).parent / "weights" / "arousal_pseudo.safetensors"
LEVELS = tuple(range(1, 8))
PRIOR = {  # mean arousal of the word, -1 to 1
    "neutral": 0.0,  # chosen here, as is calm
    "angry": 0.59,
    "happy": 0.51,
    "sad": -0.27,
    "surprise": 0.67,
    "fear": 0.60,
    "disgust": 0.35,
    "calm": -0.46,
    "bored": -0.62,
}
INTENSITY = {"normal": -0.15, "strong": 0.15}  # added to the prior; chosen here


def pseudo_arousal(emotion: str | None, intensity: str | None = None) -> float | None:
    """Arousal that the label of an acted utterance suggests, 0 to 1; nobody has rated it.

    The mean arousal of the emotion's name, 0.15 more where it was acted strongly and 0.15 less
    where normally, from -1 .. 1 to 0 .. 1. All speakers and recordings of an emotion get the same.

    Args:
        emotion: Canonical emotion.
        intensity: RAVDESS's ``normal`` or ``strong``.

    Returns:
        Pseudo-label, nothing where the emotion is unknown.

    Source: means of the words angry, happy, sad, surprised, fearful, disgusted and bored in Russell
    and Mehrabian, "Evidence for a three-factor theory of emotions", Journal of Research in
    Personality 11, 1977, as later work quotes them; the other numbers are chosen here.
    """
    if emotion not in PRIOR:
        return None
    value = PRIOR[emotion]
    if emotion != "neutral":  # RAVDESS has neutral in one intensity only
        value += INTENSITY.get(intensity or "", 0.0)
    return (value + 1) / 2


def arousal_target(level: float) -> float:
    """Where a level of arousal, 1 to 7, lies between 0 and 1: EmoConv-Diff's ``(c - 1) / 6``."""
    return (level - 1) / 6


def arousal_level(value: float) -> float:
    """The inverse of :func:`arousal_target`: ``1 + 6 a``."""
    return 1 + 6 * value


class LevelError(NamedTuple):
    """How far arousal is from what was asked for.

    Attributes:
        mse: Mean squared error, ``L_mse``.
        absolute: Mean absolute error in percent of the scale, ``L_abs``.
        n: Number of utterances.
    """

    mse: float
    absolute: float
    n: int


def level_errors(values: np.ndarray, levels: np.ndarray) -> dict[str, LevelError]:
    """Errors per level asked for, and of all.

    Arousal 0.5 whatever is asked for gives 0.1111 and 28.57 % over levels 1 to 7: no control.

    Args:
        values: Arousal measured, 0 to 1, (N,).
        levels: Levels asked for, 1 to 7, (N,).

    Source: Prabhu, Lay, Welker, Lehmann-Willenbrock and Gerkmann, "EMOCONV-Diff", ICASSP 2024,
    section 4.
    """
    errors = values - (levels - 1) / 6
    chosen = {str(level): levels == level for level in sorted(set(levels.tolist()))}
    chosen["all"] = np.full(len(levels), True)
    return {
        name: LevelError(
            float(np.square(errors[rows]).mean()),
            float(100 * np.abs(errors[rows]).mean()),
            int(rows.sum()),
        )
        for name, rows in chosen.items()
    }


@dataclass(frozen=True)
class ArousalRegressor:
    """Arousal 0 to 1, linear in the functionals, learned from pseudo-labels (``arousal_pseudo``).

    Args:
        functionals: Name of the functionals it measures.
        weight: Weight of each, (D,).
        bias: What is added.
        corpora: What it was learned from.
        report: What was found when it was made, for the record.
    """

    functionals: str
    weight: np.ndarray
    bias: float
    corpora: tuple[str, ...]
    report: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        utterances: Sequence[Utterance],
        features: np.ndarray,
        functionals: str,
        ridge: float,
    ) -> "ArousalRegressor":
        """Learn from pseudo-labels by ridge regression; every corpus weighs the same.

        Args:
            utterances: Utterances; those without a known emotion are left out.
            features: Functionals of each, (N, D).
            functionals: Name of the functionals.
            ridge: Penalty of the weights of features of variance 1, in shares of the data.

        Raises:
            UserError: No emotion is known.
        """
        labels = [pseudo_arousal(u.emotion, u.intensity) for u in utterances]
        known = [i for i, label in enumerate(labels) if label is not None]
        if not known:
            raise UserError("no utterance has an emotion; arousal can't be learned")
        corpora = [utterances[i].corpus for i in known]
        share = np.array([1 / corpora.count(corpus) for corpus in corpora])
        y = np.array([labels[i] for i in known], dtype=float)
        weight, bias = fit_ridge(features[known], y, share / share.sum(), ridge)
        return cls(functionals, weight, bias, tuple(sorted(set(corpora))))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Arousal 0 to 1, (N,), of functionals (N, D)."""
        return np.clip(features @ self.weight + self.bias, 0.0, 1.0)

    def stretched(self, low: float, high: float, of: str) -> "ArousalRegressor":
        """The same regression on a wider scale, on which ``low`` is 0 and ``high`` is 1.

        Args:
            low: Arousal, 0 to 1.
            high: Arousal above it.
            of: What they are, for the record.
        """
        span = high - low
        report = {**self.report, "scale": {"of": of, "0": round(low, 4), "1": round(high, 4)}}
        return ArousalRegressor(
            self.functionals, self.weight / span, (self.bias - low) / span, self.corpora, report
        )

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that identify the weights."""
        return hash_of(self._arrays())

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        facts = {
            "functionals": self.functionals,
            "corpora": list(self.corpora),
            "report": dict(self.report),
        }
        write_fitted(path, KIND, self._arrays(), facts)

    @classmethod
    def load(cls, path: Path = SHIPPED) -> "ArousalRegressor":
        """Read a file of :meth:`save`; by default the one that comes with the package.

        Raises:
            UserError: There is none.
        """
        arrays, facts = read_fitted(path, KIND, REMEDY)
        bias, corpora = float(arrays["bias"][0]), tuple(facts["corpora"])
        return cls(facts["functionals"], arrays["weight"], bias, corpora, facts["report"])

    def _arrays(self) -> dict[str, np.ndarray]:
        """The numbers."""
        return {"weight": self.weight, "bias": np.array([self.bias])}


def fit_ridge(
    features: np.ndarray, y: np.ndarray, share: np.ndarray, ridge: float
) -> tuple[np.ndarray, float]:
    """Ridge regression in closed form: ``sum share (y - w.z - b)^2 + ridge |w|^2``.

    Args:
        features: Features (N, D); ``z`` are they with mean 0 and variance 1.
        y: What to predict, (N,).
        share: Weight of each row, sum 1, (N,).
        ridge: Penalty.

    Returns:
        Weight (D,) and bias for features in their own units.
    """
    mean, y_mean = share @ features, float(share @ y)
    std = np.sqrt(share @ np.square(features - mean))
    unit = np.where(std > 1e-12, 1 / np.maximum(std, 1e-12), 0.0)
    z = (features - mean) * unit
    gram = z.T @ (share[:, None] * z) + ridge * np.eye(len(mean))
    weight = np.linalg.solve(gram, z.T @ (share * (y - y_mean))) * unit
    return weight, y_mean - float(weight @ mean)
