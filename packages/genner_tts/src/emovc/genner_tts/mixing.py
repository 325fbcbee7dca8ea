"""Mixtures of several references: of their embeddings, or of their codes.

Weights are 0 or more and sum to 1. Sources: Buss and Fillmore, "Spherical averages and applications
to spherical splines and interpolation", ACM TOG 2001 (means on the sphere); Ganea, Becigneul and
Hofmann, "Hyperbolic neural networks", NeurIPS 2018 (maps of the Poincaré ball).
"""

import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.quantizer import EmotionQuantizer

ITERATIONS = 100  # most steps to a mean on a curved surface
CLOSE = 1e-12  # a step of this length ends them
ANTIPODAL = 1e-6  # how near to pi an angle has no shortest way
LARGEST = 1.0  # norm in the ball's tangent space, beyond which float32 saturates
MEDIAN = 0.5  # norm there of the median reference


def mix_convex(vectors: Tensor, weights: Tensor, renorm: bool = False) -> Tensor:
    """Weighted mean (..., D) of embeddings (R, ..., D).

    Args:
        vectors: Embeddings of R references.
        weights: Their weights, (R,).
        renorm: Give the mean the weighted mean of the lengths; alone it is shorter.

    Raises:
        UserError: The weights are none.
    """
    weights = _checked(vectors, weights)
    mean = torch.tensordot(weights, vectors, 1)
    return _lengthen(mean, vectors, weights) if renorm else mean


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Point (..., D) on the great circle from unit vectors ``first`` to ``second``, at a share.

    Raises:
        UserError: Two vectors are antipodes.
    """
    angle = _angle(first, second)
    _require_no_antipodes(angle)
    near = angle < 1e-6  # sin(angle) is 0: the straight line is the arc
    safe = torch.where(near, torch.ones_like(angle), angle)
    a = torch.where(near, 1 - share + 0 * angle, ((1 - share) * safe).sin() / safe.sin())
    b = torch.where(near, share + 0 * angle, (share * safe).sin() / safe.sin())
    return a * first + b * second


def mix_spherical(vectors: Tensor, weights: Tensor) -> Tensor:
    """Karcher mean (..., D) of the directions of embeddings (R, ..., D), at their mean length.

    The direction minimises the weighted sum of squared angles; of two references it is a point of
    the arc between them.

    Raises:
        UserError: The weights are none, or two references are antipodes.
    """
    weights = _checked(vectors, weights)
    unit = torch.nn.functional.normalize(vectors.double(), dim=-1)
    share = weights.double()
    for k in range(len(unit)):
        _require_no_antipodes(_angle(unit[k : k + 1], unit))
    mean = torch.nn.functional.normalize(torch.tensordot(share, unit, 1), dim=-1)
    for _ in range(ITERATIONS):
        step = torch.tensordot(share, _sphere_log(mean, unit), 1)
        length = step.norm(dim=-1, keepdim=True)
        mean = length.cos() * mean + torch.sinc(length / torch.pi) * step
        if float(length.max()) < CLOSE:
            break
    return _lengthen(mean, vectors, weights).to(vectors.dtype)


def mix_hyperbolic(vectors: Tensor, weights: Tensor, tau: float | None = None) -> Tensor:
    """Fréchet mean (..., D) in the Poincaré ball of embeddings (R, ..., D) seen as tangents at 0.

    Args:
        vectors: Embeddings of R references.
        weights: Their weights, (R,).
        tau: Length that is 1 in the tangent space; by default the median length is 0.5 there.
            Vectors longer than ``tau`` are shortened to it.

    Raises:
        UserError: The weights are none, or ``tau`` isn't above 0.
    """
    weights = _checked(vectors, weights)
    unit = tau if tau is not None else float(vectors.norm(dim=-1).median()) / MEDIAN
    if unit <= 0:
        raise UserError(f"tau {unit:g}: must be above 0")
    tangents = vectors.double() / unit
    length = tangents.norm(dim=-1, keepdim=True)
    points = ball_exp0(tangents * (LARGEST / length.clamp(min=LARGEST)))
    share = weights.double()
    mean = ball_exp0(torch.tensordot(share, ball_log0(points), 1))
    for _ in range(ITERATIONS):
        step = torch.tensordot(share, _ball_log(mean, points), 1)
        mean = _ball_exp(mean, step)
        if float(step.norm(dim=-1).max()) < CLOSE:
            break
    return (unit * ball_log0(mean)).to(vectors.dtype)


def split_stages(coarse: Tensor, fine: Tensor, n_coarse: int) -> Tensor:
    """Codes (..., S, G) whose first stages are of one reference and the others of another.

    Args:
        coarse: Code numbers of the reference that gives the category, (..., S, G).
        fine: Code numbers of the reference that gives the detail.
        n_coarse: Stages of the former.

    Raises:
        UserError: There are not so many stages.
    """
    n_stages = coarse.shape[-2]
    if not 0 <= n_coarse <= n_stages:
        raise UserError(f"n_coarse {n_coarse}: must be 0 to {n_stages}")
    return torch.cat([coarse[..., :n_coarse, :], fine[..., n_coarse:, :]], dim=-2)


def split_groups(indices: Tensor, weights: Tensor) -> Tensor:
    """Codes (..., S, G) of which each reference gives groups in proportion to its weight.

    Args:
        indices: Code numbers of R references, (R, ..., S, G).
        weights: Their weights, (R,).

    Raises:
        UserError: The weights are none.
    """
    n_groups = indices.shape[-1]
    exact = _checked(indices, weights).double() * n_groups
    counts = (exact + 1e-9).floor().long()  # largest remainders get what is left
    order = (exact - counts).argsort(descending=True, stable=True)
    counts[order[: n_groups - int(counts.sum())]] += 1
    owners = torch.arange(len(indices), device=indices.device).repeat_interleave(counts)
    return torch.stack([indices[owner, ..., g] for g, owner in enumerate(owners.tolist())], -1)


def average_codewords(quantizer: EmotionQuantizer, indices: Tensor, weights: Tensor) -> Tensor:
    """Embeddings (..., D) whose codes are the weighted means of those of references.

    Decoding is linear, so this is the weighted mean of the quantised embeddings.

    Args:
        quantizer: The quantiser.
        indices: Code numbers of R references, (R, ..., S, G).
        weights: Their weights, (R,).

    Raises:
        UserError: The weights are none.
    """
    weights = _checked(indices, weights)
    vectors = quantizer.codebooks.decode(indices)
    return quantizer.space.inverse(torch.tensordot(weights.to(vectors), vectors, 1))


def ball_exp0(v: Tensor) -> Tensor:
    """Point of the Poincaré ball of curvature -1 that a tangent (..., D) at 0 leads to."""
    norm = v.norm(dim=-1, keepdim=True).clamp(min=1e-15)
    return norm.tanh() * v / norm


def ball_log0(x: Tensor) -> Tensor:
    """Tangent (..., D) at 0 that leads to a point of the ball."""
    norm = x.norm(dim=-1, keepdim=True).clamp(min=1e-15)
    return norm.clamp(max=1 - 1e-15).atanh() * x / norm


def ball_distance(x: Tensor, y: Tensor) -> Tensor:
    """Length (...) of the geodesic between points (..., D) of the ball."""
    return 2 * _mobius_add(-x, y).norm(dim=-1).clamp(max=1 - 1e-15).atanh()


def _mobius_add(x: Tensor, y: Tensor) -> Tensor:
    """Möbius sum (..., D) of points of the ball."""
    xy, xx, yy = ((a * b).sum(-1, keepdim=True) for a, b in ((x, y), (x, x), (y, y)))
    return ((1 + 2 * xy + yy) * x + (1 - xx) * y) / (1 + 2 * xy + xx * yy)


def _ball_log(base: Tensor, points: Tensor) -> Tensor:
    """Tangents (R, ..., D) at 0, as long as the geodesics from a base (..., D) to points."""
    return ball_log0(_mobius_add(-base, points))


def _ball_exp(base: Tensor, tangent: Tensor) -> Tensor:
    """Point (..., D) that a tangent of :func:`_ball_log` leads to from a base."""
    return _mobius_add(base, ball_exp0(tangent))


def _sphere_log(base: Tensor, points: Tensor) -> Tensor:
    """Tangents (R, ..., D) at a point (..., D) of the sphere that lead to points (R, ..., D)."""
    across = points - (base * points).sum(-1, keepdim=True) * base
    norm = across.norm(dim=-1, keepdim=True)
    return _angle(base, points) * across / norm.clamp(min=1e-15)


def _angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle (..., 1) between unit vectors, exact also where it is small or near pi."""
    apart = (first - second).norm(dim=-1, keepdim=True)
    return 2 * torch.atan2(apart, (first + second).norm(dim=-1, keepdim=True))


def _require_no_antipodes(angle: Tensor) -> None:
    if bool((angle > torch.pi - ANTIPODAL).any()):
        raise UserError("two references point in opposite directions: no mean lies between them")


def _lengthen(mean: Tensor, vectors: Tensor, weights: Tensor) -> Tensor:
    """Give means (..., D) the weighted mean of the lengths of vectors (R, ..., D)."""
    length = torch.tensordot(weights, vectors.norm(dim=-1, keepdim=True), 1)
    return mean * length / mean.norm(dim=-1, keepdim=True)


def _checked(references: Tensor, weights: Tensor) -> Tensor:
    """Weights (R,) of as many references, 0 or more and 1 together."""
    fine = weights.shape == references.shape[:1] and bool((weights >= 0).all())
    if not fine or abs(float(weights.sum()) - 1) > 1e-5:
        raise UserError(
            f"weights {[round(w, 6) for w in weights.flatten().tolist()]}: must be one for each of"
            f" {len(references)} references, 0 or more, and sum to 1"
        )
    return weights.to(references.device)
