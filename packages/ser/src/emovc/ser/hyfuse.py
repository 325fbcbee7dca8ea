"""HYFuse: emotion recognition from several representations of an utterance, fused on the ball.

Source: Phukan, Girish, Akhtar, Behera, Reddy, Buduru and Sharma, "HYFuse: aligning heterogeneous
speech pre-trained representations in hyperbolic space for speech emotion recognition", Interspeech
2025, arXiv 2506.03403. The sizes are not from the paper; see the model card.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.ser.fusion import FusionKind, make_fusion
from emovc.ser.poincare import clip_norm


class Standardise(nn.Module):
    """Zero mean and unit deviation of each dimension, over what training hears.

    Args:
        dim: Size D of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, vectors: Tensor) -> None:
        """Take the statistics of training vectors (N, D); what never varies stays as it is."""
        self.mean.copy_(vectors.mean(0))
        std = vectors.std(0, correction=0)
        self.std.copy_(torch.where(std > 1e-8, std, 1.0))

    def forward(self, vectors: Tensor) -> Tensor:
        """Standardise (B, D)."""
        return (vectors - self.mean) / self.std


class ConvBranch(nn.Module):
    """Two convolutions over the dimensions of a vector, each halving them, and a dense layer.

    Neighbouring dimensions of a pooled vector have nothing to do with each other; this is the habit
    of the paper's group, not a need.

    Args:
        in_dim: Size of the representation.
        dim: Size D of the result.
    """

    def __init__(self, in_dim: int, dim: int = 128) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(1, 64, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2),
        )  # fmt: skip
        self.dense = nn.Linear(128 * (in_dim // 4), dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (B, in_dim) to (B, D)."""
        return self.dense(self.conv(vectors[:, None]).flatten(1))


class MLPBranch(nn.Module):
    """Two dense layers: a tenth of the parameters of :class:`ConvBranch`.

    Args:
        in_dim: Size of the representation.
        dim: Size D of the result.
        hidden: Width between them.
    """

    def __init__(self, in_dim: int, dim: int = 128, hidden: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (B, in_dim) to (B, D)."""
        return self.layers(vectors)


class HYFuse(nn.Module):
    """Emotion from one or more representations of an utterance.

    Each is standardised, mapped to D dimensions by a branch of its own, and shortened to norm
    ``clip``; all are fused, and a small head decides. A single one gives its baseline.

    Args:
        dims: Size of each representation, in the order of the Möbius sum.
        n_classes: Classes; by default the canonical emotions.
        fusion: How the views are fused, see :mod:`emovc.ser.fusion`.
        branch: Kind of the branches.
        dim: Size D of the views.
        clip: Largest norm of a view; ``None`` for none, which on the ball puts all views of a
            trained network at the edge, where their norms are lost.
        curvature: Curvature parameter c of the ball.
        learn_curvature: Train it.
        learn_scales: Train a factor for each view.
        dropout: Dropout in the head.

    Raises:
        UserError: There is no representation, or a number is out of its range.
    """

    def __init__(
        self,
        dims: list[int],
        n_classes: int = len(EMOTIONS),
        fusion: FusionKind = "mobius",
        branch: Literal["conv", "mlp"] = "conv",
        dim: int = 128,
        clip: float | None = 1.0,
        curvature: float = 1.0,
        learn_curvature: bool = False,
        learn_scales: bool = False,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        least = 4 if branch == "conv" else 1
        if not dims or min(dims) < least:
            raise UserError(f"HYFuse: dims {dims} must be one size or more, each {least} or above")
        if clip is not None and clip <= 0:
            raise UserError(f"HYFuse: clip {clip} must be above 0, or null for none")
        kind = ConvBranch if branch == "conv" else MLPBranch
        self.dims = dims
        self.n_classes = n_classes
        self.clip = clip
        self.standardise = nn.ModuleList(Standardise(d) for d in dims)
        self.branches = nn.ModuleList(kind(d, dim) for d in dims)
        self.fusion = make_fusion(fusion, len(dims), dim, curvature, learn_curvature, learn_scales)
        self.head = nn.Sequential(
            nn.Linear(self.fusion.out_dim, 64), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(64, n_classes),
        )  # fmt: skip

    def fit_statistics(self, vectors: Sequence[Tensor]) -> None:
        """Take means and deviations of the training part, (N, dim) of each representation."""
        for layer, part in zip(self.standardise, vectors, strict=True):
            assert isinstance(layer, Standardise)
            layer.fit(part)

    def views(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """What is fused: (B, D) of each representation."""
        layers = zip(self.standardise, self.branches, vectors, strict=True)
        views = [branch(standardise(vector)) for standardise, branch, vector in layers]
        return views if self.clip is None else [clip_norm(v, self.clip) for v in views]

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """Logits (B, n_classes) of representations (B, dim), one tensor each."""
        return self.head(self.fusion(self.views(vectors)))
