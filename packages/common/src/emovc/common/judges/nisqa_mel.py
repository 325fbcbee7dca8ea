"""What NISQA sees of a recording: overlapping segments of a mel spectrogram in dB."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emovc.common.audio import slaney_mel_filters

FLOOR = 1e-4  # smallest mel magnitude
RANGE_DB = 80.0  # how far below the loudest cell of a recording a cell may be


@dataclass(frozen=True)
class NisqaMel:
    """Mel spectrogram and segments of NISQA, by the options of its checkpoint.

    Magnitudes (not powers) of a centred STFT with reflected edges, Slaney's mel bands, 20 log10.
    A band above half the rate is empty, as with librosa. Source: Mittag et al., "NISQA: a deep
    CNN-self-attention model for multidimensional speech quality prediction with crowdsourced
    datasets", Interspeech 2021, section 3.1, and the authors' code.

    Attributes:
        f_max: Upper edge of the bands in Hz.
        n_fft: FFT size in samples, whatever the rate.
        hop_s: Time between frames, in seconds.
        window_s: Length of the window, in seconds.
        n_mels: Number of bands M.
        segment: Frames of a segment W.
        segment_hop: Frames between the beginnings of segments.
        most_segments: Segments that the network takes at once.
    """

    f_max: float
    n_fft: int
    hop_s: float
    window_s: float
    n_mels: int
    segment: int
    segment_hop: int
    most_segments: int

    @property
    def shortest_s(self) -> float:
        """Length of the shortest recording that fills a segment, in seconds."""
        return (self.segment - 1) * self.hop_s

    def longest(self, sample_rate: int) -> int:
        """Samples of the longest recording that gives no more than ``most_segments``."""
        frames = self.segment - 1 + self.segment_hop * self.most_segments
        return frames * self.hop(sample_rate) - 1

    def hop(self, sample_rate: int) -> int:
        """Samples between frames."""
        return int(sample_rate * self.hop_s)

    def mel(self, wav: np.ndarray, sample_rate: int) -> Tensor:
        """Mel spectrogram (M, T) in dB of a waveform (N,), with T = 1 + N // hop."""
        length = int(sample_rate * self.window_s)
        edge = self.n_fft // 2
        padded = np.pad(np.asarray(wav, dtype=np.float32), edge, mode="reflect")
        magnitude = torch.stft(
            torch.from_numpy(padded), self.n_fft, self.hop(sample_rate), length,
            torch.hann_window(length), center=False, return_complex=True,
        ).abs()  # fmt: skip
        filters = slaney_mel_filters(sample_rate, self.n_fft, self.n_mels, 0.0, self.f_max)
        mel = torch.from_numpy(filters) @ magnitude
        decibels = 20 * mel.clamp(min=FLOOR).log10()
        return decibels.clamp(min=float(decibels.max()) - RANGE_DB)

    def segments(self, wav: np.ndarray, sample_rate: int) -> Tensor:
        """Segments (S, M, W) of a waveform (N,)."""
        mel = self.mel(wav, sample_rate)
        return mel.unfold(1, self.segment, self.segment_hop).transpose(0, 1)

    def pieces(self, wav: np.ndarray, sample_rate: int) -> list[np.ndarray]:
        """A waveform (N,) in the fewest pieces of about equal length that are short enough."""
        count = math.ceil(len(wav) / self.longest(sample_rate))
        return np.array_split(wav, count)
