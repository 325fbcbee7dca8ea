"""Waveform to log-mel spectrogram: the one feature definition every package shares."""

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.files import short_hash


def slaney_mel_filters(
    sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float
) -> np.ndarray:
    """Triangular filters on Slaney's mel scale, each of unit area.

    The scale is linear below 1 kHz (3 mel per 200 Hz) and logarithmic above (27 mel per factor of
    6.4); source: Slaney, Auditory Toolbox, 1998.

    Args:
        sample_rate: Sampling rate in Hz.
        n_fft: FFT size in samples.
        n_mels: Number of filters M.
        f_min: Lower edge of the first filter in Hz.
        f_max: Upper edge of the last filter in Hz.

    Returns:
        Weights, (M, n_fft // 2 + 1), float32.
    """
    step_hz, knee_hz, log_step = 200.0 / 3, 1000.0, math.log(6.4) / 27

    def to_mel(hz: float) -> float:
        if hz < knee_hz:
            return hz / step_hz
        return knee_hz / step_hz + math.log(hz / knee_hz) / log_step

    mels = np.linspace(to_mel(f_min), to_mel(f_max), n_mels + 2)
    above = np.maximum(mels - knee_hz / step_hz, 0.0)
    edges = np.where(above > 0, knee_hz * np.exp(log_step * above), step_hz * mels)
    freqs = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (freqs - lower) / (centre - lower)
    falling = (upper - freqs) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (upper - lower)).astype(np.float32)


