"""Convolutions of the codec, whose lengths are exact: a stride divides them, nothing else does.

Source: Zeghidour et al., "SoundStream", IEEE/ACM TASLP 2021, section III-A and B.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.normalisation import weight_norm

Activation = Literal["elu", "snake"]
Conv = TypeVar("Conv", nn.Conv1d, nn.ConvTranspose1d)


class Snake(nn.Module):
    """x + sin(a x)^2 / a, with a learned frequency per channel, which favours periodic signals.

    Source: Ziyin, Hartwig and Ueda, "Neural networks fail to learn periodic functions and how to
    fix it", NeurIPS 2020, equation 3.

    Args:
        channels: Width C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, T)."""
        return x + (self.frequency * x).sin().square() / (self.frequency + 1e-9)


class Convolution(nn.Module):
    """A convolution that gives one frame per ``stride``: (B, C, T * stride) to (B, C', T).

    Args:
        n_in: Channels in.
        n_out: Channels out.
        kernel: Kernel size.
        stride: Stride.
        dilation: Dilation.
        causal: Look at no later sample.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int, dilation: int, causal: bool
    ) -> None:
        super().__init__()
        extra = (kernel - 1) * dilation + 1 - stride
        self.left = extra if causal else extra // 2
        self.right = extra - self.left
        conv = nn.Conv1d(n_in, n_out, kernel, stride, dilation=dilation)
        self.conv = weight_norm(_keep_variance(conv, n_in * kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, T * stride) to (B, C', T)."""
        return self.conv(F.pad(x, (self.left, self.right)))


class Upsampling(nn.Module):
    """A transposed convolution: (B, C, T) to (B, C', T * stride).

    Args:
        n_in: Channels in.
        n_out: Channels out.
        stride: Factor; the kernel is twice as long.
        causal: Look at no later frame.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, causal: bool) -> None:
        super().__init__()
        self.stride = stride
        self.left = 0 if causal else stride // 2
        conv = nn.ConvTranspose1d(n_in, n_out, 2 * stride, stride)
        self.conv = weight_norm(_keep_variance(conv, 2 * n_in))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, T) to (B, C', T * stride)."""
        return self.conv(x)[..., self.left : self.left + x.shape[2] * self.stride]


class ResidualUnit(nn.Module):
    """A dilated convolution and one of a single frame, beside the identity.

    Args:
        channels: Width C.
        kernel: Kernel size of the dilated one.
        dilation: Its dilation.
        causal: Look at no later frame.
        activation: Nonlinearity.
    """

    def __init__(
        self, channels: int, kernel: int, dilation: int, causal: bool, activation: Activation
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nonlinearity(activation, channels),
            Convolution(channels, channels, kernel, 1, dilation, causal),
            nonlinearity(activation, channels),
            Convolution(channels, channels, 1, 1, 1, causal),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, T)."""
        return x + self.block(x)


def nonlinearity(activation: Activation, channels: int) -> nn.Module:
    """A nonlinearity for (B, C, T)."""
    return Snake(channels) if activation == "snake" else nn.ELU()


def make_encoder(
    strides: Sequence[int],
    channels: Sequence[int],
    dim: int,
    kernel: int,
    dilations: Sequence[int],
    causal: bool,
    activation: Activation,
) -> nn.Sequential:
    """Layers from waveforms (B, 1, T * product of strides) to latents (B, D, T)."""
    layers: list[nn.Module] = [Convolution(1, channels[0], 7, 1, 1, causal)]
    for i, stride in enumerate(strides):
        n_in, n_out = channels[i], channels[i + 1]
        layers += [ResidualUnit(n_in, kernel, d, causal, activation) for d in dilations]
        layers.append(nonlinearity(activation, n_in))
        layers.append(Convolution(n_in, n_out, 2 * stride, stride, 1, causal))
    layers.append(nonlinearity(activation, channels[-1]))
    layers.append(Convolution(channels[-1], dim, 3, 1, 1, causal))
    return nn.Sequential(*layers)


def make_decoder(
    strides: Sequence[int],
    channels: Sequence[int],
    dim: int,
    kernel: int,
    dilations: Sequence[int],
    causal: bool,
    activation: Activation,
) -> nn.Sequential:
    """Layers from latents (B, D, T) to waveforms (B, 1, T * product of strides)."""
    layers: list[nn.Module] = [Convolution(dim, channels[-1], 7, 1, 1, causal)]
    for i in reversed(range(len(strides))):
        n_in, n_out = channels[i + 1], channels[i]
        layers.append(nonlinearity(activation, n_in))
        layers.append(Upsampling(n_in, n_out, strides[i], causal))
        layers += [ResidualUnit(n_out, kernel, d, causal, activation) for d in dilations]
    layers.append(nonlinearity(activation, channels[0]))
    layers.append(Convolution(channels[0], 1, 7, 1, 1, causal))
    return nn.Sequential(*layers)


def _keep_variance(conv: Conv, fan_in: int) -> Conv:
    """Initial weights that neither shrink nor blow up what passes, and no biases.

    With PyTorch's, a dozen layers shrink speech to nothing beside their biases, and hundreds of
    batches pass before latents depend on the waveform.
    """
    nn.init.normal_(conv.weight, std=fan_in**-0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
