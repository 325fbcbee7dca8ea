"""How strongly an emotion is expressed, 0 to 1, by relative attributes.

A ranking function is learned per speaker and emotion from the speaker's neutral and emotional
utterances alone; no strength was ever annotated.

Source: Parikh and Grauman, "Relative attributes", ICCV 2011; for strength of emotion Zhu, Yang,
Yang and Xie, "Controlling emotion strength with relative attribute for end-to-end speech
synthesis", ASRU 2019, and Emovox: Zhou, Sisman, Rana, Schuller and Li, "Emotion intensity and its
control for emotional voice conversion", IEEE Transactions on Affective Computing, 2022.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.ser.fitted import hash_of, read_fitted, write_fitted
from emovc.ser.ranking import MAX_PAIRS, C, Scale, fit_scale

KIND = "strength ranker"
REMEDY = "emovc rank MANIFEST -o FILE makes one"
POOLED = "*"  # in the place of a speaker
LEAST = 2  # utterances of each class that a ranking is learned from


class Strength(NamedTuple):
    """Strength of an utterance.

    Attributes:
        value: Between 0 and 1.
        unclipped: The same before it was cut off there; it orders all utterances.
        pooled: Whether the ranking of all speakers was used, as the speaker's own is missing.
    """

    value: float
    unclipped: float
    pooled: bool


@dataclass(frozen=True)
class StrengthRanker:
    """Rankings of each speaker and emotion over his neutral speech, and of all speakers pooled.

    A pooled ranking is learned from pairs within speakers. 0 and 1 are the least and the most of
    all neutral and emotional utterances it was learned from, as in Emovox.

    Args:
        functionals: Name of the functionals it measures.
        scales: Ranking of each (speaker, emotion); speaker ``*`` is the pooled one.
        corpora: What it was learned from.
        report: What was found when it was made, for the record.
    """

    functionals: str
    scales: Mapping[tuple[str, str], Scale]
    corpora: tuple[str, ...]
    report: Mapping[str, Any]

    @classmethod
    def fit(
        cls,
        utterances: Sequence[Utterance],
        features: np.ndarray,
        functionals: str,
        c: float = C,
        max_pairs: int = MAX_PAIRS,
        seed: int = 0,
    ) -> "StrengthRanker":
        """Learn from the training split.

        Args:
            utterances: Utterances of the split ``train``.
            features: Functionals of each, (N, D).
            functionals: Name of the functionals.
            c: Weight of the pairs.
            max_pairs: Pairs of each kind to learn a ranking from.
            seed: Seed of the sample of pairs.

        Raises:
            UserError: An utterance isn't of the training split, or no speaker has enough neutral
                and emotional ones.
        """
        foreign = [u.id for u in utterances if u.split != "train"]
        if foreign:
            raise UserError(f"{foreign[0]} is not of split train; strength is learned from it only")
        rows: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, utterance in enumerate(utterances):
            rows[utterance.speaker, utterance.emotion or ""].append(i)
        kinds = sorted((s, e) for s, e in rows if e not in ("", "neutral"))
        pooled: dict[str, list[str]] = defaultdict(list)
        scales = {}
        for speaker, emotion in kinds:
            less, more = rows[speaker, "neutral"], rows[speaker, emotion]
            if min(len(less), len(more)) >= LEAST:
                pair = [features[less]], [features[more]]
                scales[speaker, emotion] = fit_scale(*pair, c, max_pairs, seed)
                pooled[emotion].append(speaker)
        for emotion, speakers in pooled.items():
            calm = [features[rows[s, "neutral"]] for s in speakers]
            moved = [features[rows[s, emotion]] for s in speakers]
            scales[POOLED, emotion] = fit_scale(calm, moved, c, max_pairs, seed)
        if not scales:
            raise UserError(
                f"no speaker has {LEAST} neutral and {LEAST} emotional utterances in split train"
            )
        return cls(functionals, scales, tuple(sorted({u.corpus for u in utterances})), {})

    def score(self, features: np.ndarray, speaker: str, emotion: str) -> Strength:
        """Strength of an utterance.

        Args:
            features: Its functionals, (D,).
            speaker: Who speaks.
            emotion: Emotion whose strength is asked for.

        Raises:
            UserError: It isn't known for this emotion.
        """
        own = self.scales.get((speaker, emotion))
        scale = own or self.scales.get((POOLED, emotion))
        if scale is None:
            raise UserError(f"strength of {emotion} is not known to the ranker")
        value = float(features @ scale.weight) + scale.bias
        return Strength(min(max(value, 0.0), 1.0), value, own is None)

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that identify the rankings."""
        return hash_of(self._arrays())

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        facts = {
            "functionals": self.functionals,
            "keys": [list(key) for key in self.scales],
            "corpora": list(self.corpora),
            "report": dict(self.report),
        }
        write_fitted(path, KIND, self._arrays(), facts)

    @classmethod
    def load(cls, path: Path) -> "StrengthRanker":
        """Read a file of :meth:`save`.

        Raises:
            UserError: There is none.
        """
        arrays, facts = read_fitted(path, KIND, REMEDY)
        scales = {
            (speaker, emotion): Scale(weight, float(bias))
            for (speaker, emotion), weight, bias in zip(
                facts["keys"], arrays["weight"], arrays["bias"], strict=True
            )
        }
        return cls(facts["functionals"], scales, tuple(facts["corpora"]), facts["report"])

    def _arrays(self) -> dict[str, np.ndarray]:
        """All rankings in the order of their keys."""
        scales = self.scales.values()
        weight, bias = np.array([s.weight for s in scales]), np.array([s.bias for s in scales])
        return {"weight": weight, "bias": bias}


