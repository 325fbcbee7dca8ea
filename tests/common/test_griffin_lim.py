"""Griffin-Lim: conventions of the mel, quality, and determinism."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.griffin_lim import GriffinLim
from emovc.common.wav import read_wav

MELS = [LogMel(), LogMel.speecht5(), LogMel(hop_length=200, pad=412)]


def harmonics(rate: int, seconds: float = 0.6) -> Tensor:
    """A voice-like sound (1, N): gliding harmonics with a falling spectrum, and some noise."""
    time = torch.arange(int(rate * seconds)) / rate
    phase = 2 * math.pi * (120 * time + 40 * time.square())
    parts = [torch.sin(k * phase) / k for k in range(1, 30)]
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return (0.15 * torch.stack(parts).sum(0) + 0.003 * noise)[None]


def error(frontend: LogMel, wav: Tensor, mel: Tensor) -> float:
    """Mean absolute difference of log-mels in natural logarithms."""
    n_frames = mel.shape[2]
    distance = (frontend(wav)[..., :n_frames] - mel).abs().mean()
    return float(distance) * (1.0 if frontend.log == "ln" else math.log(10))


@pytest.mark.parametrize("frontend", MELS, ids=["official", "speecht5", "other hop"])
def test_the_mel_comes_back(frontend: LogMel) -> None:
    mel = frontend(harmonics(frontend.sample_rate))
    wav = GriffinLim(frontend)(mel)
    assert wav.shape == (1, mel.shape[2] * frontend.hop_length)
    assert error(frontend, wav, mel) < 0.2
    assert error(frontend, GriffinLim(frontend, n_iter=1)(mel), mel) > 0.25


def test_real_speech_comes_back(shared: Path) -> None:
    audio, rate = read_wav(shared / "data" / "nemo" / "samples" / "EB0_anger_10.flac", 22_050)
    frontend = LogMel()
    mel = frontend(torch.from_numpy(audio)[None, : int(1.5 * rate)])
    best = error(frontend, GriffinLim(frontend)(mel), mel)
    assert best < 0.13
    assert best < error(frontend, GriffinLim(frontend, momentum=0)(mel), mel)
    assert best < error(frontend, GriffinLim(frontend, n_iter=10)(mel), mel)
    assert best < 0.5 * error(frontend, GriffinLim(frontend, n_iter=1)(mel), mel)


@pytest.mark.parametrize("frontend", MELS, ids=["official", "speecht5", "other hop"])
def test_sounds_stay_where_they_are(frontend: LogMel) -> None:
    """A burst comes back at its place, which a wrong padding would shift."""
    wav = torch.zeros(1, 40 * frontend.hop_length)
    centre, width = 20 * frontend.hop_length, 3 * frontend.hop_length
    time = torch.arange(-width, width)
    burst = torch.hann_window(2 * width) * torch.sin(0.2 * time)
    wav[0, centre - width : centre + width] = burst
    again = GriffinLim(frontend, n_iter=20)(frontend(wav))
    energy = again[0].double().square()
    place = float((energy * torch.arange(len(energy))).sum() / energy.sum())
    assert abs(place - centre) < 64


def test_magnitudes_are_not_negative_and_give_the_mel() -> None:
    frontend = LogMel()
    mel = frontend(harmonics(22_050))
    magnitude = GriffinLim(frontend).magnitudes(mel)
    assert magnitude.shape == (1, 513, mel.shape[2]) and magnitude.min() >= 0
    again = (frontend.filters @ magnitude).log()
    assert (again - mel).abs().mean() < 0.03


def test_the_spectrum_is_inverted_exactly() -> None:
    """Overlap-add of a signal's own spectrum gives the signal."""
    vocoder = GriffinLim(LogMel())
    wav = torch.randn(2, 1024 + 9 * 256, dtype=torch.float64)
    again = vocoder._overlap_add(vocoder._analyse(wav))
    assert (again - wav)[:, 8:-8].abs().max() < 1e-10  # the window ends in zeros


def test_it_is_deterministic_alone_and_in_a_batch() -> None:
    frontend = LogMel()
    mel = frontend(torch.cat([harmonics(22_050), 0.5 * harmonics(22_050).flip(1)]))
    vocoder = GriffinLim(frontend, n_iter=5)
    both = vocoder(mel)
    torch.manual_seed(99)
    assert torch.equal(both, vocoder(mel))
    alone = torch.cat([vocoder(row[None]) for row in mel])
    torch.testing.assert_close(both, alone, atol=1e-4, rtol=0)


def test_silence_is_silent_and_one_frame_is_enough() -> None:
    frontend = LogMel()
    vocoder = GriffinLim(frontend)
    for n_frames in (1, 2, 10):
        wav = vocoder(torch.full((1, 80, n_frames), frontend.log_floor))
        assert wav.shape == (1, 256 * n_frames) and wav.abs().max() < 1e-4


def test_autocast_and_gradients_do_not_reach_it() -> None:
    frontend = LogMel()
    mel = frontend(harmonics(22_050, 0.2))
    vocoder = GriffinLim(frontend, n_iter=2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(vocoder(mel.requires_grad_()), vocoder(mel.detach()))
    assert not vocoder(mel).requires_grad and not list(vocoder.parameters())


def test_other_mels_and_settings_are_refused() -> None:
    GriffinLim(LogMel()).require_mel(LogMel())
    with pytest.raises(UserError, match="made for another mel"):
        GriffinLim(LogMel()).require_mel(LogMel.speecht5())
    with pytest.raises(UserError, match="momentum 1.0"):
        GriffinLim(LogMel(), momentum=1.0)
    with pytest.raises(UserError, match="n_iter 0"):
        GriffinLim(LogMel(), n_iter=0)
