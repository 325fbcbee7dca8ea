"""HiFi-GAN's residual blocks, and the arithmetic of its layers."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.normalisation import weight_norm

SLOPE = 0.1  # of the leaky ReLUs


class ResBlock1(nn.Module):
    """Residual block of V1 and V2: each dilated convolution is followed by a plain one.

    Args:
        channels: Width C.
        kernel: Kernel size, odd.
        dilations: Dilation of each pair.
    """

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_conv(channels, kernel, d) for d in dilations)
        self.convs2 = nn.ModuleList(_conv(channels, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, T), or (B, C, 1, T) of :func:`by_channels`."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            y = convolve(dilated, F.leaky_relu(x, SLOPE))
            x = x + convolve(plain, F.leaky_relu(y, SLOPE))
        return x


class ResBlock2(nn.Module):
    """Residual block of V3: dilated convolutions only.

    Args:
        channels: Width C.
        kernel: Kernel size, odd.
        dilations: Dilation of each.
    """

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv(channels, kernel, d) for d in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, T), or (B, C, 1, T) of :func:`by_channels`."""
        for dilated in self.convs:
            x = x + convolve(dilated, F.leaky_relu(x, SLOPE))
        return x


def by_channels(x: Tensor) -> Tensor:
    """Lay out (B, C, T) as the device convolves it fastest.

    On a CPU these are images (B, C, 1, T) whose channels lie side by side in memory: narrow
    convolutions take half of the time so. PyTorch keeps this layout for images only.
    """
    if x.device.type != "cpu":
        return x
    return x[:, :, None].contiguous(memory_format=torch.channels_last)


def convolve(layer: Any, x: Tensor) -> Tensor:
    """Apply a convolution over time to (B, C, T), or to (B, C, 1, T), see :func:`by_channels`.

    Args:
        layer: ``Conv1d`` or ``ConvTranspose1d`` without groups, zero padded.
        x: Its input.
    """
    if x.dim() == 3:
        convolved: Tensor = layer(x)
        return convolved
    weight, stride = layer.weight[:, :, None], (1, *layer.stride)
    padding = (0, *layer.padding)
    if isinstance(layer, nn.ConvTranspose1d):
        x = F.conv_transpose2d(x, weight, layer.bias, stride, padding)
        return x.contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, weight, layer.bias, stride, padding, (1, *layer.dilation))


def check_architecture(settings: dict[str, Any], hop_length: int) -> None:
    """Refuse sizes that make no network, or one that gives not one hop of samples per frame.

    Args:
        settings: Arguments of :class:`~emovc.common.vocoder.HiFiGAN`.
        hop_length: Samples between the mel's frames.

    Raises:
        UserError: They do.
    """
    rates, kernels = settings["upsample_rates"], settings["upsample_kernel_sizes"]
    block_kernels = settings["resblock_kernel_sizes"]
    problem = None
    if settings["resblock"] not in ("1", "2"):
        problem = f"resblock is {settings['resblock']!r}; it must be '1' or '2'"
    elif len(rates) != len(kernels):
        problem = "upsample_rates and upsample_kernel_sizes must be equally long"
    elif len(block_kernels) != len(settings["resblock_dilation_sizes"]):
        problem = "resblock_kernel_sizes and resblock_dilation_sizes must be equally long"
    elif any(k < r or (k - r) % 2 for r, k in zip(rates, kernels, strict=True)):
        problem = "upsample_kernel_sizes must exceed upsample_rates by even numbers"
    elif any(kernel % 2 == 0 for kernel in block_kernels):
        problem = "resblock_kernel_sizes must be odd"
    elif settings["upsample_initial_channel"] % 2 ** len(rates):
        problem = f"upsample_initial_channel must be a multiple of {2 ** len(rates)}"
    elif math.prod(rates) != hop_length:
        problem = (
            f"upsample_rates multiply to {math.prod(rates)}, but the mel's hop is {hop_length};"
            " make them equal"
        )
    if problem:
        raise UserError(f"HiFiGAN: {problem}")


def margin_frames(settings: dict[str, Any]) -> int:
    """Frames to each side of its own that a sample of the generator depends on.

    Args:
        settings: Arguments of :class:`~emovc.common.vocoder.HiFiGAN`.
    """
    extra = 1 if settings["resblock"] == "1" else 0  # the plain convolutions
    blocks = zip(
        settings["resblock_kernel_sizes"], settings["resblock_dilation_sizes"], strict=True
    )
    block = max(sum((d + extra) * (kernel // 2) for d in sizes) for kernel, sizes in blocks)
    stages = zip(settings["upsample_rates"], settings["upsample_kernel_sizes"], strict=True)
    reach = 3  # of the last convolution; from there to the first
    for rate, kernel in reversed(list(stages)):
        padding = (kernel - rate) // 2
        # Output j of a transposed convolution hears inputs (j + padding - [0, kernel)) / rate.
        left = (reach + block + kernel - 1 - padding) // rate
        right = (reach + block + padding + rate - 1) // rate
        reach = max(left, right)
    return reach + 3


def _conv(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    """A convolution that keeps width and length."""
    padding = dilation * (kernel // 2)
    return weight_norm(nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation))
