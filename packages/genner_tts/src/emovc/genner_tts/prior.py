"""How probable each code is, given what has been decoded so far and how much rate weighs.

Sources: Feng et al., "NVTC: nonlinear vector transform coding", CVPR 2023 (a prior conditioned on
the partial reconstruction); Défossez et al., "High fidelity neural audio compression", TMLR 2023 (a
prior over the frames before).
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError

Context = Literal["group", "stage", "none"]
MOST_BITS = 22.0  # of one code; the range coder's probabilities end at 2^-24


class CodePrior(nn.Module):
    """Distribution of code i(s,g), in the order of stages and within them of groups.

    The context is the sum of the codes decoded so far: those of earlier stages and of earlier
    groups of the same stage (``group``), of earlier stages only (``stage``), or nothing. All
    depends on lambda, since at high lambda the null code prevails. The heads begin at zero, so that
    an untrained prior is uniform.

    A pass over the codes is ``state = start(...)``, then for each block of groups of each stage
    ``bits`` and ``advance``; :meth:`code_bits` does all of it at once for codes that are known.

    Args:
        dim: Size D of the vectors.
        n_groups: Groups G.
        n_stages: Stages S.
        n_codes: Codes of each codebook with the null code, K + 1.
        hidden: Width H.
        context: What the prior sees.
        recurrent: Also see the frames before, through a GRU.
        lam_range: Least and largest lambda; what lies outside counts as the nearer of them.

    Raises:
        UserError: A number is out of its range.
    """

    def __init__(
        self,
        dim: int,
        n_groups: int,
        n_stages: int,
        n_codes: int,
        hidden: int = 256,
        context: Context = "group",
        recurrent: bool = False,
        lam_range: tuple[float, float] = (1e-4, 0.3),
    ) -> None:
        super().__init__()
        if hidden < 1 or not 0 < lam_range[0] < lam_range[1]:
            raise UserError(
                f"prior: hidden {hidden} must be 1 or more, and lam_range {lam_range} two rising"
                " numbers above 0"
            )
        self.context: Context = context
        self.lam_range = lam_range
        self.n_groups = n_groups
        self.seen = nn.Linear(dim, hidden, bias=False) if context != "none" else None
        self.memory = nn.GRU(dim, hidden, batch_first=True) if recurrent else None
        self.step = nn.Parameter(0.5 * torch.randn(n_stages * n_groups, hidden))
        self.rate = nn.Linear(2, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.head_weight = nn.Parameter(torch.zeros(n_stages * n_groups, n_codes, hidden))
        self.head_bias = nn.Parameter(torch.zeros(n_stages * n_groups, n_codes))

    @property
    def blocks(self) -> list[slice]:
        """Groups of a stage whose codes don't see each other."""
        if self.context == "group":
            return [slice(g, g + 1) for g in range(self.n_groups)]
        return [slice(0, self.n_groups)]

    def tables(self, codes: Tensor) -> Tensor:
        """What each of the codes (S, G, K + 1, d) adds to a state, (S, G, K + 1, H).

        The first layer is linear, so that the partial reconstruction never has to be multiplied.
        """
        if self.seen is None:
            return codes.new_zeros(*codes.shape[:3], 0)
        weight = self.seen.weight.unflatten(1, (self.n_groups, -1))  # (H, G, d)
        # Coordinates of a vector of length 1 are about 1 / sqrt(D); as inputs they should be 1.
        scale = math.sqrt(self.seen.in_features)
        return torch.einsum("sgkd,hgd->sgkh", codes, scale * weight)

    def start(self, lam: Tensor, memory: Tensor | None = None) -> Tensor:
        """State (N, H) before the first code.

        Args:
            lam: Weights of the rate, (N,).
            memory: What the frames before left, (N, H), for a recurrent prior.
        """
        low, high = math.log(self.lam_range[0]), math.log(self.lam_range[1])
        z = 2 * (lam.clamp(*self.lam_range).log() - low) / (high - low) - 1
        state = self.rate(torch.stack([z, z.square()], dim=1))
        return state if memory is None else state + memory

    def bits(self, state: Tensor, stage: int, groups: slice) -> Tensor:
        """Cost -log2 p (g, N, K + 1) in bit of the codes of a block of g groups.

        Args:
            state: State, (N, H).
            stage: Stage.
            groups: One of :attr:`blocks`.
        """
        first = stage * self.n_groups
        rows = slice(first + groups.start, first + groups.stop)
        return self._bits(state + self.step[rows][:, None], rows).clamp(max=MOST_BITS)

    def advance(
        self, state: Tensor, tables: Tensor, stage: int, groups: slice, indices: Tensor
    ) -> Tensor:
        """State (N, H) after the codes ``indices`` (g, N) of g groups."""
        if self.seen is None:
            return state
        for table, rows in zip(tables[stage, groups], indices, strict=True):
            state = state + table[rows]
        return state

    def code_bits(
        self, indices: Tensor, codes: Tensor, lam: Tensor, memory: Tensor | None = None
    ) -> Tensor:
        """Cost (N, S, G) in bit of given codes, all contexts at once and without an upper bound.

        Args:
            indices: Code numbers, (N, S, G).
            codes: The codebooks, (S, G, K + 1, d).
            lam: Weights of the rate, (N,).
            memory: See :meth:`start`.
        """
        state = self.start(lam, memory)
        before = self._before(indices, codes)
        stages = []
        for stage, given in enumerate(before):  # all stages at once would not fit into the cache
            rows = slice(stage * self.n_groups, (stage + 1) * self.n_groups)
            bits = self._bits(state + given + self.step[rows][:, None], rows)
            stages.append(bits.gather(2, indices[:, stage].T[..., None])[..., 0])  # (G, N)
        return torch.stack(stages).permute(2, 0, 1)

    def remember(self, frames: Tensor) -> Tensor | None:
        """Memory (B, T, H) at each frame of the frames (B, T, D) before it; nothing without GRU."""
        if self.memory is None:
            return None
        shifted = F.pad(frames, (0, 0, 1, -1))
        return self.memory(shifted * math.sqrt(frames.shape[2]))[0]

    def remember_one(self, frame: Tensor, hidden: Tensor | None) -> Tensor | None:
        """Memory (B, H) after one more frame (B, D), as :meth:`remember` has it at the next."""
        if self.memory is None:
            return None
        given = None if hidden is None else hidden[None].contiguous()
        return self.memory((frame * math.sqrt(frame.shape[1]))[:, None], given)[0][:, 0]

    def _before(self, indices: Tensor, codes: Tensor) -> Tensor:
        """What the codes before each step add to its state, (S, G, N, H), or S zeros."""
        if self.seen is None:
            return codes.new_zeros(len(codes))
        tables = self.tables(codes)
        n_stages, n_groups, size, hidden = tables.shape
        offsets = torch.arange(n_stages * n_groups, device=indices.device) * size
        rows = (indices.flatten(1) + offsets).T  # (S * G, N)
        added = F.embedding(rows, tables.reshape(-1, hidden))
        if self.context == "group":
            return (added.cumsum(0) - added).unflatten(0, (n_stages, n_groups))
        stages = added.unflatten(0, (n_stages, n_groups)).sum(1, keepdim=True)
        return stages.cumsum(0) - stages  # (S, 1, N, H): the same for all groups

    def _bits(self, state: Tensor, rows: slice) -> Tensor:
        """Cost (r, N, K + 1) of all codes of some steps from their states (r, N, H)."""
        h = F.gelu(self.middle(F.gelu(self.norm(state))))
        weight, bias = self.head_weight[rows], self.head_bias[rows]
        logits = torch.baddbmm(bias[:, None], h, weight.transpose(1, 2))
        return logits.log_softmax(-1) * (-1 / math.log(2))
