"""What takes speech apart: content, emotion, category and strength."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emovc.ainn.cue import Selection, calibrate, frame_weights
from emovc.ainn.model import ContentEncoder, EmotionEncoder, StrengthHead
from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError

FIVE = ("neutral", "happy", "angry", "sad", "surprise")
MOMENTUM = 0.999  # per utterance, of the mean emotion vector of each category


class Emotion(NamedTuple):
    """What is heard of the emotion of a batch.

    Attributes:
        features: Frame-level features F, (B, D, T).
        logits: Of the categories, (B, C).
        category: Category whose cue was taken, (B,).
        cue: Weights M of the frames, (B, T).
        vector: Calibrated emotion vectors e, (B, D).
        strength: Strengths in [0, 1], (B,).
    """

    features: Tensor
    logits: Tensor
    category: Tensor
    cue: Tensor
    vector: Tensor
    strength: Tensor


class Encoders(nn.Module):
    """E_c, E_e and the recognition network R = {R_c, R_s}: all that Stage II freezes.

    Args:
        content: Content encoder E_c.
        emotion: Emotion encoder E_e.
        emotions: Categories, in the order of the category head R_c.
        strength_dim: Hidden size of the strength head R_s.
        selection: The emotional cue, or what an ablation puts in its place.

    Raises:
        UserError: A category isn't canonical.
    """

    def __init__(
        self,
        content: ContentEncoder,
        emotion: EmotionEncoder,
        emotions: Sequence[str] = FIVE,
        strength_dim: int = 128,
        selection: Selection = "cue",
    ) -> None:
        super().__init__()
        unknown = [e for e in emotions if e not in EMOTIONS]
        if unknown:
            raise UserError(f"AINN: emotion {unknown[0]!r} is not one of {', '.join(EMOTIONS)}")
        self.content = content
        self.emotion = emotion
        self.emotions = tuple(emotions)
        self.selection: Selection = selection
        self.category = nn.Linear(emotion.dim, len(self.emotions))  # linear, or M is not exact
        self.strength = StrengthHead(emotion.dim, strength_dim)
        self.category_of: Tensor
        rows = [self.emotions.index(e) if e in self.emotions else -1 for e in EMOTIONS]
        self.register_buffer("category_of", torch.tensor([*rows, -1]), persistent=False)
        # Decaying sums of the vectors of each category and of their weights: linear in the vectors,
        # so that averages of these buffers over steps give averages of the means.
        self.sums: Tensor
        self.weights: Tensor
        self.register_buffer("sums", torch.zeros(len(self.emotions), emotion.dim))
        self.register_buffer("weights", torch.zeros(len(self.emotions), 1))

    def hear(
        self,
        mel: Tensor,
        mask: Tensor,
        category: Tensor | None = None,
        audible: Tensor | None = None,
    ) -> Emotion:
        """Emotion of scaled log-mels.

        Args:
            mel: Scaled log-mels, (B, M, T).
            mask: 1 at valid frames, (B, T).
            category: Categories whose cue is taken (B,); by default the likeliest ones.
            audible: 1 at frames that the cue may use, (B, T); by default all.
        """
        features = self.emotion(mel, mask)
        logits = self.category(calibrate(features, mask))
        category = logits.argmax(1) if category is None else category
        usable = mask if audible is None else mask * audible
        cue, vector = self.calibrated(features, category, mel, usable)
        return Emotion(features, logits, category, cue, vector, self.strength(vector))

    def calibrated(
        self, features: Tensor, category: Tensor, mel: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cue (B, T), 0 where ``mask`` is, and vectors (B, D) of features for categories (B,)."""
        cue = frame_weights(self.selection, features, self.category.weight, category, mel, mask)
        return cue, calibrate(features, cue)

    @torch.no_grad()
    def remember(self, vector: Tensor, category: Tensor) -> None:
        """Follow the mean vector of each category by those (B, D) of a batch."""
        members = nn.functional.one_hot(category, len(self.emotions)).to(self.sums)
        decay = MOMENTUM ** members.sum(0)[:, None]
        self.sums.mul_(decay).add_(members.T @ vector.to(self.sums))
        self.weights.mul_(decay).add_(members.sum(0)[:, None])

    def mean_vector(self, emotion: str) -> Tensor:
        """Mean vector (D,) of a category in training.

        Raises:
            UserError: The model didn't learn from any.
        """
        if emotion in self.emotions:
            row = self.emotions.index(emotion)
            if self.weights[row] > 0:
                return self.sums[row] / self.weights[row]
        raise UserError(
            f"this model never heard {emotion} speech in training; leave out --strength"
        )

    def index(self, emotion: str) -> int:
        """Row of a category.

        Raises:
            UserError: It is none of the model's.
        """
        if emotion not in self.emotions:
            known = ", ".join(self.emotions)
            raise UserError(f"emotion {emotion!r} is not one of the model's: use {known}")
        return self.emotions.index(emotion)
