"""The parts of emotion2vec; submodules bear the names of the official weights."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.precision import single

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
HOP = math.prod(STRIDES)  # 320 samples between frames
RECEPTIVE = 1 + sum((k - 1) * math.prod(STRIDES[:i]) for i, k in enumerate(KERNELS))  # 400 samples


class ConvFrontEnd(nn.Module):
    """Waveform to 50 frames per second: seven convolutions, each normalised over its channels.

    There are only valid convolutions and norms within a frame, so padding on the right leaves the
    frames before it as they are.

    Args:
        channels: Width C of each convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        for i, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True)):
            conv = nn.Conv1d(channels if i else 1, channels, kernel, stride, bias=False)
            nn.init.kaiming_normal_(conv.weight)
            norm = nn.ModuleDict({"1": nn.LayerNorm(channels)})
            self.conv_layers.append(nn.ModuleDict({"0": conv, "2": norm}))

    def forward(self, wav: Tensor) -> Tensor:
        """Map (B, N) to (B, T, C) with ``T = (N - 400) // 320 + 1``."""
        x = wav[:, :, None]
        for layer in self.conv_layers:
            conv, norm = layer.get_submodule("0"), layer.get_submodule("2.1")
            x = F.gelu(norm(conv(x.transpose(1, 2)).transpose(1, 2)))
        return x


class PositionalConvs(nn.Module):
    """Position from the neighbourhood: a chain of grouped convolutions over the frames.

    The frames of padding are zeroed before each of them: a frame near the end of an utterance then
    sees the zeros that the convolution itself would pad with, were the utterance alone.

    Args:
        dim: Width D.
        width: Sum of the kernels in frames.
        depth: Number of convolutions.
        groups: Groups of each.
    """

    def __init__(self, dim: int, width: int, depth: int, groups: int) -> None:
        super().__init__()
        kernel = max(3, width // depth)
        for i in range(depth):
            conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
            self.add_module(str(i + 1), nn.ModuleDict({"0": conv}))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Position code (B, T, D) of frames (B, T, D) with mask (B, T)."""
        n_frames = x.shape[1]
        for layer in self.children():
            conv = layer.get_submodule("0")
            x = conv((x * mask[..., None]).transpose(1, 2))[..., :n_frames].transpose(1, 2)
            x = F.gelu(F.layer_norm(x, x.shape[-1:]))
        return x


class Attention(nn.Module):
    """Multi-head self-attention with a bias on the scores, in float32 also under autocast.

    Args:
        dim: Width D.
        heads: Number of heads H.
        dropout: Dropout of the attention weights and of the result.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Attend within (B, L, D); the bias (B or 1, H, L, L) is -inf at keys of padding."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        with torch.autocast(x.device.type, enabled=False):
            q, k, v = qkv.to(bias.dtype)  # (B, H, L, D / H) each
            dropout = self.dropout if self.training else 0.0
            heads = F.scaled_dot_product_attention(q, k, v, bias, dropout)
        out = self.proj(heads.transpose(1, 2).flatten(2).to(qkv.dtype))
        return F.dropout(out, self.dropout, self.training)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Transformer block with the norms after the residual sums.

    Args:
        dim: Width D.
        heads: Number of attention heads.
        mlp_ratio: Hidden width of the feed-forward layer as a multiple of D.
        dropout: Dropout of attention and feed-forward layer.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Output of the block and of its feed-forward layer, (B, L, D) each."""
        x = self.norm1(x + self.attn(x, bias))
        fed = self.mlp(x)
        return self.norm2(x + F.dropout(fed, self.dropout, self.training)), fed


class ContextEncoder(nn.Module):
    """The first blocks ("prenet"), behind a norm."""

    def __init__(self, dim: int, heads: int, depth: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio, dropout) for _ in range(depth))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D) with the attention bias (B or 1, H, L, L)."""
        x = F.dropout(self.norm(x), self.dropout, self.training)
        for block in self.blocks:
            x, _ = block(x, bias)
        return x


def alibi_slopes(heads: int) -> Tensor:
    """Slope of each head's distance penalty, (H,).

    A geometric sequence from 2^(-8/H); where H is no power of two, that of the power below,
    filled up with every other slope of twice that power (Press, Smith and Lewis, ALiBi, 2022).
    """
    power = 2 ** int(math.log2(heads))
    slopes = [2.0 ** (-8 * (i + 1) / power) for i in range(power)]
    between = [2.0 ** (-4 * (i + 1) / power) for i in range(0, 2 * power, 2)]
    return torch.tensor((slopes + between)[:heads])


class AudioEncoder(nn.Module):
    """Waveform to the input of the last blocks: convolutions, positions, extra tokens, prenet.

    Args:
        dim: Width D.
        heads: Number of attention heads H.
        prenet_depth: Blocks here.
        mlp_ratio: Hidden width of the feed-forward layers as a multiple of D.
        extra_tokens: Learned tokens E before the frames; they have no position.
        conv_channels: Width of the convolutions on the waveform.
        pos_width: Sum of the kernels of the positional convolutions in frames.
        pos_depth: Number of positional convolutions.
        pos_groups: Groups of each.
        dropout: Dropout of the blocks and before the first.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        prenet_depth: int,
        mlp_ratio: float,
        extra_tokens: int,
        conv_channels: int,
        pos_width: int,
        pos_depth: int,
        pos_groups: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.local_encoder = ConvFrontEnd(conv_channels)
        project = {"1": nn.LayerNorm(conv_channels), "2": nn.Linear(conv_channels, dim)}
        self.project_features = nn.ModuleDict(project)
        self.relative_positional_encoder = PositionalConvs(dim, pos_width, pos_depth, pos_groups)
        self.extra_tokens = nn.Parameter(torch.randn(1, extra_tokens, dim))
        self.alibi_scale = nn.Parameter(torch.ones(1, 1, heads, 1, 1))
        self.context_encoder = ContextEncoder(dim, heads, prenet_depth, mlp_ratio, dropout)
        self.slopes: Tensor
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def forward(self, wav: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode waveforms (B, N) whose frames have the mask (B, T).

        Returns:
            States (B, E + T, D) and the attention bias (B or 1, H, E + T, E + T).
        """
        x = self.local_encoder(wav)
        for layer in self.project_features.values():
            x = layer(x)
        x = x + self.relative_positional_encoder(x, mask)
        x = torch.cat([self.extra_tokens.expand(len(x), -1, -1), x], dim=1)
        bias = self._bias(mask)
        return self.context_encoder(x, bias), bias

    def _bias(self, mask: Tensor) -> Tensor:
        """Penalty of the distance between frames; keys of padding are barred."""
        extra, n_frames = self.extra_tokens.shape[1], mask.shape[1]
        steps = torch.arange(n_frames, device=mask.device)
        distance = (steps - steps[:, None]).abs()
        slopes = self.slopes[:, None, None] * self.alibi_scale[0].clamp(min=0)
        slopes = single(slopes)
        bias = F.pad(-slopes * distance, (extra, 0, extra, 0))  # (1, H, E + T, E + T)
        if bool(mask.all()):
            return bias
        padding = F.pad(mask == 0, (extra, 0))
        return bias.masked_fill(padding[:, None, None], -math.inf)
