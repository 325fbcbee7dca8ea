"""The trained part of the emotion encoder on Whisper: linear layers on statistics."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

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
    training recordings or by the speaker's own. One linear layer gives the scores without the
    speaker's statistics, another those with them, which need other weights; a third one gives the
    embedding, which never depends on them. So each value of each layer has its own weight.

    Args:
        n_layers: Layers L of Whisper.
        n_features: Their width D.
        n_emotions: Emotions E.
        dim: Size of the embedding.
    """

    def __init__(
        self, n_layers: int = 2, n_features: int = 512, n_emotions: int = 9, dim: int = 128
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.temperature: Tensor
        shape = (n_layers, 2, n_features)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))
        self.register_buffer("temperature", torch.ones(2))  # without and with the speaker's
        size = n_layers * 2 * n_features
        self.decide_without = nn.Linear(size, n_emotions)
        self.decide_with = nn.Linear(size, n_emotions)
        self.embed = nn.Linear(size, dim)

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
        """Statistics (B, L, 2, D) on the scale of the training's, or the speaker's: (B, L 2 D)."""
        mean, deviation = speaker or (self.mean, self.deviation)
        return ((statistics - mean) / deviation).flatten(1)

    def forward(
        self, statistics: Tensor, speaker: SpeakerStatistics | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embeddings (B, dim) and calibrated log-probabilities (B, E).

        Args:
            statistics: Mean and deviation over time of the layers, (B, L, 2, D).
            speaker: By whose statistics to normalize; ``None``: by the training's.
        """
        plain = self.normalize(statistics)
        if speaker is None:
            scores = self.decide_without(plain) / self.temperature[0]
        else:
            own = self.normalize(statistics, speaker)
            scores = self.decide_with(own) / self.temperature[1]
        return self.embed(plain), scores.log_softmax(-1)