class LogMel(nn.Module):
    """Log-mel spectrogram; the defaults are those of the official HiFi-GAN.

    ``N`` samples give ``(N + 2 * pad - n_fft) // hop_length + 1`` frames (``N // hop_length`` by
    default), and frame ``t`` is centred on sample ``t * hop_length + frame_centre``. Source of the
    default: Kong, Kim and Bae, HiFi-GAN, NeurIPS 2020, official code.

    Args:
        sample_rate: Sampling rate in Hz.
        n_fft: FFT size and window length in samples.
        hop_length: Samples between frames.
        n_mels: Number of mel bands M.
        f_min: Lower edge of the bands in Hz.
        f_max: Upper edge of the bands in Hz.
        pad: Samples added on each side.
        pad_mode: How they are made.
        log: Natural or decimal logarithm.
        floor: Smallest magnitude before the logarithm.
        power_floor: Added to the squared magnitude, so that its root has a gradient at zero.
    """

    def __init__(
        self,
        sample_rate: int = 22_050,
        n_fft: int = 1024,
        hop_length: int = 256,
        n_mels: int = 80,
        f_min: float = 0.0,
        f_max: float = 8_000.0,
        pad: int = 384,
        pad_mode: Literal["reflect", "constant"] = "reflect",
        log: Literal["ln", "log10"] = "ln",
        floor: float = 1e-5,
        power_floor: float = 1e-9,
    ) -> None:
        super().__init__()
        if f_max > sample_rate / 2:
            raise UserError(f"LogMel: f_max {f_max} Hz is above half of sample_rate {sample_rate}")
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.f_min = float(f_min)  # 0 and 0.0 must give the same mel_id
        self.f_max = float(f_max)
        self.pad = pad
        self.pad_mode = pad_mode
        self.log = log
        self.floor = float(floor)
        self.power_floor = float(power_floor)
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        filters = slaney_mel_filters(sample_rate, n_fft, n_mels, f_min, f_max)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    @classmethod
    def speecht5(cls) -> "LogMel":
        """The 16 kHz preset of GenerSpeech and of the public SpeechT5 HiFi-GAN.

        GenerSpeech pads with zeros; SpeechT5's own extractor reflects, which differs in the first
        and last frames only (papers: Huang et al., GenerSpeech, 2022; Ao et al., SpeechT5, 2022).
        """
        return cls(
            sample_rate=16_000,
            f_min=80.0,
            f_max=7_600.0,
            pad=512,
            pad_mode="constant",
            log="log10",
            floor=1e-10,
            power_floor=0.0,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor arguments."""
        names = "sample_rate n_fft hop_length n_mels f_min f_max pad pad_mode log floor power_floor"
        return {name: getattr(self, name) for name in names.split()}

    @property
    def mel_id(self) -> str:
        """Hash of the settings; it travels with checkpoints, features and vocoders."""
        return short_hash(self.settings)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def frame_centre(self) -> int:
        """Sample on which frame 0 is centred."""
        return self.n_fft // 2 - self.pad

    @property
    def log_floor(self) -> float:
        """Value of a frame of digital silence."""
        return math.log(self.floor) if self.log == "ln" else math.log10(self.floor)

    @property
    def log_ceiling(self) -> float:
        """Value that no waveform in [-1, 1] exceeds."""
        loudest = math.hypot(float(self.window.sum()), math.sqrt(self.power_floor))
        most = float(self.filters.sum(1).max()) * loudest
        return math.log(most) if self.log == "ln" else math.log10(most)

    def frames(self, lengths: Tensor) -> Tensor:
        """Number of frames of waveforms of ``lengths`` samples, (B,)."""
        count = (lengths + 2 * self.pad - self.n_fft).div(self.hop_length, rounding_mode="floor")
        return (count + 1).clamp(min=0)

    def mask(self, lengths: Tensor, n_frames: int) -> Tensor:
        """1 at valid frames and 0 at padding, (B, T), for waveforms of ``lengths`` samples (B,)."""
        steps = torch.arange(n_frames, device=lengths.device)
        return (steps < self.frames(lengths)[:, None]).float()

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, wav: Tensor) -> Tensor:
        """Map waveforms (B, N) in [-1, 1] to log-mels (B, M, T), in float32 also under autocast.

        Raises:
            UserError: ``N`` is too short for one frame.
        """
        if wav.shape[-1] <= self.pad or wav.shape[-1] + 2 * self.pad < self.n_fft:
            need = max(self.pad + 1, self.n_fft - 2 * self.pad) / self.sample_rate
            raise UserError(f"audio of {wav.shape[-1]} samples is too short: give {need:.3f} s")
        wav = wav if wav.dtype == torch.float64 else wav.float()
        padded = nn.functional.pad(wav[:, None], (self.pad, self.pad), mode=self.pad_mode)[:, 0]
        spec = torch.stft(
            padded,
            self.n_fft,
            self.hop_length,
            window=self.window.to(wav.dtype),
            center=False,
            return_complex=True,
        )  # (B, F, T)
        power = spec.real.square() + spec.imag.square()
        magnitude = (power + self.power_floor).sqrt()
        mel = (self.filters.to(wav.dtype) @ magnitude).clamp(min=self.floor)
        return mel.log() if self.log == "ln" else mel.log10()


def frame_levels_db(log_mel: Tensor, log: Literal["ln", "log10"] = "ln") -> Tensor:
    """Level of each frame in dB, up to a constant, (B, T), of log-mels (B, M, T).

    Args:
        log_mel: Logarithms of magnitudes.
        log: Their base.
    """
    natural = log_mel.float() if log == "ln" else log_mel.float() * math.log(10)
    return (2 * natural).logsumexp(1) * (10 / math.log(10))


def require_same_mel(mel: LogMel, other: dict[str, Any], owner: str) -> None:
    """Refuse a component made for another mel.

    Args:
        mel: The front end in use.
        other: Settings the component was made with.
        owner: What the component is, for the message.

    Raises:
        UserError: The settings differ; both are printed.
    """
    mine = mel.settings
    wrong = sorted(k for k in mine.keys() | other.keys() if mine.get(k) != other.get(k))
    if wrong:
        here = ", ".join(f"{k}={mine.get(k)}" for k in wrong)
        there = ", ".join(f"{k}={other.get(k)}" for k in wrong)
        raise UserError(
            f"{owner} was made for another mel ({there}; here {here}): use one with these settings"
        )
