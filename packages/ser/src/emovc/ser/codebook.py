"""A table of vectors that learns by moving averages.

Source: van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS
2017, appendix A; k-means and the replacement of dead vectors are SoundStream's (Zeghidour et al.,
IEEE/ACM TASLP 2021, section III-C).
"""

import torch
from torch import Tensor, nn

from emovc.common.devices import from_first_device, sum_over_devices

LLOYD_STEPS = 10  # of the k-means


class Codebook(nn.Module):
    """The vectors of one stage, moved towards the means of what is rounded to them.

    On several devices the inputs of all of them count, and every device has the same vectors.

    Args:
        size: Number of vectors K.
        dim: Their size D.
        decay: Share of the old averages that a training step keeps.
        dead_below: A vector is replaced by an input drawn at random once the average share of
            inputs that chose it falls below this, as a multiple of the mean share 1 / K.
    """

    def __init__(self, size: int, dim: int, decay: float, dead_below: float) -> None:
        super().__init__()
        self.decay = decay
        self.dead_below = dead_below
        self.vectors: Tensor
        self.share: Tensor
        self.filled: Tensor
        self.register_buffer("vectors", torch.randn(size, dim))
        self.register_buffer("share", torch.full((size,), 1.0 / size))
        self.register_buffer("filled", torch.tensor(False))

    def nearest(self, x: Tensor) -> Tensor:
        """Numbers (N,) of the vectors nearest to inputs (N, D)."""
        # |x|^2 is the same for all vectors.
        return (self.vectors.square().sum(1) - 2 * x @ self.vectors.T).argmin(1)

    @torch.no_grad()
    def fill(self, x: Tensor) -> None:
        """Take over the means that k-means finds among inputs (N, D)."""
        self.vectors.copy_(from_first_device(_draw(x, len(self.vectors))))
        for _ in range(LLOYD_STEPS):
            share, mean = self._averages(x, self.nearest(x))
            self.vectors.copy_(torch.where(share[:, None] > 0, mean, self.vectors))
        self.filled.fill_(True)

    @torch.no_grad()
    def learn(self, x: Tensor, codes: Tensor) -> None:
        """Move vectors towards the means of the inputs (N, D) that chose them, ``codes`` (N,)."""
        share, mean = self._averages(x, codes)
        total = self.decay * self.share + (1 - self.decay) * share
        # The sum of a moving average is its mean times its share, so no third buffer is needed.
        pull = ((1 - self.decay) * share / total.clamp(min=1e-12))[:, None]
        self.vectors.lerp_(mean, pull)
        self.share.copy_(total)
        dead = total < self.dead_below / len(total)
        fresh = from_first_device(_draw(x, len(total)))
        self.vectors.copy_(torch.where(dead[:, None], fresh, self.vectors))
        self.share.masked_fill_(dead, 1.0 / len(total))  # time to prove itself

    def _averages(self, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Share (K,) of the inputs that chose each vector, and their mean (K, D), 0 for none."""
        size = len(self.vectors)
        table = x.new_zeros(size, x.shape[1] + 1)  # sums, and counts in the last column
        table.index_add_(0, codes, torch.cat([x, x.new_ones(len(x), 1)], dim=1))
        sum_over_devices(table)
        counts = table[:, -1]
        return counts / counts.sum(), table[:, :-1] / counts.clamp(min=1)[:, None]


def _draw(x: Tensor, count: int) -> Tensor:
    """``count`` of the inputs (N, D), different ones where there are enough."""
    if len(x) >= count:
        return x[torch.randperm(len(x), device=x.device)[:count]]
    return x[torch.randint(len(x), (count,), device=x.device)]
