"""Layers of the average-voice encoder; padding never changes what they give.

Source: Popov et al., "Diffusion-based voice conversion with fast maximum likelihood sampling
scheme", ICLR 2022, whose encoder is that of Kim et al., "Glow-TTS", NeurIPS 2020.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NormStatistics = Literal["masked", "plain"]
EPS = 1e-4  # of the channel norms
FAR_BELOW = -1e4  # score of a key of padding: its weight is 0 in every precision


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each frame of (B, C, T)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Prenet(nn.Module):
    """Residual stack of convolutions, each normalised; at first it passes its input on.

    Args:
        dim: Channels C.
        kernel: Kernel size.
        n_layers: Convolutions.
        dropout: Dropout after each.
    """

    def __init__(self, dim: int, kernel: int = 5, n_layers: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, padding="same") for _ in range(n_layers)
        )
        self.norms = nn.ModuleList(ChannelNorm(dim) for _ in range(n_layers))
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Conv1d(dim, dim, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T); ``mask`` is (B, 1, T)."""
        h = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = self.dropout(norm(conv(h * mask)).relu())
        return (x + self.last(h)) * mask


class RelativeAttention(nn.Module):
    """Self-attention that knows how far apart near frames are, in float32 also under autocast.

    A distance of at most ``window`` frames has a vector of its own for keys and one for values,
    which all heads share; farther frames are met by content alone.

    ``scaled_dot_product_attention`` hides the weights, which the values by distance need.

    Source: Shaw, Uszkoreit and Vaswani, "Self-attention with relative position representations",
    NAACL 2018, eq. 3 and 4.

    Args:
        dim: Channels C.
        heads: Heads H.
        window: Largest distance W with a vector, in frames.
        dropout: Dropout of the attention weights.
    """

    def __init__(self, dim: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.query, self.key, self.value = (nn.Conv1d(dim, dim, 1) for _ in range(3))
        self.out = nn.Conv1d(dim, dim, 1)
        for conv in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(conv.weight)
        width = dim // heads
        self.near_keys = nn.Parameter(torch.randn(2 * window + 1, width) * width**-0.5)
        self.near_values = nn.Parameter(torch.randn(2 * window + 1, width) * width**-0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T); ``mask`` is (B, 1, T)."""
        parts = (self._split(conv(x)) for conv in (self.query, self.key, self.value))
        with torch.autocast(x.device.type, enabled=False):
            q, k, v = (part.float() for part in parts)  # (B, H, T, D) each
            q = q * q.shape[-1] ** -0.5
            distance, near = self._distances(x.shape[2], x.device)
            by_distance = q @ self.near_keys.T  # (B, H, T, 2W + 1)
            bias = by_distance.gather(3, distance.expand(*q.shape[:2], -1, -1)) * near
            scores = (q @ k.transpose(2, 3) + bias).masked_fill(mask[:, None] == 0, FAR_BELOW)
            weights = self.dropout(scores.softmax(3))  # (B, H, T, T)
            heads = weights @ v + self._banded(weights) @ self.near_values
        return self.out(heads.transpose(2, 3).flatten(1, 2).to(x.dtype))

    def _split(self, x: Tensor) -> Tensor:
        """Heads (B, H, T, D) of (B, C, T)."""
        return x.unflatten(1, (self.heads, -1)).transpose(2, 3)

    def _distances(self, n_frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Row of the tables for each query and key, (T, T), and whether there is one."""
        steps = torch.arange(n_frames, device=device)
        distance = steps - steps[:, None] + self.window
        kept = distance.clamp(0, 2 * self.window)
        return kept, distance == kept

    def _banded(self, weights: Tensor) -> Tensor:
        """Weights of the frames at each near distance, (B, H, T, 2W + 1), 0 beyond the ends."""
        n_frames = weights.shape[3]
        steps = torch.arange(n_frames, device=weights.device)
        offsets = torch.arange(-self.window, self.window + 1, device=weights.device)
        frame = steps[:, None] + offsets
        kept = frame.clamp(0, n_frames - 1)
        return weights.gather(3, kept.expand(*weights.shape[:2], -1, -1)) * (frame == kept)


class TransformerLayer(nn.Module):
    """Attention and two convolutions, each with a norm after the residual sum.

    Args:
        dim: Channels C.
        hidden: Channels between the convolutions.
        heads: Attention heads.
        kernel: Kernel size of the convolutions.
        window: Frames whose distance attention knows.
        dropout: Dropout.
    """

    def __init__(
        self, dim: int, hidden: int, heads: int, kernel: int, window: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = RelativeAttention(dim, heads, window, dropout)
        self.attention_norm = ChannelNorm(dim)
        self.widen = nn.Conv1d(dim, hidden, kernel, padding="same")
        self.narrow = nn.Conv1d(hidden, dim, kernel, padding="same")
        self.conv_norm = ChannelNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T), 0 at padding; ``mask`` is (B, 1, T)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, mask))) * mask
        h = self.dropout(self.widen(x).relu()) * mask
        return self.conv_norm(x + self.dropout(self.narrow(h))) * mask


