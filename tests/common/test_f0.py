"""F0 trackers and energy on signals whose truth is known."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.f0 import (
    Dio,
    F0Tracker,
    Fcpe,
    Harvest,
    SwiftF0,
    _between,
    energy_db,
    log_f0_statistics,
)

RATE = 22_050


def vibrato(seconds: float = 1.5, rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """A harmonic tone of 150 Hz with a vibrato of 4 semitones, and its F0 at every sample."""
    t = np.arange(int(seconds * rate)) / rate
    f0_hz = 150 * 2 ** (4 / 12 * np.sin(2 * np.pi * 3 * t))
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate
    wav = np.sum([np.sin(k * phase) / k for k in range(1, 20)], axis=0) * 0.2
    return wav.astype(np.float32), f0_hz


@pytest.mark.parametrize(
    ("tracker", "cents"),
    [(Dio(), 5), (Harvest(), 5), (Fcpe(), 15), (SwiftF0(), 7)],
    ids=["dio", "harvest", "fcpe", "swift"],
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


@pytest.mark.parametrize("tracker", [Dio(), SwiftF0()], ids=["dio", "swift"])
def test_silence_and_noise_are_unvoiced(tracker: F0Tracker) -> None:
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32) * 0.1
    assert not tracker(np.zeros(RATE, dtype=np.float32)).any()
    assert (tracker(noise) > 0).mean() < 0.3
    assert tracker(np.zeros(100, dtype=np.float32)).shape == (0,)
    assert tracker(noise[:300]).shape == (1,)
    assert tracker(noise[:129], 1).shape == (1,)


@pytest.mark.parametrize(
    ("rate", "hop", "centre"), [(22_050, 256, 128), (16_000, 80, 0), (48_000, 480, 100)]
)
def test_swift_is_not_a_fraction_of_its_frame_late(rate: int, hop: int, centre: int) -> None:
    """A delay shows as an error in proportion to the slope; its frame is 16 ms long."""
    wav, truth = vibrato(rate=rate)
    f0_hz = SwiftF0(rate, hop, centre)(wav)
    inner = np.arange(len(f0_hz))[16:-16] * hop + centre
    slope = np.gradient(1200 * np.log2(truth), 1 / rate)[inner]
    cents = 1200 * np.log2(f0_hz[16:-16] / truth[inner])
    late_s = -(cents @ slope) / (slope @ slope)
    assert abs(late_s) < 3e-4
    assert abs(cents.mean()) < 7


def test_swift_does_not_care_how_loud_speech_is() -> None:
    wav, _ = vibrato()
    wav = np.concatenate([np.zeros(4000, np.float32), wav, np.zeros(4000, np.float32)])
    wav += 1e-3 * np.random.default_rng(0).standard_normal(len(wav)).astype(np.float32)
    f0_hz = SwiftF0()(wav)
    assert 0.7 < (f0_hz > 0).mean() < 0.9
    for gain in (1e-2, 0.1, 3.0):
        np.testing.assert_allclose(SwiftF0()(gain * wav), f0_hz, atol=0.05)


def test_between_the_frames_of_a_tracker() -> None:
    """Voicing sets in where the line of confidence passes the threshold, F0 is log-linear."""
    place = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 3.0])
    pitch_hz, confidence = np.array([999.0, 100, 200, 999]), np.array([0.0, 1, 0.6, 0.4])
    expected = [0, 0, 100, 100, 100 * np.sqrt(2), 200, 200, 200, 0]
    np.testing.assert_allclose(_between(place, pitch_hz, confidence, 0.5), expected)
    only = _between(np.zeros(2), np.array([70.0]), np.array([0.9]), 0.5)
    np.testing.assert_allclose(only, 70)


def test_threshold_orders_what_is_voiced() -> None:
    wav, _ = vibrato()
    wav += np.random.default_rng(0).normal(size=len(wav)).astype(np.float32)
    voiced = [(SwiftF0(threshold=t)(wav) > 0).mean() for t in (0.2, 0.5, 0.9)]
    assert voiced[0] > voiced[1] > voiced[2]
    assert SwiftF0().settings == Dio().settings | {"threshold": 0.5}


def _in_a_worker(tracker: F0Tracker, wav: np.ndarray) -> np.ndarray:
    return tracker(wav)


def test_swift_travels_to_worker_processes() -> None:
    """Both to fresh ones and to forks of a process that has loaded it."""
    wav, _ = vibrato(0.5)
    tracker = SwiftF0()
    f0_hz = tracker(wav)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tracker))(wav), f0_hz)
    assert b"onnx" not in pickle.dumps(tracker)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        forked = pool.apply_async(_in_a_worker, (tracker, wav)).get(60)
    np.testing.assert_array_equal(forked, f0_hz)


def test_tracking_is_reported_to_nobody(tmp_path: Path) -> None:
    """Left alone, onnxruntime makes an id of the machine below HOME and a database to send."""
    code = "import numpy, emovc.common.f0 as f; f.SwiftF0()(numpy.ones(9999, numpy.float32))"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment["HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(tmp_path.rglob("*onnxruntime*"))


def test_swift_refuses_settings_it_cant_have() -> None:
    for wrong in ({"f_min": 40.0}, {"f_max": 3000.0}, {"f_min": 300.0, "f_max": 300.0}):
        with pytest.raises(UserError, match="it finds 46.875 to 2093.75 Hz"):
            SwiftF0(**wrong)
    with pytest.raises(UserError, match="give one between 0 and 1"):
        SwiftF0(threshold=0.0)


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
