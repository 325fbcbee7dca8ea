"""Ways to make one vector of several views of an utterance, in hyperbolic space and outside.

Each takes one vector (B, D) per view, whatever their number, and gives (B, ``out_dim``).
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.ser.poincare import Curvature, exp0, log0, midpoint, mobius_add

FusionKind = Literal["mobius", "symmetric", "midpoint", "concat", "sum", "tangent_concat", "gated"]
BallKind = Literal["mobius", "symmetric", "midpoint", "tangent_concat"]


class BallFusion(nn.Module):
    """Views are put on the Poincaré ball, fused there, and brought back to the tangent space.

    * ``mobius``: the Möbius sum, from the first view to the last; the order matters.
    * ``symmetric``: the midpoint of that sum and of the sum in reverse order.
    * ``midpoint``: the gyromidpoint.
    * ``tangent_concat``: the views side by side. With vectors shorter than 3.1 / sqrt(c) this is
      plain concatenation, since each map undoes the other.

    Source: Phukan et al., "HYFuse", Interspeech 2025 (exponential map, Möbius addition); the rest
    are controls.

    Args:
        kind: What is done on the ball.
        n_views: Number of views.
        dim: Size D of a view.
        curvature: Curvature parameter c; the sectional curvature is -c. Near 0, ``mobius`` is the
            sum of the vectors.
        learn_curvature: Train c, kept above 0 by a softplus.
        learn_scales: Train a factor for each view, from 1 on, by which a view can be muted.

    Raises:
        UserError: The curvature is not above 0.
    """

    def __init__(
        self,
        kind: BallKind,
        n_views: int,
        dim: int,
        curvature: float = 1.0,
        learn_curvature: bool = False,
        learn_scales: bool = False,
    ) -> None:
        super().__init__()
        if curvature <= 0:
            raise UserError(f"curvature: is {curvature}, but must be above 0; 1e-6 is almost flat")
        self.kind = kind
        self.out_dim = n_views * dim if kind == "tangent_concat" else dim
        self.curvature = curvature
        raw = torch.tensor(math.log(math.expm1(curvature))) if learn_curvature else None
        self.raw_curvature = None if raw is None else nn.Parameter(raw)
        self.scales = nn.Parameter(torch.ones(n_views)) if learn_scales else None

    @property
    def c(self) -> Curvature:
        """The curvature parameter in use."""
        if self.raw_curvature is None:
            return self.curvature
        return nn.functional.softplus(self.raw_curvature)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Fuse tangent vectors (B, D); without autocast, whose precision the ball's edge lacks."""
        with torch.autocast(views[0].device.type, enabled=False):
            c = self.c
            if self.scales is not None:
                views = [s * v for s, v in zip(self.scales, views, strict=True)]
            return self._fuse([exp0(v, c) for v in views], c)

    def _fuse(self, points: list[Tensor], c: Curvature) -> Tensor:
        """Fuse points of the ball; the result is in the tangent space."""
        match self.kind:
            case "tangent_concat":
                return torch.cat([log0(x, c) for x in points], dim=-1)
            case "midpoint":
                return log0(midpoint(torch.stack(points, dim=-2), c), c)
            case "symmetric":
                both = torch.stack([_add_up(points, c), _add_up(points[::-1], c)], dim=-2)
                return log0(midpoint(both, c), c)
            case "mobius":
                return log0(_add_up(points, c), c)


class Concat(nn.Module):
    """Views side by side.

    Args:
        n_views: Number of views.
        dim: Size D of a view.
    """

    def __init__(self, n_views: int, dim: int) -> None:
        super().__init__()
        self.out_dim = n_views * dim

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Concatenate (B, D) to (B, n_views * D)."""
        return torch.cat(list(views), dim=-1)


class Sum(nn.Module):
    """The Euclidean sum: what the Möbius sum becomes without curvature.

    Args:
        dim: Size D of a view.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_dim = dim

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Add (B, D)."""
        return torch.stack(list(views)).sum(0)


class Gated(nn.Module):
    """A mean whose weights, one per view and dimension, are learned from all views.

    Args:
        n_views: Number of views.
        dim: Size D of a view.
    """

    def __init__(self, n_views: int, dim: int) -> None:
        super().__init__()
        self.out_dim = dim
        self.gate = nn.Linear(n_views * dim, n_views * dim)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Weigh and add (B, D)."""
        stacked = torch.stack(list(views), dim=1)  # (B, N, D)
        weights = self.gate(stacked.flatten(1)).view_as(stacked).softmax(dim=1)
        return (weights * stacked).sum(1)


def make_fusion(
    kind: FusionKind,
    n_views: int,
    dim: int,
    curvature: float = 1.0,
    learn_curvature: bool = False,
    learn_scales: bool = False,
) -> BallFusion | Concat | Sum | Gated:
    """The fusion of a name; the last three arguments are those of :class:`BallFusion`.

    Raises:
        UserError: They are given to a fusion outside the ball, which would ignore them.
    """
    if kind in ("concat", "sum", "gated") and (learn_curvature or learn_scales):
        raise UserError(f"fusion {kind}: has no curvature or scales to learn; leave these off")
    match kind:
        case "concat":
            return Concat(n_views, dim)
        case "sum":
            return Sum(dim)
        case "gated":
            return Gated(n_views, dim)
        case _:
            return BallFusion(kind, n_views, dim, curvature, learn_curvature, learn_scales)


def _add_up(points: Sequence[Tensor], c: Curvature) -> Tensor:
    """Möbius sum of points (B, D), from the first to the last."""
    return reduce(lambda x, y: mobius_add(x, y, c), points)
