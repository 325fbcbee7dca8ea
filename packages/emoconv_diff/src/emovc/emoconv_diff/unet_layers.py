"""Layers of the score network: images (B, C, M, T) whose padded frames change no result.

``mask`` is 1 at valid frames, (B, 1, 1, T), or ``None`` where there is no padding; the latter is
the fast way, as nothing is multiplied and torch's own group norm runs.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8


def sinusoid(t: Tensor, dim: int) -> Tensor:
    """Sines and cosines of 1000 t, in float32 at least.

    Args:
        t: Diffusion time in [0, 1], (B,).
        dim: Size D of the code, even and at least 4.

    Returns:
        Codes, (B, D); the frequencies fall from 1 to 1/10000 in a geometric sequence.

    Source:
        Ho, Jain and Abbeel, Denoising diffusion probabilistic models, NeurIPS 2020; the scale of
        1000 is that of Popov et al., Grad-TTS, ICML 2021.
    """
    t = t.to(torch.promote_types(t.dtype, torch.float32))
    steps = torch.linspace(0, 1, dim // 2, dtype=t.dtype, device=t.device)
    angles = 1000 * t[:, None] * torch.exp(-math.log(10000) * steps)
    return torch.cat([angles.sin(), angles.cos()], 1)


def keep(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x`` with zeros at padding, in its own precision."""
    return x if mask is None else x * mask.to(x.dtype)


def group_norm(norm: nn.GroupNorm, x: Tensor, mask: Tensor | None) -> Tensor:
    """Group norm whose mean and variance count the valid frames only.

    The statistics are taken in float32 at least, also under autocast.

    Args:
        norm: Number of groups, scale and shift of each channel.
        x: Images, (B, C, M, T).
        mask: 1 at valid frames, (B, 1, 1, T); ``None`` makes this torch's group norm.

    Returns:
        (B, C, M, T) in the precision of ``x``; padding holds the shift.
    """
    if mask is None:
        return norm(x).to(x.dtype)
    h = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(1, (norm.num_groups, -1))
    valid = mask[:, None].to(h.dtype)  # (B, 1, 1, 1, T)
    count = valid.sum(4, keepdim=True).clamp(min=1) * math.prod(h.shape[2:4])
    mean = (h * valid).sum((2, 3, 4), keepdim=True) / count
    centred = (h - mean) * valid
    variance = centred.square().sum((2, 3, 4), keepdim=True) / count
    h = (centred * (variance + norm.eps).rsqrt()).flatten(1, 2)
    return (h * norm.weight[:, None, None] + norm.bias[:, None, None]).to(x.dtype)


class Block(nn.Module):
    """Convolution of 3 x 3, group norm and Mish.

    Args:
        in_dim: Channels of the input.
        out_dim: Channels of the output, a multiple of 8.
        masked: Whether padding stays out of the norm.
    """

    def __init__(self, in_dim: int, out_dim: int, masked: bool = True) -> None:
        super().__init__()
        self.masked = masked
        self.conv = nn.Conv2d(in_dim, out_dim, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, out_dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, C, M, T) to (B, C', M, T), with zeros at padding."""
        h = group_norm(self.norm, self.conv(keep(x, mask)), mask if self.masked else None)
        return keep(F.mish(h), mask)


class ResnetBlock(nn.Module):
    """Two blocks with the time added between them, and a way round them.

    Args:
        in_dim: Channels of the input.
        out_dim: Channels of the output, a multiple of 8.
        time_dim: Size D of the time embedding.
        masked: Whether padding stays out of the norms.
    """

    def __init__(self, in_dim: int, out_dim: int, time_dim: int, masked: bool = True) -> None:
        super().__init__()
        self.time = nn.Linear(time_dim, out_dim)
        self.first = Block(in_dim, out_dim, masked)
        self.second = Block(out_dim, out_dim, masked)
        self.skip = nn.Conv2d(in_dim, out_dim, 1) if in_dim != out_dim else nn.Identity()

    def forward(self, x: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, C, M, T) at the time embedding (B, D) to (B, C', M, T)."""
        h = self.first(x, mask) + self.time(F.mish(time))[:, :, None, None]
        return self.second(h, mask) + self.skip(keep(x, mask))


class LinearAttention(nn.Module):
    """Residual attention of every pixel to every pixel, at a cost linear in their number.

    Keys are normalised over the pixels and summed up with their values into one small matrix per
    head, which the queries read. The residual starts at zero (Bachlechner et al., ReZero, UAI
    2021).

    Args:
        dim: Channels C.
        heads: Number of heads.
        head_dim: Size of each head.
        masked: Whether padding stays out of the sums.

    Source:
        Shen et al., Efficient attention: attention with linear complexities, WACV 2021; without a
        softmax over the queries, as in Grad-TTS.
    """

    def __init__(self, dim: int, heads: int = 4, head_dim: int = 32, masked: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.masked = masked
        self.qkv = nn.Conv2d(dim, 3 * heads * head_dim, 1, bias=False)
        self.out = nn.Conv2d(heads * head_dim, dim, 1)
        # Without a dimension: times a bfloat16 image it stays bfloat16.
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, C, M, T) to (B, C, M, T)."""
        qkv = self.qkv(x)
        q, k, v = qkv.flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)  # (B, H, D, M * T)
        k = k.to(torch.promote_types(k.dtype, torch.float32))
        if mask is not None and self.masked:
            padding = mask.expand(-1, -1, x.shape[2], -1).flatten(2)[:, None] == 0
            k = k.masked_fill(padding, torch.finfo(k.dtype).min)
        context = v @ k.softmax(3).to(v.dtype).transpose(2, 3)  # (B, H, D of v, D of k)
        out = (context @ q).flatten(1, 2).unflatten(2, x.shape[2:])
        return x + self.gain * self.out(out)


class Stage(nn.Module):
    """What happens at one resolution: two residual blocks and attention.

    Args:
        in_dim: Channels of the input.
        out_dim: Channels of the output, a multiple of 8.
        time_dim: Size D of the time embedding.
        masked: Whether padding stays out of norms and attention.
    """

    def __init__(self, in_dim: int, out_dim: int, time_dim: int, masked: bool = True) -> None:
        super().__init__()
        self.first = ResnetBlock(in_dim, out_dim, time_dim, masked)
        self.second = ResnetBlock(out_dim, out_dim, time_dim, masked)
        self.attention = LinearAttention(out_dim, masked=masked)

    def forward(self, x: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, C, M, T) at the time embedding (B, D) to (B, C', M, T)."""
        return self.attention(self.second(self.first(x, time, mask), time, mask), mask)
