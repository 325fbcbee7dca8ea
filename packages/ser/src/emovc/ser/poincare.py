"""The Poincaré ball: vectors of a tangent space as points of hyperbolic space, and back.

The ball of curvature -c holds the points x with c |x|^2 < 1. Every function computes in float32 at
least, keeps its results a margin inside the ball, and has finite values and gradients at zero.
Nothing here is a matrix product, so autocast (and TF32) leave the precision alone.

Sources: Ganea, Becigneul and Hofmann, "Hyperbolic neural networks", NeurIPS 2018 (maps, sum,
distance); Ungar, "A gyrovector space approach to hyperbolic geometry", 2009 (gyromidpoint).
"""

import torch
from torch import Tensor

Curvature = float | Tensor


def margin(dtype: torch.dtype) -> float:
    """How far below 1 the scaled norm of a point stays: 0.004, in float64 0.00001.

    In float32 anything below 6e-8 is no margin: 1 - 1e-8 is 1, whose artanh is infinite.
    """
    return 1e-5 if dtype == torch.float64 else 4e-3


def clip_norm(vector: Tensor, largest: float) -> Tensor:
    """Shorten vectors (..., D) that are longer than ``largest``.

    Source: Guo, Wang, Chen and Yu, "Clipped hyperbolic classifiers are super-hyperbolic
    classifiers", CVPR 2022: without it points reach the edge, where gradients vanish.
    """
    vector = _precise(vector)
    return vector * (largest / _norm(_dot(vector, vector))).clamp(max=1)


def project(x: Tensor, c: Curvature) -> Tensor:
    """Move points (..., D) that are too near the edge of the ball, or outside, to its margin."""
    x = _precise(x)
    norm = _norm(c * _dot(x, x))
    return x * ((1 - margin(x.dtype)) / norm).clamp(max=1)


def exp0(v: Tensor, c: Curvature) -> Tensor:
    """Point (..., D) that a tangent vector at the origin leads to: tanh(s) v / s, s = sqrt(c) |v|.

    Args:
        v: Tangent vectors, (..., D).
        c: Curvature parameter, above 0.
    """
    v = _precise(v)
    norm = _norm(c * _dot(v, v))
    return v * (norm.tanh().clamp(max=1 - margin(v.dtype)) / norm)


def log0(x: Tensor, c: Curvature) -> Tensor:
    """Tangent vector (..., D) that leads to a point: artanh(s) x / s, s = sqrt(c) |x|.

    The inverse of :func:`exp0` up to sqrt(c) |v| = 3.1 (in float64 6.1), where the margin is.
    """
    x = _precise(x)
    norm = _norm(c * _dot(x, x))
    return x * (norm.clamp(max=1 - margin(x.dtype)).atanh() / norm)


def mobius_add(x: Tensor, y: Tensor, c: Curvature) -> Tensor:
    """Möbius sum x (+) y of points (..., D), the ball's addition; it doesn't commute.

    [(1 + 2c<x,y> + c|y|^2) x + (1 - c|x|^2) y] / (1 + 2c<x,y> + c^2 |x|^2 |y|^2).
    """
    x, y = _precise(x), _precise(y)
    xx, xy, yy = c * _dot(x, x), c * _dot(x, y), c * _dot(y, y)
    common = 1 + 2 * xy
    below = torch.addcmul(common, xx, yy)
    # c |x (+) y|^2 is c |x + y|^2 / below; so the projection needs no pass over the result.
    norm = _norm((xx + yy + 2 * xy) / below)
    share = ((1 - margin(x.dtype)) / norm).clamp(max=1) / below
    return torch.addcmul(share * (common + yy) * x, share * (1 - xx), y)


def distance(x: Tensor, y: Tensor, c: Curvature) -> Tensor:
    """Length (...) of the geodesic between points (..., D): 2 artanh(sqrt(c) |-x (+) y|) / sqrt(c).

    As asinh of |x - y| over the conformal factors it loses no digits near the edge.
    """
    x, y = _precise(x), _precise(y)
    between = x - y
    room = (1 - c * _dot(x, x)) * (1 - c * _dot(y, y))
    room = room.clamp(min=margin(x.dtype) ** 2)
    gap = _norm(c * _dot(between, between) / room)
    return 2 * gap.asinh().squeeze(-1) / c**0.5


def midpoint(points: Tensor, c: Curvature, weights: Tensor | None = None) -> Tensor:
    """Weighted gyromidpoint (..., D) of points (..., N, D); the Einstein midpoint, in this ball.

    Args:
        points: Points, (..., N, D).
        c: Curvature parameter.
        weights: Weights above 0, (..., N); by default all the same.
    """
    points = _precise(points)
    factor = 2 / (1 - c * _dot(points, points)).clamp(min=torch.finfo(points.dtype).eps)
    share = torch.ones_like(factor) if weights is None else weights[..., None].to(points.dtype)
    mean = (share * factor * points).sum(-2) / (share * (factor - 1)).sum(-2)
    # Half of it, in the sense of the ball: tanh(artanh(s) / 2) = s / (1 + sqrt(1 - s^2)).
    rest = (1 - c * _dot(mean, mean)).clamp(min=torch.finfo(points.dtype).eps).sqrt()
    return project(mean / (1 + rest), c)


def _precise(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x if x.dtype == torch.float64 else x.float()


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Scalar products, (..., 1)."""
    return (x * y).sum(-1, keepdim=True)


def _norm(squared: Tensor) -> Tensor:
    """Root of a squared norm, with a gradient at zero."""
    return squared.clamp(min=torch.finfo(squared.dtype).tiny).sqrt()
