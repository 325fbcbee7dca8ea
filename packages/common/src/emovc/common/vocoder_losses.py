"""Losses of HiFi-GAN, computed in float32 also under autocast.

Source: Kong, Kim and Bae, "HiFi-GAN", NeurIPS 2020, equations 1 to 4; the least-squares GAN is
Mao et al., ICCV 2017. The STFT loss is not part of HiFi-GAN.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

RESOLUTIONS = (512, 1024, 2048)  # windows of the STFT loss in samples; hops are a quarter
QUIET = 1e-3  # added to magnitudes before the logarithm


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


def stft_loss(real: Tensor, fake: Tensor, n_ffts: Sequence[int] = RESOLUTIONS) -> Tensor:
    """Distance of the magnitudes of waveforms (B, N) at several resolutions.

    Spectral convergence plus the mean absolute difference of log-magnitudes, averaged over the
    resolutions. The former is of the whole batch: of a crop of silence alone it would be without
    bound. Source: Yamamoto, Song and Kim, "Parallel WaveGAN", ICASSP 2020, equations 4 to 6.

    Args:
        real: Real waveforms.
        fake: Generated ones.
        n_ffts: Windows in samples; hops are a quarter of them.
    """
    terms = []
    for n_fft in n_ffts:
        wanted, found = _magnitudes(real, n_fft), _magnitudes(fake, n_fft)
        terms.append((wanted - found).norm() / wanted.norm().clamp(min=1e-3))
        terms.append(((wanted + QUIET).log() - (found + QUIET).log()).abs().mean())
    return torch.stack(terms).sum() / len(n_ffts)


def _magnitudes(wav: Tensor, n_fft: int) -> Tensor:
    """Magnitudes (B, F, T) of waveforms (B, N), with a gradient at silence."""
    window = torch.hann_window(n_fft, device=wav.device)
    spec = torch.stft(wav.float(), n_fft, n_fft // 4, window=window, return_complex=True)
    return (spec.real.square() + spec.imag.square() + 1e-12).sqrt()