class Ordering(NamedTuple):
    """How often pairs come out in the right order.

    Attributes:
        share: Share of pairs, 0.5 by chance; NaN without pairs.
        pairs: Number of pairs.
    """

    share: float
    pairs: int


def ordering_accuracy(
    ranker: StrengthRanker, utterances: Sequence[Utterance], features: np.ndarray
) -> dict[str, Ordering]:
    """Share of pairs of one speaker whose emotional utterance ranks above the neutral, by emotion.

    Args:
        ranker: Rankings.
        utterances: Utterances it wasn't learned from.
        features: Functionals of each, (N, D).
    """
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, utterance in enumerate(utterances):
        rows[utterance.speaker, utterance.emotion or ""].append(i)
    signs: dict[str, list[np.ndarray]] = defaultdict(list)
    for (speaker, emotion), own in rows.items():
        if (POOLED, emotion) in ranker.scales:
            less, more = (
                np.array([ranker.score(features[i], speaker, emotion).unclipped for i in part])
                for part in (rows.get((speaker, "neutral"), []), own)
            )
            signs[emotion].append(np.sign(more[:, None] - less).ravel())
    return {emotion: _ordering(np.concatenate(found)) for emotion, found in sorted(signs.items())}


def intensity_accuracy(
    ranker: StrengthRanker, utterances: Sequence[Utterance], features: np.ndarray
) -> Ordering:
    """Share of pairs of one speaker, emotion and sentence whose strong one ranks above the normal.

    Args:
        ranker: Rankings.
        utterances: Utterances, some with the intensity ``strong`` or ``normal`` (RAVDESS).
        features: Functionals of each, (N, D).
    """
    scores: dict[tuple[str | None, ...], list[float]] = defaultdict(list)
    for utterance, row in zip(utterances, features, strict=True):
        emotion = utterance.emotion or ""
        if utterance.intensity in ("strong", "normal") and (POOLED, emotion) in ranker.scales:
            key = utterance.speaker, emotion, utterance.sentence
            value = ranker.score(row, utterance.speaker, emotion).unclipped
            scores[*key, utterance.intensity].append(value)
    signs = [
        np.sign(np.subtract.outer(scores[*key, "strong"], scores.get((*key, "normal"), []))).ravel()
        for *key, intensity in list(scores)
        if intensity == "strong"
    ]
    return _ordering(np.concatenate(signs)) if signs else Ordering(float("nan"), 0)


def _ordering(signs: np.ndarray) -> Ordering:
    """Share of +1 among signs (K,), ties counting half."""
    share = float((signs + 1).mean() / 2) if len(signs) else float("nan")
    return Ordering(share, len(signs))
