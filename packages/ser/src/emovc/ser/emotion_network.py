"""The network of the emotion encoder: statistics of images of speech, and a small classifier."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def statistics(images: Tensor, mask: Tensor) -> Tensor:
    """Mean, standard deviation and mean absolute step over time of each row of images of speech.

    Args:
        images: (B, I, M, T).
        mask: 1 on frames of speech, at least one of each utterance, (B, T).

    Returns:
        (B, 3 I M): means, deviations and steps of the first row, of the second, and so on.
    """
    keep = mask[:, None, None]
    x = images * keep
    n = keep.sum(-1)
    mean = x.sum(-1) / n
    variance = ((x - mean[..., None]) * keep).square().sum(-1) / n
    both = keep[..., 1:] * keep[..., :-1]
    steps = ((x[..., 1:] - x[..., :-1]).abs() * both).sum(-1) / n
    return torch.stack([mean, (variance + 1e-4).sqrt(), steps], -1).flatten(1)


class EmotionNetwork(nn.Module):
    """Statistics of speech to an embedding and the scores of the emotions.

    Args:
        n_statistics: Size S of the input.
        n_emotions: Emotions E.
        hidden: Units of the first layer.
        dim: Size D of the embedding.
        dropout: Share of the values dropped before each layer in training.
    """

    def __init__(
        self,
        n_statistics: int = 480,
        n_emotions: int = 9,
        hidden: int = 256,
        dim: int = 128,
        dropout: float = 0.15,
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(n_statistics))
        self.register_buffer("deviation", torch.ones(n_statistics))
        self.first = nn.Linear(n_statistics, hidden)
        self.embed = nn.Linear(hidden, dim)
        self.classify = nn.Linear(dim, n_emotions)
        self.dropout = nn.Dropout(dropout)

    def fit_scale(self, values: Tensor) -> None:
        """Take mean and deviation of training statistics (N, S)."""
        self.mean.copy_(values.mean(0))
        self.deviation.copy_(values.std(0) + 1e-4)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, D) and scores before the softmax (B, E) of statistics (B, S)."""
        x = self.dropout((values - self.mean) / self.deviation)
        x = self.dropout(F.relu(self.first(x)))
        embedding = self.embed(x)
        return embedding, self.classify(self.dropout(F.relu(embedding)))
