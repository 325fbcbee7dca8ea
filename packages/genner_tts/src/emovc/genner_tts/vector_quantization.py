"""Vector quantisation of local style with codes that follow the data.

Source: van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS
2017, appendix A.1 (moving averages), as in Huang et al., "GenerSpeech", NeurIPS 2022.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.devices import from_first_device, sum_over_devices

KMEANS_ROUNDS = 10


class Quantised(NamedTuple):
    """Vectors on codes.

    Attributes:
        vectors: The codes, with the gradient of the input, (B, N, C); zero at padding.
        codes: The codes without gradient, (B, N, C).
        indices: Which code, (B, N); -1 at padding.
        perplexity: Exponential of the entropy of the codes' use in this batch, scalar.
    """

    vectors: Tensor
    codes: Tensor
    indices: Tensor
    perplexity: Tensor


class VectorQuantizer(nn.Module):
    """Nearest of K codes, which are moving averages of the vectors they stand for.

    In training the first batch sets the codes by k-means; each later one moves them. Padding counts
    nowhere. Codes that a batch doesn't use stay where they are. All is float32 at least, also under
    autocast, and the same on all GPUs.

    Args:
        n_codes: Number of codes K.
        dim: Channels C.
        decay: Share of the old average in the new one.
        eps: Vectors added to each code's count, against division by zero.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    initialised: Tensor

    def __init__(
        self, n_codes: int = 128, dim: int = 256, decay: float = 0.999, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.decay = decay
        self.eps = eps
        self.register_buffer("codebook", torch.empty(n_codes, dim).uniform_(-1, 1) / n_codes)
        self.register_buffer("counts", torch.zeros(n_codes))
        self.register_buffer("sums", torch.zeros(n_codes, dim))
        self.register_buffer("initialised", torch.tensor(False))

    def forward(self, x: Tensor, mask: Tensor) -> Quantised:
        """Quantise (B, N, C); ``mask`` is (B, N)."""
        valid = mask > 0
        with torch.autocast(x.device.type, enabled=False), torch.no_grad():
            vectors = x.detach()[valid].to(self.codebook.dtype)  # (P, C)
            if self.training and not self.initialised:
                self._initialise(vectors)
            nearest = nearest_codes(vectors, self.codebook)
            codes = torch.zeros_like(x, dtype=self.codebook.dtype)
            codes[valid] = self.codebook[nearest]
            hits = F.one_hot(nearest, len(self.codebook)).to(self.codebook.dtype)  # (P, K)
            share = hits.mean(0)
            perplexity = torch.exp(-torch.xlogy(share, share).sum())
            if self.training:
                self._follow(vectors, hits)
        indices = torch.full(valid.shape, -1, device=x.device).masked_scatter(valid, nearest)
        passed = x + (codes.to(x.dtype) - x).detach()
        return Quantised(passed * valid[:, :, None], codes.to(x.dtype), indices, perplexity)

    def _follow(self, vectors: Tensor, hits: Tensor) -> None:
        """Move the codes towards the vectors (P, C) that hit them, (P, K)."""
        counts, sums = hits.sum(0), hits.T @ vectors
        sum_over_devices(counts, sums)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum()
        smooth = (self.counts + self.eps) / (total + len(self.counts) * self.eps) * total
        moved = self.sums / smooth[:, None]
        self.codebook.copy_(torch.where(counts[:, None] > 0, moved, self.codebook))

    def _initialise(self, vectors: Tensor) -> None:
        """Set codes and averages by k-means of vectors (P, C); the first GPU's serve all."""
        found = kmeans(vectors, len(self.codebook))
        codes, counts = (from_first_device(part) for part in found)
        self.codebook.copy_(codes)
        self.counts.copy_(counts)
        self.sums.copy_(codes * counts[:, None])
        self.initialised.fill_(True)


def nearest_codes(vectors: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code, (P,), of vectors (P, C) among codes (K, C)."""
    # The vectors' own squares are the same for every code.
    return (codes.square().sum(1) - 2 * vectors @ codes.T).argmin(1)


def kmeans(vectors: Tensor, n_codes: int) -> tuple[Tensor, Tensor]:
    """Codes (K, C) and how many vectors each stands for, (K,), by k-means from random vectors.

    Codes that lose all vectors stay where they are. With fewer vectors than codes some start at
    the same one.

    Args:
        vectors: Vectors, (P, C), at least one.
        n_codes: Number of codes K.
    """
    order = torch.randperm(len(vectors), device=vectors.device)
    codes = vectors[order.repeat(-(-n_codes // len(order)))[:n_codes]]
    counts = vectors.new_zeros(n_codes)
    for _ in range(KMEANS_ROUNDS):
        hits = F.one_hot(nearest_codes(vectors, codes), n_codes).to(vectors.dtype)
        counts = hits.sum(0)
        means = hits.T @ vectors / counts.clamp(min=1)[:, None]
        codes = torch.where(counts[:, None] > 0, means, codes)
    return codes, counts
