"""HiFi-GAN's discriminators, which judge waveforms folded to periods and at several scales.

Source: Kong, Kim and Bae, "HiFi-GAN", NeurIPS 2020, section 2.3, and the authors' code, whose names
of weights these have. The discriminators of spectrograms are those of UnivNet (Jang et al.,
Interspeech 2021): they cost a tenth of those of several scales.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.normalisation import spectral_norm, weight_norm

SLOPE = 0.1  # of the leaky ReLUs
QUIET = 1e-3  # added to magnitudes before the logarithm: what is below counts as silence


class Judgement(NamedTuple):
    """What the discriminators say of a batch.

    Attributes:
        scores: Realness, one tensor (B, S) per discriminator; 1 = real.
        features: What each of its layers gives, the last one included, per discriminator.
    """

    scores: list[Tensor]
    features: list[list[Tensor]]


class PeriodDiscriminator(nn.Module):
    """Convolutions over every ``period``-th sample.

    Args:
        period: Period in samples.
        channels: Width of each convolution but the last; all of them but the last have stride 3.
    """

    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        strides = [3] * (len(channels) - 1) + [1]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(n_in, n_out, (5, 1), (stride, 1), padding=(2, 0)))
            for (n_in, n_out), stride in zip(pairwise([1, *channels]), strides, strict=True)
        )
        self.conv_post = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wav: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score (B, S) and features of waveforms (B, N)."""
        missing = -wav.shape[1] % self.period
        x = F.pad(wav[:, None], (0, missing), mode="reflect")
        x = x.unflatten(2, (-1, self.period))  # (B, 1, N / P, P)
        return _judge(x, self.convs, self.conv_post)


