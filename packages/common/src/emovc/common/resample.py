"""A differentiable resampler for networks that listen at another rate than they are fed."""

import math

import torch
from torch import Tensor, nn


class Resample(nn.Module):
    """Band-limited resampling by a windowed sinc, as one strided convolution.

    Files are resampled by :func:`emovc.common.wav.resample`; this module is for waveforms that are
    already on a device, alone or in a padded batch. With rates in lowest terms p:q it computes q
    phases of the filter and strides by p (Smith, Digital Audio Resampling, 2002).

    Args:
        from_rate: Rate of the input in Hz.
        to_rate: Rate of the output in Hz.
        zeros: Zero crossings of the sinc kept on each side.
        rolloff: Cut-off as a share of the lower Nyquist frequency.
    """

    def __init__(
        self, from_rate: int, to_rate: int, zeros: int = 24, rolloff: float = 0.95
    ) -> None:
        super().__init__()
        divisor = math.gcd(from_rate, to_rate)
        self.step = from_rate // divisor
        self.phases = to_rate // divisor
        cutoff = min(self.step, self.phases) * rolloff / 2  # cycles per common period
        self.width = math.ceil(zeros / 2 * self.step / cutoff)
        taps = torch.arange(-self.width, self.width + self.step, dtype=torch.float64) / self.step
        time = taps - torch.arange(self.phases, dtype=torch.float64)[:, None] / self.phases
        window = torch.cos(math.pi / 2 * (2 * cutoff * time / zeros).clamp(-1, 1)).square()
        kernel = torch.sinc(2 * cutoff * time) * window * 2 * cutoff / self.step
        self.kernel: Tensor
        self.register_buffer("kernel", kernel[:, None].float(), persistent=False)

    def lengths(self, lengths: Tensor) -> Tensor:
        """Samples of the output for inputs of ``lengths`` samples, (B,), rounded up."""
        return (lengths * self.phases + self.step - 1).div(self.step, rounding_mode="floor")

    def forward(self, wav: Tensor) -> Tensor:
        """Resample waveforms (B, N) to (B, ceil(N * to_rate / from_rate))."""
        if self.step == self.phases:
            return wav
        padded = nn.functional.pad(wav, (self.width, self.width + self.step))
        out = nn.functional.conv1d(padded[:, None], self.kernel.to(wav.dtype), stride=self.step)
        n = -(-wav.shape[-1] * self.phases // self.step)
        return out.transpose(1, 2).flatten(1)[:, :n]  # (B, frames, phases) -> (B, N')
