"""F0 trackers and energy on signals whose truth is known."""

import numpy as np
import pytest

from emovc.common.audio import LogMel
from emovc.common.f0 import Dio, F0Tracker, Fcpe, Harvest, energy_db, log_f0_statistics

RATE = 22_050


def vibrato(seconds: float = 1.5, rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """A harmonic tone of 150 Hz with a vibrato of 4 semitones, and its F0 at every sample."""
    t = np.arange(int(seconds * rate)) / rate
    f0_hz = 150 * 2 ** (4 / 12 * np.sin(2 * np.pi * 3 * t))
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate
    wav = np.sum([np.sin(k * phase) / k for k in range(1, 20)], axis=0) * 0.2
    return wav.astype(np.float32), f0_hz


@pytest.mark.parametrize(
    ("tracker", "cents"), [(Dio(), 5), (Harvest(), 5), (Fcpe(), 15)], ids=["dio", "harvest", "fcpe"]
)
def test_trackers_find_the_f0_at_the_frame_centres(tracker: F0Tracker, cents: float) -> None:
    """A tracker read half a hop off the centre would be about 13 cents wrong here."""
    wav, truth = vibrato()
    f0_hz = tracker(wav)
    centres = np.arange(len(f0_hz)) * 256 + 128
    inner = slice(8, -8)
    error = 1200 * np.abs(np.log2(f0_hz[inner] / truth[centres[inner]]))

    assert len(f0_hz) == len(wav) // 256
    assert (f0_hz[inner] > 0).all()
    assert np.median(error) < cents


def test_one_value_per_mel_frame_of_both_presets() -> None:
    import torch

    for frontend in (LogMel(), LogMel.speecht5()):
        wav, _ = vibrato(rate=frontend.sample_rate)
        frames = int(frontend.frames(torch.tensor(len(wav))))
        rate, hop, centre = frontend.sample_rate, frontend.hop_length, frontend.frame_centre
        assert Dio(rate, hop, centre)(wav, frames).shape == (frames,)


def test_silence_and_noise_are_unvoiced() -> None:
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32) * 0.1
    assert not Dio()(np.zeros(RATE, dtype=np.float32)).any()
    assert (Dio()(noise) > 0).mean() < 0.3
    assert Dio()(np.zeros(100, dtype=np.float32)).shape == (0,)


def test_energy_of_a_sine() -> None:
    """A full-scale sine has -3.01 dB; half the amplitude 6.02 dB less."""
    t = np.arange(RATE) / RATE
    energy = energy_db(np.sin(2 * np.pi * 441 * t))
    assert energy[4:-4] == pytest.approx(-3.0103, abs=0.02)
    halved = energy_db(0.5 * np.sin(2 * np.pi * 441 * t))
    assert energy[4:-4] - halved[4:-4] == pytest.approx(6.0206, abs=1e-3)
    assert energy_db(np.zeros(RATE)).max() == -100


def test_statistics_of_voiced_frames() -> None:
    mean, std = log_f0_statistics(np.array([0.0, 100.0, 0.0, 200.0]))
    assert mean == pytest.approx(np.log(np.sqrt(100 * 200)))
    assert std == pytest.approx(np.log(2) / 2)
    assert log_f0_statistics(np.zeros(5)) == (pytest.approx(np.log(150)), 0.2)
