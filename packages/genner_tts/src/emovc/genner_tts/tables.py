"""A prior of integer tables: every machine computes the same probabilities from it."""

import math

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError

TOTAL = 2**20  # sum of a table's frequencies; float32 holds their ratios to it exactly


class TablePrior(nn.Module):
    """Frequencies of the codes at several levels of lambda, whatever was decoded before.

    It has the methods of :class:`~emovc.genner_tts.prior.CodePrior`. Before :meth:`fit` all codes
    are equally frequent.

    Args:
        n_groups: Groups G.
        n_stages: Stages S.
        n_codes: Codes of each codebook with the null code, K + 1.
        n_levels: Levels L, evenly spaced in log lambda.
        lam_range: Lambda of the first and of the last level.

    Raises:
        UserError: There is no level, or the range is none.
    """

    def __init__(
        self,
        n_groups: int,
        n_stages: int,
        n_codes: int,
        n_levels: int = 16,
        lam_range: tuple[float, float] = (1e-4, 0.3),
    ) -> None:
        super().__init__()
        if n_levels < 1 or not 0 < lam_range[0] < lam_range[1]:
            raise UserError(
                f"prior: n_levels {n_levels} must be 1 or more, and lam_range {lam_range} two"
                " rising numbers above 0"
            )
        self.lam_range = lam_range
        self.blocks = [slice(0, n_groups)]
        self.frequencies: Tensor
        uniform = _to_frequencies(torch.ones(n_levels, n_stages, n_groups, n_codes))
        self.register_buffer("frequencies", uniform)

    @property
    def levels(self) -> Tensor:
        """Lambda of each level, (L,)."""
        low, high = (math.log(lam) for lam in self.lam_range)
        steps = len(self.frequencies)
        return torch.linspace(low, high, steps, device=self.frequencies.device).exp()

    @torch.no_grad()
    def fit(self, level: int, indices: Tensor) -> None:
        """Take over the frequencies of codes (N, S, G) that were chosen at a level's lambda."""
        table = self.frequencies[level]
        size = table.shape[-1]
        offsets = torch.arange(table[..., 0].numel(), device=indices.device) * size
        rows = (indices.flatten(1) + offsets).flatten()
        table.copy_(_to_frequencies(torch.bincount(rows, minlength=table.numel()).view_as(table)))

    def tables(self, codes: Tensor) -> Tensor:
        """Nothing: codes add nothing to a state."""
        return codes.new_zeros(0)

    def start(self, lam: Tensor, memory: Tensor | None = None) -> Tensor:
        """Nearest level (N,) of weights of the rate (N,)."""
        low, high = (math.log(lam) for lam in self.lam_range)
        share = (lam.clamp(*self.lam_range).log() - low) / (high - low)
        return (share * (len(self.frequencies) - 1)).round().long()

    def bits(self, state: Tensor, stage: int, groups: slice) -> Tensor:
        """Cost (g, N, K + 1) in bit of the codes of g groups at levels (N,)."""
        return self._costs[:, stage, groups].transpose(0, 1)[:, state]

    def advance(
        self, state: Tensor, tables: Tensor, stage: int, groups: slice, indices: Tensor
    ) -> Tensor:
        """The same levels (N,)."""
        return state

    def code_bits(
        self, indices: Tensor, codes: Tensor, lam: Tensor, memory: Tensor | None = None
    ) -> Tensor:
        """Cost (N, S, G) in bit of codes (N, S, G)."""
        return self._costs[self.start(lam)].gather(3, indices[..., None])[..., 0]

    def remember(self, frames: Tensor) -> Tensor | None:
        """Nothing of the frames before."""
        return None

    def remember_one(self, frame: Tensor, hidden: Tensor | None) -> Tensor | None:
        """Nothing of the frames before."""
        return None

    @property
    def _costs(self) -> Tensor:
        """Cost -log2 p of every code, (L, S, G, K + 1)."""
        return -(self.frequencies.float() / TOTAL).log2()


def _to_frequencies(counts: Tensor) -> Tensor:
    """Frequencies (..., K + 1) of counts: 1 or more, and TOTAL together."""
    size = counts.shape[-1]
    share = counts.double() / counts.sum(-1, keepdim=True).clamp(min=1)
    whole = 1 + (share * (TOTAL - size)).floor().long()
    most = whole.argmax(-1, keepdim=True)
    return whole.scatter_add(-1, most, TOTAL - whole.sum(-1, keepdim=True))
