"""Mean emotion vectors of the training part: one per level of arousal, one per category."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError

LEVELS = tuple(range(1, 8))
SHARE = 0.2
UNLABELLED = (
    "no utterance of the training part has an arousal; make pseudo-labels with emovc label-arousal"
    " MANIFEST -o OUT and train on OUT"
)


class Labelled(NamedTuple):
    """An utterance that may become a reference.

    Attributes:
        id: Its id.
        vector: Its emotion vector, (E,).
        arousal: Its arousal, 1 to 7, where it is known.
        emotion: Its canonical emotion, where it is known.
    """

    id: str
    vector: np.ndarray
    arousal: float | None
    emotion: str | None


class EmotionBank(nn.Module):
    """Emotion vectors to convert towards, kept with the weights of the model.

    A level's vector is the mean over the fifth of its utterances whose arousal is nearest to it. It
    is kept as it comes: the score network's layer norm undoes that means are shorter.

    Source: Prabhu et al., EmoConv-Diff, ICASSP 2024, where 20 % of the utterances of a level are
    averaged; which ones is not known to us.

    Args:
        dim: Size E of an emotion vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        # Counts are floats, as the moving average of weights takes buffers along.
        self.levels: Tensor
        self.level_counts: Tensor
        self.categories: Tensor
        self.category_counts: Tensor
        self.register_buffer("levels", torch.zeros(len(LEVELS), dim))
        self.register_buffer("level_counts", torch.zeros(len(LEVELS)))
        self.register_buffer("categories", torch.zeros(len(EMOTIONS), dim))
        self.register_buffer("category_counts", torch.zeros(len(EMOTIONS)))

    def fill(self, utterances: Sequence[Labelled], share: float = SHARE) -> dict[str, list[str]]:
        """Average the references of the training part.

        Args:
            utterances: Its utterances.
            share: Share of a level's utterances that is averaged, at least one.

        Returns:
            Ids of the members of each level, the nearest first.

        Raises:
            UserError: No utterance has an arousal.
        """
        members: dict[str, list[str]] = {}
        for i, level in enumerate(LEVELS):
            near = _nearest(utterances, level, share)
            members[str(level)] = [u.id for u in near]
            _put(self.levels, self.level_counts, i, [u.vector for u in near])
        for i, emotion in enumerate(EMOTIONS):
            own = [u.vector for u in utterances if u.emotion == emotion]
            _put(self.categories, self.category_counts, i, own)
        if not any(members.values()):
            raise UserError(UNLABELLED)
        return members

    def at(self, arousal: float) -> Tensor:
        """Vector (E,) of an arousal from 1 to 7, between levels on the straight line.

        Raises:
            UserError: A level that it takes has no references.
        """
        low = math.floor(arousal)
        share = arousal - low
        for level in (low, low + 1)[: 2 if share else 1]:
            if not self.level_counts[level - 1]:
                known = [str(a) for a in LEVELS if self.level_counts[a - 1]]
                raise UserError(
                    f"arousal {arousal:g}: the model has no references of level {level}; it has"
                    f" {', '.join(known)}, as the corpus it was trained on"
                )
        below = self.levels[low - 1]
        return below if not share else torch.lerp(below, self.levels[low], share)

    def of(self, category: str) -> Tensor:
        """Vector (E,) of a category.

        Raises:
            UserError: It has no references.
        """
        index = EMOTIONS.index(category)
        if not self.category_counts[index]:
            known = [e for e, n in zip(EMOTIONS, self.category_counts, strict=True) if n]
            raise UserError(
                f"emotion {category!r}: the model has no references of it; it has"
                f" {', '.join(known) or 'none'}"
            )
        return self.categories[index]


def nearest_level(arousal: float) -> int:
    """The level, 1 to 7, that an arousal is nearest to; halves go up."""
    return min(max(math.floor(arousal + 0.5), LEVELS[0]), LEVELS[-1])


def _nearest(utterances: Sequence[Labelled], level: int, share: float) -> list[Labelled]:
    """The share of a level's utterances that is nearest to it, the nearest first."""
    own = [
        (abs(u.arousal - level), u.id, u)
        for u in utterances
        if u.arousal is not None and nearest_level(u.arousal) == level
    ]
    own.sort(key=lambda row: row[:2])
    return [u for *_, u in own[: math.ceil(share * len(own))]]


def _put(vectors: Tensor, counts: Tensor, row: int, found: Sequence[np.ndarray]) -> None:
    """Write a mean and how many it is of."""
    counts[row] = len(found)
    if found:
        vectors[row] = torch.from_numpy(np.mean(found, axis=0))
