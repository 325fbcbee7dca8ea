"""Grouped residual codebooks: a vector is cut into groups, and each group is rounded in stages.

Sources: Yang et al., "HiFi-Codec: group-residual vector quantization for high fidelity audio
codec", 2023 (groups of residual codebooks); van den Oord, Vinyals and Kavukcuoglu, "Neural discrete
representation learning", NeurIPS 2017, appendix A (moving averages); Feng et al., "NVTC: nonlinear
vector transform coding", CVPR 2023 (which averages to take once codes are chosen by rate as well).
"""

import torch
from torch import Tensor, nn

from emovc.common.devices import from_first_device, sum_over_devices
from emovc.common.errors import UserError

LLOYD_STEPS = 10  # of the k-means
LEAST_COUNT = 1e-6  # below it a mean is not worth computing


class GroupedResidualCodebooks(nn.Module):
    """Codes of S stages and G groups that follow the means of what is rounded to them.

    Code 0 of every codebook is the null code: zero, whatever is learned. On several devices the
    inputs of all of them count, and every device has the same codes.

    Args:
        dim: Size D of the vectors, a multiple of ``n_groups``.
        n_groups: Groups G, of d = D / G dimensions each.
        n_stages: Stages S.
        size: Codes K of each codebook, beside the null code.
        decay: Share of the old averages that a training step keeps.
        dead_below: A code is replaced by an input once the moving average of the inputs per step
            that chose it falls below this.

    Raises:
        UserError: A number is out of its range.
    """

    def __init__(
        self,
        dim: int,
        n_groups: int,
        n_stages: int,
        size: int,
        decay: float = 0.99,
        dead_below: float = 0.01,
    ) -> None:
        super().__init__()
        if min(dim, n_groups, n_stages, size) < 1 or dim % n_groups:
            raise UserError(
                f"codebooks: dim {dim}, n_groups {n_groups}, n_stages {n_stages} and codebook_size"
                f" {size} must be 1 or more, and dim a multiple of n_groups"
            )
        if not (0 <= decay < 1 and 0 <= dead_below < 1):
            raise UserError("codebooks: decay and dead_below must be in [0, 1)")
        self.decay = decay
        self.dead_below = dead_below
        self.codes: Tensor
        self.counts: Tensor
        self.sums: Tensor
        self.filled: Tensor
        shape = (n_stages, n_groups, size + 1)
        self.register_buffer("codes", torch.zeros(*shape, dim // n_groups))
        self.register_buffer("counts", torch.zeros(shape))
        self.register_buffer("sums", torch.zeros(*shape, dim // n_groups))
        self.register_buffer("filled", torch.tensor(False))

    @property
    def n_stages(self) -> int:
        """Stages S."""
        return self.codes.shape[0]

    @property
    def n_groups(self) -> int:
        """Groups G."""
        return self.codes.shape[1]

    @property
    def n_codes(self) -> int:
        """Codes of each codebook, K + 1 with the null code."""
        return self.codes.shape[2]

    def split(self, x: Tensor) -> Tensor:
        """Groups (G, N, d) of vectors (N, D)."""
        grouped = x.unflatten(1, (self.n_groups, -1)).transpose(0, 1)
        return grouped.clone(memory_format=torch.contiguous_format)  # never a view of x

    def distances(self, rest: Tensor, stage: int) -> Tensor:
        """Squared distances (G, N, K + 1) from residuals (G, N, d) to a stage's codes, less |r|^2.

        What is left out is the same for all codes; the null code's distance is exactly 0.
        """
        codes = self.codes[stage]
        norms = codes.square().sum(-1)[:, None]  # (G, 1, K + 1)
        return torch.baddbmm(norms, rest, codes.transpose(1, 2), alpha=-2)

    def look_up(self, stage: int, indices: Tensor) -> Tensor:
        """Codes (G, N, d) of one stage, by their numbers (G, N)."""
        offsets = torch.arange(self.n_groups, device=indices.device)[:, None] * self.n_codes
        chosen = self.codes[stage].flatten(0, 1).index_select(0, (indices + offsets).flatten())
        return chosen.view(*indices.shape, self.codes.shape[-1])

    def decode(self, indices: Tensor) -> Tensor:
        """Vectors (..., D) of code numbers (..., S, G)."""
        total = self._chosen(indices.reshape(-1, self.n_stages, self.n_groups)).sum(0)  # (G, N, d)
        return total.transpose(0, 1).reshape(*indices.shape[:-2], self.n_groups * total.shape[-1])

    def residuals(self, x: Tensor, indices: Tensor) -> Tensor:
        """What each stage was given to round, (S, G, N, d).

        Args:
            x: Vectors, (N, D).
            indices: Their code numbers, (N, S, G).
        """
        first = self.split(x)
        rests = first.new_empty(self.n_stages, *first.shape)
        rests[0] = first
        for stage in range(self.n_stages - 1):
            chosen = self.look_up(stage, indices[:, stage].T)
            torch.sub(rests[stage], chosen, out=rests[stage + 1])
        return rests

    @torch.no_grad()
    def fill(self, x: Tensor, seed: int = 0) -> None:
        """Take over the means that k-means finds in what each stage is left with.

        Every device must be given the same vectors.

        Args:
            x: Vectors, (N, D).
            seed: Of the vectors that k-means starts from.

        Raises:
            UserError: There are fewer vectors than codes.
        """
        if len(x) < self.n_codes - 1:
            raise UserError(
                f"codebooks: {len(x)} embeddings can't fill {self.n_codes - 1} codes; give more, or"
                " lower codebook_size"
            )
        generator = torch.Generator().manual_seed(seed)
        rest = self.split(x)
        for stage in range(self.n_stages):
            self._fill_stage(stage, rest, generator)
            rest = rest - self.look_up(stage, self.distances(rest, stage).argmin(-1))
        for buffer in (self.codes, self.counts, self.sums):
            from_first_device(buffer)
        self.filled.fill_(True)

    @torch.no_grad()
    def update(self, x: Tensor, indices: Tensor, fresh: Tensor | None = None) -> None:
        """Move codes towards the means of the inputs that chose them: a step of Lloyd's algorithm.

        Args:
            x: Vectors, (N, D).
            indices: Code numbers that were chosen for them, (N, S, G).
            fresh: Which vectors may replace dead codes, (N,): where the rate weighed much, what is
                left over would be taken for something to code. By default all.
        """
        rests = self.residuals(x, indices).flatten(0, 1)  # (S * G, N, d)
        counts, sums = _totals(rests, indices.flatten(1).T, self.n_codes)
        sum_over_devices(counts, sums)
        self.counts.lerp_(counts.view_as(self.counts), 1 - self.decay)
        self.sums.lerp_(sums.view_as(self.sums), 1 - self.decay)
        means = self.sums / self.counts.clamp(min=LEAST_COUNT)[..., None]
        counted = (self.counts > LEAST_COUNT)[..., None]
        self.codes.copy_(torch.where(counted, means, self.codes))
        self.codes[:, :, 0] = 0
        dead = self.counts < self.dead_below
        dead[:, :, 0] = False
        if dead.any():
            allowed = torch.ones_like(x[:, 0], dtype=torch.bool) if fresh is None else fresh
            self._replace(dead, rests[:, allowed])

    def _replace(self, dead: Tensor, rests: Tensor) -> None:
        """Put residuals (S * G, N, d) drawn at random in the place of dead codes (S, G, K + 1)."""
        if rests.shape[1]:
            book = dead.flatten(0, 1).nonzero()[:, 0]
            row = torch.randint(rests.shape[1], book.shape, device=book.device)
            self.codes[dead] = rests[book, row]
            self.counts[dead] = 1.0  # time to prove itself
            self.sums[dead] = self.codes[dead]
        for buffer in (self.codes, self.counts, self.sums):
            from_first_device(buffer)

    def _chosen(self, indices: Tensor) -> Tensor:
        """Codes (S, G, N, d) by their numbers (N, S, G)."""
        return torch.stack([self.look_up(s, indices[:, s].T) for s in range(self.n_stages)])

    def _fill_stage(self, stage: int, rest: Tensor, generator: torch.Generator) -> None:
        """K-means among residuals (G, N, d); a code that nobody chose begins anew elsewhere."""
        codes, counts = self.codes[stage], self.counts[stage]
        codes.zero_()
        codes[:, 1:] = _draw(rest, self.n_codes - 1, generator)
        for _ in range(LLOYD_STEPS):
            found, sums = _totals(rest, self.distances(rest, stage).argmin(-1), self.n_codes)
            means = sums / found.clamp(min=1)[..., None]
            other = _draw(rest, self.n_codes, generator)
            codes.copy_(torch.where((found > 0)[..., None], means, other))
            codes[:, 0] = 0
            counts.copy_(found * self.n_codes / rest.shape[1])  # 1 on average
        self.sums[stage] = counts[..., None] * codes


def usage_perplexity(indices: Tensor, n_codes: int) -> Tensor:
    """How many equally frequent codes would have the entropy of codes (N, S, G), (S, G)."""
    books = indices.flatten(1).T  # (S * G, N)
    counts = torch.zeros(len(books), n_codes, device=indices.device)
    counts.scatter_add_(1, books, torch.ones_like(books, dtype=counts.dtype))
    shares = counts / indices.shape[0]
    return torch.special.entr(shares).sum(1).exp().view(indices.shape[1:])


def _totals(x: Tensor, indices: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many vectors (P, N, d) chose each of ``size`` codes (P, size), and their sums.

    Args:
        x: Vectors of P codebooks.
        indices: Codes chosen, (P, N).
        size: Codes of each codebook.
    """
    books, _, dim = x.shape
    rows = (indices + torch.arange(books, device=x.device)[:, None] * size).flatten()
    counts = torch.bincount(rows, minlength=books * size).to(x.dtype)
    # With an expanded index scatter_add works row by row, faster than index_add.
    sums = x.new_zeros(books * size, dim)
    sums.scatter_add_(0, rows[:, None].expand(-1, dim), x.reshape(-1, dim))
    return counts.view(books, size), sums.view(books, size, dim)


def _draw(rest: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """For each group ``count`` of its residuals (G, N, d), different ones if there are enough."""
    groups, n = rest.shape[:2]
    order = torch.rand(groups, max(n, count), generator=generator).argsort(1)[:, :count] % n
    return torch.stack([part[rows] for part, rows in zip(rest, order.to(rest.device), strict=True)])