class MelEncoder(nn.Module):
    """First half of the average-voice encoder: mel to a rough average-voice mel.

    Args:
        n_mels: Mel bands M.
        dim: Channels.
        hidden: Channels inside the transformer's convolutions.
        heads: Attention heads.
        n_layers: Transformer layers.
        kernel: Kernel size of the transformer's convolutions.
        window: Frames whose distance attention knows.
        dropout: Dropout of the transformer.
    """

    def __init__(
        self,
        n_mels: int,
        dim: int,
        hidden: int,
        heads: int,
        n_layers: int,
        kernel: int,
        window: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(n_mels, dim, 1)
        self.prenet = Prenet(dim)
        self.layers = nn.ModuleList(
            TransformerLayer(dim, hidden, heads, kernel, window, dropout) for _ in range(n_layers)
        )
        self.last = nn.Conv1d(dim, n_mels, 1)

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Map (B, M, T) to (B, M, T), 0 at padding; ``mask`` is (B, 1, T)."""
        h = self.prenet(self.first(mel * mask), mask)
        for layer in self.layers:
            h = layer(h, mask)
        return self.last(h) * mask


class GroupNorm(nn.GroupNorm):
    """Group norm of images whose statistics leave padding out.

    Args:
        groups: Groups of channels.
        dim: Channels.
        statistics: ``plain`` counts padding too, as the authors' code does; without padding both
            are the same.
    """

    def __init__(self, groups: int, dim: int, statistics: NormStatistics) -> None:
        super().__init__(groups, dim)
        self.statistics = statistics

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, C, M, T) to (B, C, M, T); ``mask`` is (B, 1, 1, T)."""
        if self.statistics == "plain":
            return super().forward(x)
        groups = x.unflatten(1, (self.num_groups, -1))  # (B, G, C / G, M, T)
        valid = mask[:, None]
        count = (valid.sum((2, 3, 4), keepdim=True) * groups[0, 0, :, :, 0].numel()).clamp(min=1)
        mean = (groups * valid).sum((2, 3, 4), keepdim=True) / count
        centred = (groups - mean) * valid
        variance = centred.square().sum((2, 3, 4), keepdim=True) / count
        normal = (centred * (variance + self.eps).rsqrt()).flatten(1, 2)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


class PostNet(nn.Module):
    """Second half: a residual block of two convolutions on the mel as an image.

    Args:
        dim: Channels.
        statistics: What group norms count, see :class:`GroupNorm`.
        groups: Groups of the norms.
        kernel: Kernel size.
    """

    def __init__(
        self, dim: int, statistics: NormStatistics, groups: int = 8, kernel: int = 7
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, dim, 1)
        self.convs = nn.ModuleList(nn.Conv2d(dim, dim, kernel, padding="same") for _ in range(2))
        self.norms = nn.ModuleList(GroupNorm(groups, dim, statistics) for _ in range(2))
        self.skip = nn.Conv2d(dim, dim, 1)
        self.last = nn.Conv2d(dim, 1, 1)

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Map (B, M, T) to (B, M, T), 0 at padding; ``mask`` is (B, 1, T)."""
        valid = mask[:, None]
        x = self.first(mel[:, None]) * valid
        h = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.mish(norm(conv(h), valid)) * valid
        return (self.last(self.skip(x) + h) * valid)[:, 0]
