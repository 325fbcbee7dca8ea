"""Layers of the score network: images (B, C, M, T) whose padded frames change no result.

``mask`` is 1 at valid frames, (B, 1, 1, T), or ``None`` where there is no padding; the latter is
the fast way, as nothing is multiplied and torch's own group norm runs.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.precision import single

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
    t = single(t)
    steps = torch.linspace(0, 1, dim // 2, dtype=t.dtype, device=t.device)
    angles = 1000 * t[:, None] * torch.exp(-math.log(10000) * steps)
    return torch.cat([angles.sin(), angles.cos()], 1)


def keep(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x`` with zeros at padding, in its own precision."""
    return x if mask is None else x * mask.to(x.dtype)


def mish(x: Tensor) -> Tensor:
    """Mish, x tanh(log(1 + e^x)), which torch computes three times as slowly on a CPU.

    Source:
        Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.
    """
    if not x.is_cpu or torch.is_grad_enabled() or x.dtype != torch.float32:
        return F.mish(x)
    # With e = e^x it is x (e^2 + 2 e) / (e^2 + 2 e + 2); beyond 20 the fraction is 1, and no
    # square overflows.
    e = x.clamp(max=20).exp_()
    n = (e + 2).mul_(e)
    return n.div_(n + 2).mul_(x)


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
    h = single(x)
    valid = mask[:, 0].to(h.dtype)  # (B, 1, T)
    size = h.shape[1] // norm.num_groups
    count = valid.sum((1, 2)).clamp(min=1)[:, None] * h.shape[2] * size

    def mean(image: Tensor) -> Tensor:
        """Mean of each group, at each of its channels (B, C); bands first, then valid frames."""
        sums = (image.sum(2) * valid).sum(2).unflatten(1, (norm.num_groups, -1)).sum(2)
        return (sums / count).repeat_interleave(size, 1)

    # Mean of squares less square of the mean would cost a pass less, and lose what is small beside
    # the mean: the condition alone gives first layers a mean of many deviations.
    h = h - mean(h)[..., None, None]
    scale = norm.weight * (mean(h.square()) + norm.eps).rsqrt()
    return torch.addcmul(norm.bias[:, None, None], h, scale[..., None, None]).to(x.dtype)


def conv_field(conv: nn.Conv2d, x: Tensor, field: Tensor | None, mask: Tensor | None) -> Tensor:
    """Convolution of images and a field: channels that are constant over an utterance.

    Equal to the convolution of both stacked, at the cost of the images: what a kernel makes of a
    constant depends on the edges it meets alone, which are the same in all rows but the first and
    the last.

    Args:
        conv: Convolution of 1 x 1, or 3 x 3 with padding, of C + F channels.
        x: Images, (B, C, M, T).
        field: The constants, (B, F); ``None`` for none.
        mask: 1 at valid frames, (B, 1, 1, T).

    Returns:
        (B, C', M, T).
    """
    if field is None:
        return conv(keep(x, mask))
    weight, n = conv.weight.to(x.dtype), x.shape[1]
    h = F.conv2d(keep(x, mask), weight[:, :n], conv.bias, padding=conv.padding)
    taps = torch.einsum("ocij,bc->boij", conv.weight[:, n:], field).to(h.dtype)
    frames = x.new_ones(1, x.shape[3]) if mask is None else mask[:, 0, 0].to(x.dtype)
    reach = taps.shape[3] // 2
    near = F.pad(frames, (reach, reach)).unfold(1, taps.shape[3], 1)  # (B or 1, T, J)
    along = taps @ near[:, None].transpose(2, 3).to(taps.dtype)  # (B, C', I, T)
    rows = F.pad(x.new_ones(x.shape[2]), (reach, reach)).unfold(0, taps.shape[2], 1)  # (M, I)
    return h + rows.to(h.dtype) @ along


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

    def forward(self, x: Tensor, mask: Tensor | None, field: Tensor | None = None) -> Tensor:
        """Map (B, C, M, T) and a field (B, F) to (B, C', M, T), with zeros at padding."""
        h = conv_field(self.conv, x, field, mask)
        h = group_norm(self.norm, h, mask if self.masked else None)
        return keep(mish(h), mask)


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
        self.skip = nn.Conv2d(in_dim, out_dim, 1) if in_dim != out_dim else None

    def forward(
        self, x: Tensor, time: Tensor, mask: Tensor | None, field: Tensor | None = None
    ) -> Tensor:
        """Map (B, C, M, T) and a field (B, F) at the time embedding (B, D) to (B, C', M, T)."""
        h = self.first(x, mask, field) + self.time(F.mish(time))[:, :, None, None]
        past = keep(x, mask) if self.skip is None else conv_field(self.skip, x, field, mask)
        return self.second(h, mask) + past


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
        pixels = x.flatten(2)  # (B, C, N)
        query, key, value = self.qkv.weight.flatten(1).unflatten(0, (3, self.heads, -1))
        k = key.flatten(0, 1).to(x.dtype) @ pixels
        k = single(k)
        if mask is not None and self.masked:
            padding = mask[:, 0].expand(-1, x.shape[2], -1).flatten(1)[:, None] == 0
            k = k.masked_fill(padding, torch.finfo(k.dtype).min)
        k = k.softmax(2).to(x.dtype).unflatten(1, (self.heads, -1))  # (B, H, D, N)
        out = self.out.weight.flatten(1).unflatten(1, (self.heads, -1)).transpose(0, 1)
        # All after the keys is linear in the pixels; the smaller of two orders is taken.
        read = pixels[:, None] @ k.transpose(2, 3)  # (B, H, C, D)
        write = out @ (value @ read)  # (B, H, C, D)
        if x.shape[1] <= 2 * self.qkv.out_channels // 3:
            mixed = (write @ query).sum(1).to(x.dtype) @ pixels
        else:
            q = query.flatten(0, 1).to(x.dtype) @ pixels
            mixed = write.transpose(1, 2).flatten(2).to(x.dtype) @ q
        bias = self.out.get_parameter("bias")
        return x + self.gain * (mixed + bias[:, None]).to(x.dtype).unflatten(2, x.shape[2:])


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

    def forward(
        self, x: Tensor, time: Tensor, mask: Tensor | None, field: Tensor | None = None
    ) -> Tensor:
        """Map (B, C, M, T) and a field (B, F) at the time embedding (B, D) to (B, C', M, T)."""
        h = self.second(self.first(x, time, mask, field), time, mask)
        return self.attention(h, mask)