class ScaleDiscriminator(nn.Module):
    """Grouped convolutions over the waveform.

    Args:
        channels: Width of each convolution but the last, seven.
        groups: Groups of each.
        spectral: Spectral norm in place of weight norm.
    """

    KERNELS = (15, 41, 41, 41, 41, 41, 5)
    STRIDES = (1, 2, 2, 4, 4, 1, 1)

    def __init__(self, channels: Sequence[int], groups: Sequence[int], spectral: bool) -> None:
        super().__init__()
        norm = spectral_norm if spectral else weight_norm
        self.convs = nn.ModuleList(
            norm(nn.Conv1d(*pair, kernel, stride, padding=kernel // 2, groups=n))
            for pair, kernel, stride, n in zip(
                pairwise([1, *channels]), self.KERNELS, self.STRIDES, groups, strict=True
            )
        )
        self.conv_post = norm(nn.Conv1d(channels[-1], 1, 3, padding=1))

    def forward(self, wav: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score (B, S) and features of waveforms (B, N)."""
        return _judge(wav[:, None], self.convs, self.conv_post)


class SpectrogramDiscriminator(nn.Module):
    """Convolutions over a log-magnitude spectrogram, halving its frequencies three times.

    Args:
        n_fft: Window and FFT size in samples; the hop is a quarter of it.
        channels: Width of each convolution but the last.
    """

    def __init__(self, n_fft: int, channels: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        strides = ((2, 1), (2, 1), (2, 1), (1, 1))
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(n_in, channels, (9, 3), stride, padding=(4, 1)))
            for n_in, stride in zip((1, *[channels] * 3), strides, strict=True)
        )
        self.conv_post = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, wav: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score (B, S) and features of waveforms (B, N)."""
        with torch.autocast(wav.device.type, enabled=False):
            spec = torch.stft(
                wav.float(), self.n_fft, self.n_fft // 4, window=self.window, return_complex=True
            )
            # Not abs(): its gradient is undefined where both parts are zero.
            power = spec.real.square() + spec.imag.square()
            image = ((power + 1e-12).sqrt() + QUIET).log()
        return _judge(image[:, None], self.convs, self.conv_post)


class MultiResolutionDiscriminator(nn.Module):
    """One discriminator per resolution of the spectrogram.

    Args:
        n_ffts: Window of each in samples.
        channels: Width of each, see :class:`SpectrogramDiscriminator`.
    """

    def __init__(self, n_ffts: Sequence[int], channels: int) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(SpectrogramDiscriminator(n, channels) for n in n_ffts)

    def forward(self, wav: Tensor) -> Judgement:
        """Judge waveforms (B, N)."""
        judged = [discriminator(wav) for discriminator in self.discriminators]
        return Judgement([score for score, _ in judged], [features for _, features in judged])


class MultiPeriodDiscriminator(nn.Module):
    """One discriminator per period.

    Args:
        periods: Periods in samples; primes, so that they overlap little.
        channels: Widths of each, see :class:`PeriodDiscriminator`.
    """

    def __init__(self, periods: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(PeriodDiscriminator(p, channels) for p in periods)

    def forward(self, wav: Tensor) -> Judgement:
        """Judge waveforms (B, N)."""
        judged = [discriminator(wav) for discriminator in self.discriminators]
        return Judgement([score for score, _ in judged], [features for _, features in judged])


class MultiScaleDiscriminator(nn.Module):
    """Three discriminators: of the waveform, and of it averaged down once and twice.

    Args:
        channels: Widths of each, see :class:`ScaleDiscriminator`.
        groups: Groups of their convolutions.
    """

    def __init__(self, channels: Sequence[int], groups: Sequence[int]) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            ScaleDiscriminator(channels, groups, spectral) for spectral in (True, False, False)
        )

    def forward(self, wav: Tensor) -> Judgement:
        """Judge waveforms (B, N)."""
        judged = []
        for i, discriminator in enumerate(self.discriminators):
            if i:
                wav = F.avg_pool1d(wav[:, None], 4, 2, padding=2)[:, 0]
            judged.append(discriminator(wav))
        return Judgement([score for score, _ in judged], [features for _, features in judged])


class Discriminator(nn.Module):
    """The discriminators that a HiFi-GAN is trained against; 70.7 M parameters by default.

    ``mpd`` and ``msd`` take the weights of those names in the official checkpoints ``do_*``.

    Args:
        periods: Periods in samples that the waveform is folded to; none leaves them out.
        period_channels: Widths of a :class:`PeriodDiscriminator`.
        scale_channels: Widths of a :class:`ScaleDiscriminator`; none leaves them out.
        scale_groups: Groups of its convolutions.
        n_ffts: Windows of the :class:`SpectrogramDiscriminator` in samples; officially none.
        spectrogram_channels: Their width.

    Raises:
        UserError: All are left out.
    """

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        period_channels: Sequence[int] = (32, 128, 512, 1024, 1024),
        scale_channels: Sequence[int] = (128, 128, 256, 512, 1024, 1024, 1024),
        scale_groups: Sequence[int] = (1, 4, 16, 16, 16, 16, 1),
        n_ffts: Sequence[int] = (),
        spectrogram_channels: int = 16,
    ) -> None:
        super().__init__()
        self.settings = {
            "periods": list(periods),
            "period_channels": list(period_channels),
            "scale_channels": list(scale_channels),
            "scale_groups": list(scale_groups),
            "n_ffts": list(n_ffts),
            "spectrogram_channels": spectrogram_channels,
        }
        self.mpd = MultiPeriodDiscriminator(periods, period_channels) if periods else None
        self.msd = MultiScaleDiscriminator(scale_channels, scale_groups) if scale_channels else None
        self.mrd = MultiResolutionDiscriminator(n_ffts, spectrogram_channels) if n_ffts else None
        if not (periods or scale_channels or n_ffts):
            raise UserError("Discriminator: give periods, scale_channels or n_ffts; all are empty")

    @property
    def description(self) -> dict[str, Any]:
        """The constructor call, as ``class_path`` and ``init_args``."""
        path = "emovc.common.discriminators.Discriminator"
        return {"class_path": path, "init_args": self.settings}

    def forward(self, wav: Tensor) -> Judgement:
        """Judge waveforms (B, N)."""
        judged = [part(wav) for part in (self.mpd, self.msd, self.mrd) if part is not None]
        return Judgement(
            [score for each in judged for score in each.scores],
            [features for each in judged for features in each.features],
        )


def _judge(x: Tensor, convs: nn.ModuleList, last: nn.Module) -> tuple[Tensor, list[Tensor]]:
    """Score (B, S) and features of an input of any shape (B, C, ...)."""
    features = []
    for conv in convs:
        x = F.leaky_relu(conv(x), SLOPE)
        features.append(x)
    x = last(x)
    features.append(x)
    return x.flatten(1), features
