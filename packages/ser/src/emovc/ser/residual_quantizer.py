"""Residual vector quantisation: each stage rounds what the stages before it left over.

Source: Zeghidour, Luebs, Omran, Skoglund and Tagliasacchi, "SoundStream: an end-to-end neural audio
codec", IEEE/ACM TASLP 2021, section III-C.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.ser.codebook import Codebook

REMEMBERED = 40  # batches of the warm-up that the codebooks are filled from


class Quantised(NamedTuple):
    """What the quantiser makes of latents.

    Attributes:
        latent: Quantised latents; gradients pass as if nothing was rounded, (B, D, T).
        codes: Number of the chosen vector, per stage, (B, Q, T).
        commitment: Mean square distance of what each stage rounded from the vector it chose, summed
            over the stages; its gradient moves the latents only.
    """

    latent: Tensor
    codes: Tensor
    commitment: Tensor


class ResidualQuantizer(nn.Module):
    """Stages of codebooks that round latents more and more finely.

    In training, the codebooks are filled by k-means on the first batch, or on the last of the
    ``warm_up`` batches during which nothing is rounded (small batches have fewer frames than
    codebooks have vectors), and learn from each batch after. So that any number of the stages can
    be used afterwards, a share of the utterances is rounded by the first 1 to Q stages only, drawn
    at random.

    Args:
        dim: Size D of the latents.
        size: Vectors K per stage.
        n_stages: Stages Q.
        decay: See :class:`Codebook`.
        dead_below: See :class:`Codebook`.
        dropout: Share of the utterances that are rounded by fewer stages; source: Kumar et al.,
            "High-fidelity audio compression with improved RVQGAN", NeurIPS 2023, section 3.3.
        warm_up: Training batches that pass as they are.

    Raises:
        UserError: A number is out of its range.
    """

    def __init__(
        self,
        dim: int = 128,
        size: int = 1024,
        n_stages: int = 8,
        decay: float = 0.99,
        dead_below: float = 0.1,
        dropout: float = 0.5,
        warm_up: int = 0,
    ) -> None:
        super().__init__()
        if min(dim, n_stages) < 1 or size < 2 or warm_up < 0:
            raise UserError(
                "ResidualQuantizer: dim and n_stages must be 1 or more, size 2 or more, warm_up 0"
                " or more"
            )
        if not (0 <= decay < 1 and 0 <= dead_below < 1 and 0 <= dropout <= 1):
            raise UserError(
                "ResidualQuantizer: decay and dead_below must be in [0, 1), dropout in [0, 1]"
            )
        self.size = size
        self.dropout = dropout
        self.warm_up = warm_up
        self.batches: Tensor
        self.register_buffer("batches", torch.tensor(0))  # seen in training
        self._last: list[Tensor] = []
        self.stages = nn.ModuleList(Codebook(size, dim, decay, dead_below) for _ in range(n_stages))

    @property
    def codebooks(self) -> list[Codebook]:
        """The stages."""
        return [stage for stage in self.stages if isinstance(stage, Codebook)]

    def bits_per_frame(self, n_stages: int) -> float:
        """Bits that ``n_stages`` stages spend on a frame, without entropy coding."""
        return n_stages * math.log2(self.size)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, latent: Tensor, n_stages: int | None = None) -> Quantised:
        """Round latents (B, D, T), in float32 also under autocast.

        Args:
            latent: Latents.
            n_stages: Stages to use; ``None``: all of them, but see ``dropout`` in training.

        Raises:
            UserError: There are not so many stages.
        """
        self._require_stages(n_stages)
        x = latent.float().transpose(1, 2)  # (B, T, D)
        if self.training:
            self.batches += 1
            if self.batches <= self.warm_up:
                return self._pass(x)
            if not self.codebooks[0].filled:
                self._fill(x.detach())
        active = self._active(len(x), n_stages, x.device)
        residual, total = x, torch.zeros_like(x)
        codes, distances = [], []
        for i in range(n_stages or len(self.stages)):
            chosen, vectors = self._round(i, residual.detach())
            keep = active[:, i, None, None]
            total = total + vectors * keep
            distances.append(((residual - vectors).square() * keep).mean())
            residual = residual - vectors
            codes.append(chosen)
        straight = x + (total - x).detach()
        return Quantised(
            straight.transpose(1, 2), torch.stack(codes, dim=1), torch.stack(distances).sum()
        )

    def decode(self, codes: Tensor) -> Tensor:
        """Latents (B, D, T) of codes (B, q, T) of the first q stages.

        Raises:
            UserError: There are not so many stages.
        """
        self._require_stages(codes.shape[1])
        parts = [
            stage.vectors[c] for stage, c in zip(self.codebooks, codes.unbind(1), strict=False)
        ]
        return torch.stack(parts).sum(0).transpose(1, 2)

    def _pass(self, x: Tensor) -> Quantised:
        """Leave latents (B, T, D) as they are, and remember some to fill the codebooks with."""
        self._last = [*self._last, x.detach()][-REMEMBERED:]
        codes = torch.zeros(len(x), len(self.stages), x.shape[1], dtype=torch.long, device=x.device)
        return Quantised(x.transpose(1, 2), codes, x.new_zeros(()))

    def _fill(self, x: Tensor) -> None:
        """Fill each codebook from what those before it leave of latents (B, T, D)."""
        rest = torch.cat([batch.flatten(0, 1) for batch in (*self._last, x)])
        self._last = []
        for book in self.codebooks:
            book.fill(rest)
            rest = rest - book.vectors[book.nearest(rest)]

    def _round(self, stage: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, T) and vectors (B, T, D) of one stage, which learns from it in training."""
        book, flat = self.codebooks[stage], x.flatten(0, 1)
        codes = book.nearest(flat)
        vectors = book.vectors[codes]
        if self.training:
            book.learn(flat, codes)
        return codes.view(x.shape[:2]), vectors.view_as(x)

    def _active(self, batch: int, n_stages: int | None, device: torch.device) -> Tensor:
        """1 where a stage counts for an utterance, (B, Q)."""
        count = torch.full((batch,), n_stages or len(self.stages), device=device)
        if self.training and n_stages is None:
            fewer = torch.rand(batch, device=device) < self.dropout
            drawn = torch.randint(1, len(self.stages) + 1, (batch,), device=device)
            count = torch.where(fewer, drawn, count)
        return (torch.arange(len(self.stages), device=device) < count[:, None]).float()

    def _require_stages(self, n_stages: int | None) -> None:
        if n_stages is not None and not 1 <= n_stages <= len(self.stages):
            raise UserError(f"n_stages {n_stages}: the codec has 1 to {len(self.stages)}")


def code_shares(codes: Tensor, size: int) -> Tensor:
    """How often each of ``size`` codes occurs in codes (B, Q, T), as shares per stage (Q, K)."""
    rows = codes.transpose(0, 1).flatten(1)  # (Q, B * T)
    ones = torch.ones(rows.shape, device=codes.device)
    counts = torch.zeros(len(rows), size, device=codes.device).scatter_add(1, rows, ones)
    return counts / rows.shape[1]


def perplexity(shares: Tensor) -> Tensor:
    """Number of equally frequent codes of the same entropy, (Q,), for shares (Q, K)."""
    return torch.special.entr(shares).sum(-1).exp()
