"""Layers that leave padding out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def instance_norm(x: Tensor, mask: Tensor) -> Tensor:
    """Zero mean and unit variance of each channel (B, C, T) over the valid frames, 0 elsewhere.

    Args:
        x: Values, (B, C, T).
        mask: 1 at valid frames, (B, 1, T).
    """
    count = mask.sum(2, keepdim=True).clamp(min=1)
    mean = (x * mask).sum(2, keepdim=True) / count
    centred = (x - mean) * mask
    variance = centred.square().sum(2, keepdim=True) / count
    return centred * (variance + 1e-5).rsqrt()


class InstanceNormBlock(nn.Module):
    """Residual block of two convolutions with instance normalisation, without learned scales.

    Args:
        dim: Channels.
        kernel: Kernel size.
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(dim, dim, kernel, padding="same") for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T); ``mask`` is (B, 1, T)."""
        h = x
        for conv in self.convs:
            h = instance_norm(conv(h), mask).relu()
        return x + h


class FilmBlock(nn.Module):
    """Residual block of two dilated convolutions, steered by a condition.

    The channels of each frame are normalised, then scaled and shifted by linear functions of the
    condition (Perez, Strub, de Vries, Dumoulin and Courville, FiLM, AAAI 2018).

    Args:
        dim: Channels.
        condition_dim: Size of the condition.
        kernel: Kernel size.
        dilation: Dilation of the first convolution.
    """

    def __init__(self, dim: int, condition_dim: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(dim, dim, kernel, dilation=dilation, padding="same")
        self.second = nn.Conv1d(dim, dim, kernel, padding="same")
        self.film = nn.Linear(condition_dim, 2 * dim)

    def forward(self, x: Tensor, condition: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, T) under condition (B, D) to (B, C, T); ``mask`` is (B, 1, T)."""
        scale, shift = self.film(condition)[:, :, None].chunk(2, dim=1)
        h = channel_norm(x) * (1 + scale) + shift
        h = self.first(h.relu() * mask)
        h = self.second(channel_norm(h).relu() * mask)
        return x + h * mask


def channel_norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the channels of each frame of (B, C, T)."""
    return F.layer_norm(x.transpose(1, 2), x.shape[1:2]).transpose(1, 2)


class PostNet(nn.Module):
    """Five convolutions that refine a mel (Shen et al., Tacotron 2, ICASSP 2018).

    Args:
        n_mels: Mel bands M.
        dim: Channels inside.
        kernel: Kernel size.
        n_layers: Convolutions.
    """

    def __init__(self, n_mels: int, dim: int, kernel: int = 5, n_layers: int = 5) -> None:
        super().__init__()
        widths = [n_mels, *[dim] * (n_layers - 1), n_mels]
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, kernel, padding="same")
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        )

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Residual (B, M, T) of a mel (B, M, T); ``mask`` is (B, 1, T)."""
        h = mel * mask
        for conv in self.convs[:-1]:
            h = conv(h).tanh() * mask
        return self.convs[-1](h) * mask


class BiGRU(nn.Module):
    """GRU in both directions over padded utterances; the backward one begins at the last frame.

    Two one-way GRUs, as packing would make a GPU wait for the lengths.

    Args:
        in_dim: Size of the input.
        dim: Size of each direction.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.forwards = nn.GRU(in_dim, dim, batch_first=True)
        self.backwards = nn.GRU(in_dim, dim, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, T) to (B, 2 * dim, T); ``mask`` is (B, 1, T)."""
        steps = torch.arange(x.shape[2], device=x.device)
        frames = mask[:, 0].sum(1, keepdim=True).long()
        turned = torch.where(steps < frames, frames - 1 - steps, steps)[:, :, None]  # (B, T, 1)
        rows = x.transpose(1, 2)
        ahead = self.forwards(rows)[0]
        back = self.backwards(rows.gather(1, turned.expand_as(rows)))[0]
        back = back.gather(1, turned.expand_as(back))
        return torch.cat([ahead, back], 2).transpose(1, 2) * mask


class _Reverse(torch.autograd.Function):
    """Identity whose gradient is turned round."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradient, None  # type: ignore[attr-defined]


def reverse_gradient(x: Tensor, scale: float = 1.0) -> Tensor:
    """The same values; gradients come back times ``-scale`` (Ganin and Lempitsky, ICML 2015)."""
    return _Reverse.apply(x, scale)
