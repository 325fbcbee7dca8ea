"""Which codes to choose: the least of distortion + lambda * rate.

Sources: Chou, Lookabaugh and Gray, "Entropy-constrained vector quantization", IEEE TASSP 1989 (the
rule); Feng et al., "NVTC", CVPR 2023 (with a conditional prior).
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from emovc.genner_tts.codebooks import GroupedResidualCodebooks
from emovc.genner_tts.prior import CodePrior
from emovc.genner_tts.tables import TablePrior

Search = Literal["greedy", "beam"]
Prior = CodePrior | TablePrior


class Chosen(NamedTuple):
    """Codes of some vectors.

    Attributes:
        indices: Code numbers, (N, S, G).
        bits: Rate in bit, (N,).
        distortion: Squared distance of the vector from what its codes stand for, (N,).
    """

    indices: Tensor
    bits: Tensor
    distortion: Tensor


@torch.no_grad()
def greedy_search(
    codebooks: GroupedResidualCodebooks,
    prior: Prior,
    x: Tensor,
    lam: Tensor,
    memory: Tensor | None = None,
) -> Chosen:
    """Choose each code for itself, stage by stage and group by group.

    Where lambda is 0 the nearest code is chosen.

    Args:
        codebooks: The codes.
        prior: Their probabilities.
        x: Vectors, (N, D).
        lam: Weight of the rate of each vector, in squared error per bit, (N,).
        memory: See :meth:`CodePrior.start`.
    """
    tables, state = prior.tables(codebooks.codes), prior.start(lam, memory)
    rest = codebooks.split(x)
    indices = torch.empty(codebooks.n_stages, *rest.shape[:2], dtype=torch.long, device=x.device)
    total = x.new_zeros(len(x))
    for stage in range(codebooks.n_stages):
        distances = codebooks.distances(rest, stage)
        for groups in prior.blocks:
            bits = prior.bits(state, stage, groups)
            found = torch.addcmul(distances[groups], lam[:, None], bits).argmin(-1)  # (g, N)
            total += bits.gather(2, found[..., None])[..., 0].sum(0)
            indices[stage, groups] = found
            state = prior.advance(state, tables, stage, groups, found)
        rest -= codebooks.look_up(stage, indices[stage])
    return Chosen(indices.permute(2, 0, 1), total, rest.square().sum((0, 2)))


@torch.no_grad()
def beam_search(
    codebooks: GroupedResidualCodebooks,
    prior: Prior,
    x: Tensor,
    lam: Tensor,
    memory: Tensor | None = None,
    width: int = 8,
) -> Chosen:
    """Follow the ``width`` best prefixes of codes; never worse than :func:`greedy_search`.

    Args:
        codebooks: The codes.
        prior: Their probabilities.
        x: Vectors, (N, D).
        lam: Weight of the rate of each vector, (N,).
        memory: See :meth:`CodePrior.start`.
        width: Prefixes kept per vector.
    """
    greedy = greedy_search(codebooks, prior, x, lam, memory)
    beams = _Beams(codebooks, prior, x, lam, memory)
    for stage in range(codebooks.n_stages):
        beams.extend(stage, width)
    found = beams.best()
    better = found.distortion + lam * found.bits < greedy.distortion + lam * greedy.bits
    return Chosen(
        torch.where(better[:, None, None], found.indices, greedy.indices),
        torch.where(better, found.bits, greedy.bits),
        torch.where(better, found.distortion, greedy.distortion),
    )


@torch.no_grad()
def nearest_codes(codebooks: GroupedResidualCodebooks, x: Tensor) -> Tensor:
    """The nearest codes (N, S, G) of vectors (N, D), whatever they cost."""
    rest, stages = codebooks.split(x), []
    for stage in range(codebooks.n_stages):
        stages.append(codebooks.distances(rest, stage).argmin(-1))
        rest -= codebooks.look_up(stage, stages[-1])
    return torch.stack(stages).permute(2, 0, 1)


class _Beams:
    """Prefixes of codes: P of them per vector, the best first."""

    def __init__(
        self,
        codebooks: GroupedResidualCodebooks,
        prior: Prior,
        x: Tensor,
        lam: Tensor,
        memory: Tensor | None,
    ) -> None:
        self.codebooks = codebooks
        self.prior = prior
        self.n = len(x)
        self.lam = lam[:, None]
        self.tables = prior.tables(codebooks.codes)
        self.state = prior.start(lam, memory)  # (N * P, H)
        self.rest = codebooks.split(x)  # (G, N * P, d)
        self.cost = x.new_zeros(self.n, 1)  # distortion, less |x|^2, and lambda times bits
        self.spent = x.new_zeros(self.n, 1)  # bits
        self.path = torch.empty(self.n, 0, dtype=torch.long, device=x.device)  # (N * P, steps)

    def extend(self, stage: int, width: int) -> None:
        """Choose the codes of a stage for every prefix."""
        distances = self.codebooks.distances(self.rest, stage)
        for groups in self.prior.blocks:
            bits = self.prior.bits(self.state, stage, groups)
            for group in range(groups.start, groups.stop):
                own = bits[group - groups.start]
                parent, code = self._prune(distances[group], own, width)
                distances, bits = distances[:, parent], bits[:, parent]
                self.rest, self.state = self.rest[:, parent], self.state[parent]
                self.path = torch.cat([self.path[parent], code[:, None]], dim=1)
                one = slice(group, group + 1)
                self.state = self.prior.advance(self.state, self.tables, stage, one, code[None])
        last = self.path[:, -self.codebooks.n_groups :].T  # (G, N * P)
        self.rest = self.rest - self.codebooks.look_up(stage, last)

    def _prune(self, distances: Tensor, bits: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Keep the cheapest continuations of all prefixes of a vector.

        Args:
            distances: Of the codes of one group, (N * P, K + 1).
            bits: Their rates, (N * P, K + 1).
            width: How many to keep.

        Returns:
            Row of the prefix that each continues, and its code, (N * P') both.
        """
        n_prefixes, size = self.cost.shape[1], bits.shape[1]
        bits = bits.view(self.n, n_prefixes, size)
        change = distances.view_as(bits) + self.lam[..., None] * bits
        cost = (self.cost[..., None] + change).flatten(1)
        self.cost, best = cost.topk(min(width, cost.shape[1]), dim=1, largest=False)
        self.spent = (self.spent[..., None] + bits).flatten(1).gather(1, best)
        rows = torch.arange(self.n, device=best.device)[:, None] * n_prefixes + best // size
        return rows.flatten(), (best % size).flatten()

    def best(self) -> Chosen:
        """The cheapest path of each vector."""
        n_paths = self.cost.shape[1]
        # The running costs left rounding errors; compare what the paths really cost.
        distortion = self.rest.square().sum((0, 2)).view(self.n, n_paths)
        first = (distortion + self.lam * self.spent).argmin(1, keepdim=True)
        shape = (self.n, n_paths, self.codebooks.n_stages, self.codebooks.n_groups)
        indices = self.path.view(shape)[torch.arange(self.n, device=first.device), first[:, 0]]
        return Chosen(indices, self.spent.gather(1, first)[:, 0], distortion.gather(1, first)[:, 0])
