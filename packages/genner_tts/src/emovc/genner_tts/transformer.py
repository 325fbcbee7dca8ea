"""Feed-forward transformer blocks of the text encoder and the mel decoder.

Source: Ren et al., "FastSpeech: Fast, robust and controllable text to speech", NeurIPS 2019, as
used by Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError


def sinusoidal_positions(x: Tensor) -> Tensor:
    """Sines, then cosines, of the positions 1 to T, (T, C) in the precision of ``x``.

    Position 0 stands for padding. The angles are float32 in every precision: bfloat16 can't tell
    neighbouring positions apart.

    Args:
        x: What the positions are for, (B, T, C), C even and at least 4.
    """
    n, dim = x.shape[1:]
    steps = torch.arange(dim // 2, device=x.device, dtype=torch.float32)
    rates = torch.exp(steps * -(math.log(10000) / (dim // 2 - 1)))
    angles = torch.arange(1, n + 1, device=x.device, dtype=torch.float32)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1).to(x.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention without biases.

    Args:
        dim: Channels C.
        heads: Attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C); ``mask`` is (B, T)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None] > 0)
        return self.out(heads.transpose(1, 2).flatten(2))


class ConvFeedForward(nn.Module):
    """Convolution over time, GELU and a linear layer.

    The convolution is scaled down by the root of its kernel size, as in the authors' code.

    Args:
        dim: Channels C.
        hidden: Channels between the layers.
        kernel: Kernel size in frames, odd.
        dropout: Dropout between the layers.
    """

    def __init__(self, dim: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, hidden, kernel, padding="same")
        self.linear = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C), zero at padding, to (B, T, C)."""
        h = self.conv(x.transpose(1, 2)).transpose(1, 2) * self.conv.kernel_size[0] ** -0.5
        return self.linear(self.dropout(F.gelu(h)))


class FFTBlock(nn.Module):
    """Attention and convolution, each behind a norm and with a way round it.

    Args:
        dim: Channels C.
        heads: Attention heads.
        hidden: Channels inside the feed-forward part.
        kernel: Kernel size of the feed-forward part.
        dropout: Dropout after both parts.
    """

    def __init__(self, dim: int, heads: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = ConvFeedForward(dim, hidden, kernel, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C), zero at padding; ``mask`` is (B, T)."""
        valid = mask[:, :, None].to(x.dtype)
        x = (x + self.dropout(self.attention(self.attention_norm(x), mask))) * valid
        h = self.feed_forward_norm(x) * valid
        return (x + self.dropout(self.feed_forward(h))) * valid


class FFTBlocks(nn.Module):
    """Stack of feed-forward transformer blocks with a norm at the end.

    Args:
        dim: Channels C.
        n_layers: Blocks.
        heads: Attention heads.
        hidden: Channels inside the feed-forward parts.
        kernel: Kernel size of the feed-forward parts, in frames.
        dropout: Dropout.

    Raises:
        UserError: The sizes don't fit each other.
    """

    def __init__(
        self,
        dim: int = 256,
        n_layers: int = 4,
        heads: int = 2,
        hidden: int = 1024,
        kernel: int = 9,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if dim % (2 * heads) or dim < 4 or kernel % 2 == 0:
            raise UserError(
                f"FFTBlocks: dim {dim} must be a multiple of twice the heads {heads}, at least 4,"
                f" and kernel {kernel} odd"
            )
        self.layers = nn.ModuleList(
            FFTBlock(dim, heads, hidden, kernel, dropout) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C), zero at padding; ``mask`` is (B, T)."""
        valid = mask[:, :, None].to(x.dtype)
        x = x * valid
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x) * valid


class TextEncoder(nn.Module):
    """Phone ids to one vector per phone.

    Args:
        n_phones: Size of the phone vocabulary; id 0 is padding.
        dim: Channels C.
        n_layers: Blocks.
        heads: Attention heads.
        hidden: Channels inside the feed-forward parts.
        kernel: Kernel size of the feed-forward parts, in phones.
        dropout: Dropout.
    """

    def __init__(
        self,
        n_phones: int,
        dim: int = 256,
        n_layers: int = 4,
        heads: int = 2,
        hidden: int = 1024,
        kernel: int = 9,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_phones, dim, padding_idx=0)
        nn.init.normal_(self.embedding.weight, 0, dim**-0.5)
        with torch.no_grad():
            self.embedding.weight[0] = 0
        self.blocks = FFTBlocks(dim, n_layers, heads, hidden, kernel, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, phones: Tensor) -> Tensor:
        """Map phone ids (B, L), 0 at padding, to (B, L, C), zero at padding."""
        embedded = self.embedding(phones)
        x = embedded * math.sqrt(embedded.shape[2])
        x = x + sinusoidal_positions(x)
        return self.blocks(self.dropout(x), phones > 0)


class MelDecoder(nn.Module):
    """Frames of the decoder input to frames of the mel's last hidden layer.

    Args:
        dim: Channels C.
        n_layers: Blocks.
        heads: Attention heads.
        hidden: Channels inside the feed-forward parts.
        kernel: Kernel size of the feed-forward parts, in frames.
        dropout: Dropout.
    """

    def __init__(
        self,
        dim: int = 256,
        n_layers: int = 4,
        heads: int = 2,
        hidden: int = 1024,
        kernel: int = 9,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.position_scale = nn.Parameter(torch.ones(1))
        self.blocks = FFTBlocks(dim, n_layers, heads, hidden, kernel, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C), zero at padding; ``mask`` is (B, T)."""
        positions = self.position_scale * sinusoidal_positions(x)
        return self.blocks(self.dropout(x + positions), mask)
