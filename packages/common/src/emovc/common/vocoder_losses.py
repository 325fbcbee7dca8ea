"""Losses of HiFi-GAN, computed in float32 also under autocast.

Source: Kong, Kim and Bae, "HiFi-GAN", NeurIPS 2020, equations 1 to 4; the least-squares GAN is
Mao et al., ICCV 2017.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """How far real scores are from 1 and generated ones from 0 (equation 1).

    Args:
        real: Scores of real waveforms, one tensor per discriminator.
        fake: Those of generated ones.

    Returns:
        Sum over the discriminators of the mean squares.
    """
    terms = [
        (1 - r.float()).square().mean() + f.float().square().mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).sum()


def adversarial_loss(fake: Sequence[Tensor]) -> Tensor:
    """How far the scores of generated waveforms are from 1 (equation 2).

    Args:
        fake: Scores, one tensor per discriminator.

    Returns:
        Sum over the discriminators of the mean squares.
    """
    return torch.stack([(1 - f.float()).square().mean() for f in fake]).sum()


def feature_matching_loss(
    real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]
) -> Tensor:
    """Distance of what the discriminators' layers give (equation 4, without its weight of 2).

    Args:
        real: Features of real waveforms, per discriminator and layer; no gradient goes there.
        fake: Those of generated ones.

    Returns:
        Sum over discriminators and layers of the mean absolute differences.
    """
    terms = [
        (r.detach().float() - f.float()).abs().mean()
        for reals, fakes in zip(real, fake, strict=True)
        for r, f in zip(reals, fakes, strict=True)
    ]
    return torch.stack(terms).sum()


def mel_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean absolute difference of log-mels (B, M, T) (equation 3, without its weight of 45)."""
    return (real.float() - fake.float()).abs().mean()
