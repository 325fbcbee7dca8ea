"""The space embeddings are quantised in: centred, of unit size, and rotated."""

from typing import Literal

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError

Rotation = Literal["none", "random", "pca_balanced"]


class EmbeddingSpace(nn.Module):
    """Maps embeddings x to R (x - m) / s and back, with mean m, one scale s, and a rotation R.

    The squared length of the training embeddings is 1 on average, so that errors compare over
    corpora and dimensions. The rotation decides which directions a group holds: those of the input
    (``none``), random ones, or principal axes dealt out so that every group holds as much
    (``pca_balanced``; Ge et al., "Optimized product quantization", IEEE TPAMI 2014, section 3.3).

    Args:
        dim: Size D of the embeddings.
        n_groups: Groups that the axes are dealt out to, equally many to each.
        rotation: The rotation.

    Raises:
        UserError: There is no such rotation.
    """

    def __init__(self, dim: int, n_groups: int, rotation: Rotation = "pca_balanced") -> None:
        super().__init__()
        if rotation not in ("none", "random", "pca_balanced"):
            raise UserError(f"rotation {rotation!r}: must be none, random or pca_balanced")
        self.n_groups = n_groups
        self.kind: Rotation = rotation
        self.mean: Tensor
        self.scale: Tensor
        self.rotation: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("rotation", torch.eye(dim))

    @torch.no_grad()
    def fit(self, x: Tensor, seed: int = 0) -> None:
        """Take mean, scale and axes of embeddings.

        Args:
            x: Embeddings, (N, D).
            seed: Of the random rotation.

        Raises:
            UserError: They are all the same, or not finite.
        """
        exact = x.double()
        mean = exact.mean(0)
        scale = (exact - mean).square().sum(1).mean().sqrt()
        if not torch.isfinite(scale) or scale == 0:
            raise UserError("the training embeddings are all the same or not finite; check them")
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        if self.kind == "random":
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.randn(len(mean), len(mean), generator=generator, dtype=torch.float64)
            self.rotation.copy_(torch.linalg.qr(drawn)[0])
        elif self.kind == "pca_balanced":
            self.rotation.copy_(_balanced_axes((exact - mean) / scale, self.n_groups))

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (N, D) in this space."""
        return ((x - self.mean) / self.scale) @ self.rotation.T

    def inverse(self, x: Tensor) -> Tensor:
        """Embeddings (N, D) of points of this space."""
        return self.mean + self.scale * (x @ self.rotation)


def _balanced_axes(x: Tensor, n_groups: int) -> Tensor:
    """Principal axes (D, D) of centred data (N, D), as rows, group by group.

    From the largest variance down each axis goes to the group that has room and whose product of
    variances is smallest.
    """
    dim = x.shape[1]
    variances, axes = torch.linalg.eigh(x.T @ x / len(x))  # rising; axes are columns
    sign = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    axes = (axes * sign).T  # eigenvectors have no sign of their own
    logs = variances.clamp(min=1e-12 * float(variances[-1])).log()
    parts: list[list[int]] = [[] for _ in range(n_groups)]
    sums = [0.0] * n_groups
    lowest = float(logs[0])
    for axis in range(dim - 1, -1, -1):
        room = [g for g in range(n_groups) if len(parts[g]) < dim // n_groups]
        group = min(room, key=lambda g: sums[g])
        parts[group].append(axis)
        sums[group] += float(logs[axis]) - lowest  # above 0, or an empty group would be full
    return axes[[axis for part in parts for axis in part]]
