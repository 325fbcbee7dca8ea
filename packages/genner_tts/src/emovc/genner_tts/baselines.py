"""Other ways to fewer bits or less similarity, for comparison with one common lambda.

At the least mean distortion for a mean rate all items have the same slope, that is one lambda
(Shoham and Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE TASSP 1988).
What is here gives every item the same rate or the same similarity instead.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.genner_tts.codebooks import GroupedResidualCodebooks
from emovc.genner_tts.quantizer import EmotionQuantizer, Quantized

BISECTIONS = 14


class Bisected(NamedTuple):
    """Embeddings that were quantised to a target.

    Attributes:
        made: What the quantiser made at the last lambda.
        lam: That lambda, (B,).
    """

    made: Quantized
    lam: Tensor


class Allocated(NamedTuple):
    """Embeddings on which a budget of bits was spent.

    Attributes:
        indices: Code numbers, 0 where none was spent, (N, S, G).
        bits: Rate in bit, (N,).
        distortion: Squared error as of :class:`~emovc.genner_tts.quantizer.Quantized`, (N,).
    """

    indices: Tensor
    bits: Tensor
    distortion: Tensor


def bisect_bits(
    quantizer: EmotionQuantizer, e: Tensor, bits: float, steps: int = BISECTIONS
) -> Bisected:
    """For each embedding the least lambda at which it costs no more than so many bits.

    Args:
        quantizer: The quantiser.
        e: Embeddings, (N, D).
        bits: Most bits of each; one that the largest lambda doesn't bring so low keeps that.
        steps: Bisections of log lambda.
    """

    def strong_enough(made: Quantized) -> Tensor:
        return made.bits <= bits

    low, high = _bisect(quantizer, e, strong_enough, steps)
    free = quantizer(e, 0.0)
    lam = torch.where(strong_enough(free), torch.zeros_like(high), high)
    return Bisected(quantizer(e, lam), lam)


def bisect_similarity(
    quantizer: EmotionQuantizer, e: Tensor, similarity: float, steps: int = BISECTIONS
) -> Bisected:
    """For each embedding the largest lambda at which it keeps a cosine similarity to itself.

    Args:
        quantizer: The quantiser.
        e: Embeddings, (N, D).
        similarity: Least cosine; one that falls below it even at lambda 0 keeps 0.
        steps: Bisections of log lambda.
    """

    def too_strong(made: Quantized) -> Tensor:
        return F.cosine_similarity(made.quantized, e) < similarity

    low, high = _bisect(quantizer, e, too_strong, steps)
    least, most = (torch.full_like(low, lam) for lam in quantizer.lam_range)
    lam = torch.where(too_strong(quantizer(e, least)), torch.zeros_like(low), low)
    lam = torch.where(too_strong(quantizer(e, most)), lam, most)
    return Bisected(quantizer(e, lam), lam)


def _bisect(
    quantizer: EmotionQuantizer, e: Tensor, strong_enough: Callable[[Quantized], Tensor], steps: int
) -> tuple[Tensor, Tensor]:
    """Lambdas (N,) between which each item becomes strong enough, both of the whole range."""
    low, high = (torch.full((len(e),), math.log(lam)) for lam in quantizer.lam_range)
    low, high = low.to(e.device), high.to(e.device)
    for _ in range(steps):
        middle = (low + high) / 2
        strong = strong_enough(quantizer(e, middle.exp()))
        low, high = torch.where(strong, low, middle), torch.where(strong, middle, high)
    return low.exp().clamp(*quantizer.lam_range), high.exp().clamp(*quantizer.lam_range)


@torch.no_grad()
def allocate_greedily(codebooks: GroupedResidualCodebooks, x: Tensor, budget: float) -> Allocated:
    """Spend a budget of bits without an entropy model, code by code where most is gained.

    Codes are the nearest ones, null codes left out, and each costs log2 K. What group has how many
    of the n codes costs log2 C(n + G - 1, G - 1) more; n follows from the budget.

    Args:
        codebooks: The codes.
        x: Vectors of the quantiser's space, (N, D).
        budget: Most bits of each vector.
    """
    n_stages, n_groups, size = codebooks.counts.shape
    each = math.log2(size - 1)
    costs = [n * each + math.log2(math.comb(n + n_groups - 1, n_groups - 1))
             for n in range(n_stages * n_groups + 1)]  # fmt: skip
    n_spent = max((n for n, cost in enumerate(costs) if cost <= budget), default=0)
    indices, errors = _nearest_without_null(codebooks, x)
    gains = F.pad(errors[:-1] - errors[1:], (0, 0, 0, 0, 0, 1), value=-torch.inf)  # (S + 1, G, N)
    depth = torch.zeros(n_groups, len(x), dtype=torch.long, device=x.device)
    for _ in range(n_spent):
        best = gains.gather(0, depth[None])[0].argmax(0)  # (N,)
        depth.scatter_add_(0, best[None], torch.ones_like(best[None]))
    stages = torch.arange(n_stages, device=x.device)[:, None, None]
    kept = torch.where(stages < depth, indices, 0)  # (S, G, N)
    distortion = errors.gather(0, depth[None])[0].sum(0)
    return Allocated(kept.permute(2, 0, 1), x.new_full((len(x),), costs[n_spent]), distortion)


def _nearest_without_null(codebooks: GroupedResidualCodebooks, x: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest codes (S, G, N) that aren't null, and the error after 0 to S stages (S + 1, G, N)."""
    rest = codebooks.split(x)
    indices, errors = [], [rest.square().sum(-1)]
    for stage in range(codebooks.n_stages):
        indices.append(codebooks.distances(rest, stage)[..., 1:].argmin(-1) + 1)
        rest = rest - codebooks.look_up(stage, indices[-1])
        errors.append(rest.square().sum(-1))
    return torch.stack(indices), torch.stack(errors)


