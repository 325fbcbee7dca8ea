"""What the emotion encoder looks at: the levelled log-mel, and how periodic speech is."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.audio import LogMel

LEVEL_RANGE = 4.5  # nepers below the loudest frames that still count as speech
CONTRAST = 2.5  # typical spread of the log-mel, brought to 1
PERIODICITY = 2.0  # the typical spread of the autocorrelation is its inverse
QUIET = 1e-5  # energy of a frame below which it counts as aperiodic


class SpeechImages(nn.Module):
    """Two images of speech, independent of its level.

    The first is the log-mel minus its mean over the frames of speech. The second shows the pitch:
    the normalised autocorrelation of every second frame, at half the rate, at lags from 1/60 to
    1/600 s, evenly spaced in octaves, with the window's own decay divided out (Boersma, "Accurate
    short-term analysis of the fundamental frequency", 1993).

    Args:
        frontend: The log-mel; its frames are those of both images.
        lowest_hz: Frequency of the longest lag.
        highest_hz: Frequency of the shortest.
    """

    VERSION = 1  # counts up when the values change, so that stored ones are not mixed

    def __init__(
        self, frontend: LogMel, lowest_hz: float = 60.0, highest_hz: float = 600.0
    ) -> None:
        super().__init__()
        self.frontend = frontend
        n = frontend.n_mels
        octaves = torch.linspace(0, 1, n, dtype=torch.float64)
        hz = lowest_hz * (highest_hz / lowest_hz) ** octaves
        lag = frontend.sample_rate / 2 / hz
        self.below: Tensor
        self.share: Tensor
        self.decay: Tensor
        self.register_buffer("below", lag.floor().long(), persistent=False)
        self.register_buffer("share", (lag - lag.floor()).float(), persistent=False)
        self.window: Tensor
        window = torch.hann_window(frontend.n_fft // 2)
        self.register_buffer("window", window, persistent=False)
        decay = _autocorrelation(window)
        self.register_buffer("decay", (decay / decay[0]).clamp(min=0.1), persistent=False)

    def forward(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 2, M, T) and mask (B, T) of waveforms (B, N) with ``lengths`` (B,).

        The mask is 1 on frames of speech: those not far below the loudest, so that pauses and
        silence around the words don't count. Frames that look past the end of their utterance
        don't either, so that padding changes nothing.
        """
        keep = torch.arange(wav.shape[1], device=wav.device) < lengths[:, None]
        wav = torch.where(keep, wav, 0.0).float()
        mel = self.frontend(wav)
        inside = self.frontend.mask((lengths - self.frontend.pad).clamp(min=1), mel.shape[2])
        inside[:, 0] = 1  # of what is shorter than a window
        loudness = mel.mean(1)
        loudest = loudness.masked_fill(inside == 0, float("-inf")).amax(1, keepdim=True)
        mask = inside * (loudness > loudest - LEVEL_RANGE)
        level = (loudness * mask).sum(1) / mask.sum(1)
        levelled = (mel - level[:, None, None]) / CONTRAST
        images = torch.stack([levelled, self._periodicity(wav)], 1)
        return images * mask[:, None, None], mask

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def _periodicity(self, wav: Tensor) -> Tensor:
        """Normalised autocorrelation at the lags, (B, M, T)."""
        f = self.frontend
        padded = F.pad(wav[:, None], (f.pad, f.pad), mode="reflect")
        n_frames = (padded.shape[2] - f.n_fft) // f.hop_length + 1
        halved = F.avg_pool1d(padded, 2)[:, 0]
        frames = halved.unfold(1, f.n_fft // 2, f.hop_length) * self.window
        lags = _autocorrelation(frames)
        lags = lags / (lags[..., :1] + QUIET) / self.decay
        values = torch.lerp(lags[..., self.below], lags[..., self.below + 1], self.share)
        return PERIODICITY * values.repeat_interleave(2, 1)[:, :n_frames].transpose(1, 2)


def _autocorrelation(frames: Tensor) -> Tensor:
    """Autocorrelation at lags 0 to N - 1 of frames (..., N)."""
    n = frames.shape[-1]
    spectrum = torch.fft.rfft(frames, 2 * n)
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.fft.irfft(power, 2 * n)[..., :n]
