"""The trained part of the emotion encoder on Whisper: layer weights and a small classifier."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError

FEWEST = 3  # recordings from which a speaker's statistics can be taken
PRIOR = 2.0  # recordings that the training's deviation counts for


class SpeakerStatistics(NamedTuple):
    """Where a speaker's recordings lie: mean and deviation of their statistics over recordings.

    Attributes:
        mean: (L, 2, D), or (B, L, 2, D) for a batch of several speakers.
        deviation: The same.
    """

    mean: Tensor
    deviation: Tensor


class WhisperHead(nn.Module):
    """From statistics of Whisper's layers to an embedding and the probabilities of emotions.

    Mean and deviation over time of each layer are brought to zero mean and unit deviation, by the
    training recordings or by the speaker's own. Learned weights that sum to 1 mix the layers; one
    linear layer makes the embedding, and after a ReLU another one the scores.

    Args:
        n_layers: Layers L of Whisper.
        n_features: Their width D.
        n_emotions: Emotions E.
        dim: Size of the embedding.
        dropout: Share of the values dropped before each linear layer in training.
    """

    def __init__(
        self,
        n_layers: int = 2,
        n_features: int = 512,
        n_emotions: int = 9,
        dim: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.temperature: Tensor
        shape = (n_layers, 2, n_features)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))
        self.register_buffer("temperature", torch.ones(2))  # without and with the speaker's
        self.layer_scores = nn.Parameter(torch.zeros(n_layers))
        self.embed = nn.Linear(2 * n_features, dim)
        self.classify = nn.Linear(dim, n_emotions)
        self.dropout = nn.Dropout(dropout)

    @property
    def layer_weights(self) -> Tensor:
        """Weight of each layer in the mixture, (L,)."""
        return self.layer_scores.softmax(0)

    def fit_scale(self, statistics: Tensor) -> None:
        """Take mean and deviation of training statistics (N, L, 2, D)."""
        self.mean.copy_(statistics.mean(0))
        self.deviation.copy_(statistics.std(0) + 1e-4)

    def describe_speaker(self, statistics: Tensor) -> SpeakerStatistics:
        """Mean and deviation of a speaker's statistics (N, L, 2, D).

        With few recordings the deviation is uncertain; the training's counts as two more.

        Raises:
            UserError: There are fewer than three recordings.
        """
        n = len(statistics)
        if n < FEWEST:
            raise UserError(
                f"statistics of a speaker need {FEWEST} recordings or more, better 20 of all"
                f" emotions; {n} given"
            )
        spread = statistics.var(0, correction=0)
        variance = (n * spread + PRIOR * self.deviation.square()) / (n + PRIOR)
        return SpeakerStatistics(statistics.mean(0), variance.sqrt() + 1e-4)

    def normalize(self, statistics: Tensor, speaker: SpeakerStatistics | None = None) -> Tensor:
        """Statistics (B, L, 2, D) on the scale of the training's, or of the speaker's."""
        mean, deviation = speaker or (self.mean, self.deviation)
        return (statistics - mean) / deviation

    def decide(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, dim) and scores before the softmax (B, E) of (B, L, 2, D)."""
        mixed = (normalized.flatten(2) * self.layer_weights[:, None]).sum(1)
        embedding = self.embed(self.dropout(mixed))
        return embedding, self.classify(self.dropout(F.relu(embedding)))

    def forward(
        self, statistics: Tensor, speaker: SpeakerStatistics | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embeddings (B, dim) and calibrated log-probabilities (B, E).

        Args:
            statistics: Mean and deviation over time of the layers, (B, L, 2, D).
            speaker: By whose statistics to normalize; ``None``: by the training's.
        """
        embedding, scores = self.decide(self.normalize(statistics, speaker))
        temperature = self.temperature[0 if speaker is None else 1]
        return embedding, (scores / temperature).log_softmax(-1)