def reduce_isotropically(
    e: Tensor, similarity: float, generator: torch.Generator | None = None
) -> Tensor:
    """Turn embeddings (N, D) to a cosine similarity, in directions drawn uniformly."""
    return turn(e, torch.randn(e.shape, generator=generator).to(e), similarity)


def reduce_along_data(
    e: Tensor, similarity: float, train: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Turn embeddings to a cosine similarity, in directions that the data vary in.

    Args:
        e: Embeddings, (N, D).
        similarity: Cosine between an embedding and what becomes of it.
        train: Training embeddings (M, D), from whose covariance the directions are drawn.
        generator: Of the draw.
    """
    # A random mixture of centred vectors has their covariance, without a D x D matrix.
    mixture = torch.randn(len(e), len(train), generator=generator).to(e)
    return turn(e, mixture @ (train - train.mean(0)), similarity)


def reduce_from_centroid(e: Tensor, similarity: float, centroids: Tensor) -> Tensor:
    """Turn embeddings (N, D) to a cosine similarity, away from their own centroids (N, D)."""
    return turn(e, e - centroids, similarity)


def turn(e: Tensor, direction: Tensor, similarity: float) -> Tensor:
    """Move embeddings orthogonally to themselves until their cosine similarity is as given.

    Args:
        e: Embeddings, (N, D).
        direction: Where to, (N, D); only what is orthogonal to the embedding counts.
        similarity: Cosine between an embedding and what becomes of it, in (0, 1].

    Raises:
        UserError: The similarity is out of its range.
    """
    if not 0 < similarity <= 1:
        raise UserError(f"similarity {similarity}: must be above 0 and at most 1")
    length = e.norm(dim=1, keepdim=True)
    unit = e / length
    across = F.normalize(direction - (direction * unit).sum(1, keepdim=True) * unit, dim=1)
    return e + math.tan(math.acos(similarity)) * length * across
