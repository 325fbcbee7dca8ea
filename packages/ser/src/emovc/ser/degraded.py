"""Speech made worse, as an encoder of converted speech meets it: noise and vocoders."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.features.extractors import NetworkFeature
from emovc.common.weights import weights_hash
from emovc.ser.whisper_moments import trim

PEAK = 0.95  # the level of the recordings that the official vocoders learned from


class Degradation(Protocol):
    """What makes a waveform worse.

    Attributes:
        name: Short name, part of the feature's.
        settings: What the result depends on.
    """

    name: str
    settings: dict[str, Any]

    def __call__(self, wav: Tensor) -> Tensor:
        """Worse waveform (N',) of (N,)."""
        ...


class Noise(nn.Module):
    """Gaussian noise whose spectrum falls by 0 to 6 dB per octave, at one of several ratios.

    The same waveform gets the same noise.

    Args:
        snr_db: Ratios of speech to noise in dB, of which one is drawn for each waveform.
        seed: Seed of the draws.
    """

    name = "noise"

    def __init__(self, snr_db: Sequence[float] = (5.0, 10.0, 15.0, 25.0), seed: int = 0) -> None:
        super().__init__()
        self.snr_db = tuple(snr_db)
        self.seed = seed
        self.settings: dict[str, Any] = {"snr_db": list(snr_db), "seed": seed}

    def forward(self, wav: Tensor) -> Tensor:
        """Noisy waveform (N,) of (N,)."""
        draws = torch.Generator().manual_seed(self.seed + len(wav))
        place = int(torch.randint(len(self.snr_db), (), generator=draws))
        slope = float(torch.rand((), generator=draws))
        spectrum = torch.fft.rfft(torch.randn(len(wav), generator=draws))
        falling = torch.arange(1, len(spectrum) + 1) ** -slope
        noise = torch.fft.irfft(spectrum * falling, len(wav)).to(wav)
        gain = wav.square().mean().sqrt() / noise.square().mean().sqrt()
        return wav + noise * gain * 10 ** (-self.snr_db[place] / 20)


class CopySynthesis(nn.Module):
    """A recording through its log-mel and a vocoder, brought to a standard level before.

    Args:
        vocoder: Maps log-mels (B, M, T) to waveforms.
        frontend: Its mel.
        name: Short name of the vocoder.
    """

    def __init__(self, vocoder: nn.Module, frontend: LogMel, name: str) -> None:
        super().__init__()
        self.vocoder = vocoder
        self.frontend = frontend
        self.name = name
        self.settings: dict[str, Any] = {
            "mel_id": frontend.mel_id,
            "peak": PEAK,
            "vocoder": type(vocoder).__name__,
            "n_iter": getattr(vocoder, "n_iter", 0),
            "vocoder_weights": weights_hash(vocoder),
        }

    def forward(self, wav: Tensor) -> Tensor:
        """Synthetic waveform (N',) of (N,)."""
        gain = PEAK / wav.abs().max().clamp(min=1e-6)
        made = self.vocoder(self.frontend((wav * gain)[None]))[0] / gain
        hop = self.frontend.hop_length
        return made[: math.ceil(len(wav) / hop) * hop]


class DegradedFeature(nn.Module):
    """A feature of degraded recordings, filed in the store under the recording.

    The silence around the speech is cut off before.

    Args:
        feature: What is extracted.
        degradation: What happens to a recording before.
    """

    def __init__(self, feature: NetworkFeature, degradation: Degradation) -> None:
        super().__init__()
        self.name = f"{feature.name}_{degradation.name}"
        self.feature = feature
        self.degradation = degradation
        self.settings: dict[str, Any] = {
            **feature.settings,
            "degradation": {"name": degradation.name, **degradation.settings},
        }

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """The feature of waveforms (B, N) of ``lengths`` (B,), each degraded by itself."""
        found = []
        wav, lengths = trim(wav, lengths, self.feature.settings["sample_rate"])
        for row, length in zip(wav, lengths.tolist(), strict=True):
            worse = self.degradation(row[:length])
            found += self.feature(worse[None], torch.tensor([len(worse)], device=wav.device))
        return found
