"""Quantised F0, the input of the pitch encoder.

Source: SpeechSplit's official code. ln F0 is normalised by the speaker's mean and four standard
deviations to [0, 1] and quantised in 256 steps; bin 0 is unvoiced.
"""

import torch
from torch import Tensor


def normalise_f0(f0_hz: Tensor, statistics: Tensor) -> Tensor:
    """Normalise F0 to [0, 1] with the speaker's mean at 0.5 and 4 standard deviations either way.

    Args:
        f0_hz: F0 in Hz, 0 = unvoiced, (B, T).
        statistics: Mean and standard deviation of ln F0, (B, 2).

    Returns:
        Normalised F0, (B, T); -1 where unvoiced.
    """
    mean, std = statistics[:, :1], statistics[:, 1:]
    z = (f0_hz.clamp(min=1.0).log() - mean) / (4 * std)
    return torch.where(f0_hz > 0, (z.clamp(-1, 1) + 1) / 2, -1.0)


def f0_bins(normalised: Tensor, n_bins: int = 257) -> Tensor:
    """Bins (B, T) of normalised F0: 0 is unvoiced, 1 to ``n_bins - 1`` rise with F0.

    A value of exactly 0, four standard deviations below the mean, counts as unvoiced as in the
    original.
    """
    steps = (normalised * (n_bins - 2)).round().long() + 1
    return torch.where(normalised > 0, steps, 0)


def f0_input(normalised: Tensor, n_bins: int = 257) -> Tensor:
    """What the pitch encoder hears: one-hot bins (B, n_bins, T) of normalised F0 (B, T)."""
    return f0_one_hot(f0_bins(normalised, n_bins), n_bins)


def f0_one_hot(bins: Tensor, n_bins: int = 257) -> Tensor:
    """One-hot bins, (B, n_bins, T), float32."""
    return torch.nn.functional.one_hot(bins, n_bins).transpose(1, 2).float()
