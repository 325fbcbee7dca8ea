"""Metrics against stored vectors, closed forms and hand-computed cases."""

import numpy as np
import pytest

from emovc.common import metrics
from emovc.common.audio_copies import (
    Level,
    active_level,
    speaker_gains,
    trim_silence,
)
from emovc.common.dtw import warping_path
from emovc.common.manifest import Utterance
from emovc.common.mel_cepstrum import frequency_warping, mel_cepstra
from emovc.common.metrics import (
    Analysis,
    analyse,
    bootstrap_interval,
    compare,
    correlation,
    f0_errors,
)


def test_the_dialect_is_the_one_that_tables_name() -> None:
    """A change of any setting must change the name, and is a change of all published numbers."""
    assert metrics.DIALECT == "world16k-5ms-mcep24-a0.42-noc0-dtw-trim40-swiftf0-0.5"
    settings = (metrics.RATE, metrics.HOP, metrics.N_FFT, metrics.ORDER, metrics.ALPHA)
    assert settings == (16_000, 80, 1024, 24, 0.42)


def test_mel_cepstra_equal_pysptks() -> None:
    """Values of ``pysptk.sp2mc`` 1.0.1 for a spectrum given by formula."""
    k = np.arange(513)
    power = np.stack(
        [np.exp(np.cos(0.013 * k * (t + 1)) + 0.4 * np.sin(0.07 * k + t) - 3) for t in range(2)]
    )
    columns = [0, 1, 2, 3, 12, 23, 24]
    expected = [
        [-1.39545044765, 0.337771564457, 0.283722110194, -0.197249756529, 0.02794510123,
         0.022592290112, -0.032512804128],
        [-1.471081591427, 0.103889813125, 0.329125693575, 0.243635607861, -0.018355644431,
         0.047439508241, -0.043407166936],
    ]  # fmt: skip
    np.testing.assert_allclose(mel_cepstra(power, 24, 0.42)[:, columns], expected, atol=1e-11)
    order_13 = mel_cepstra(power[:1], 13, 0.65)[0, [0, 1, 13]]
    expected_13 = [-1.264571761304, 0.432649006191, -0.015913934884]
    np.testing.assert_allclose(order_13, expected_13, atol=1e-11)


def test_no_warping_is_the_cepstrum_itself() -> None:
    np.testing.assert_array_equal(frequency_warping(30, 9, 0.0), np.eye(10, 30))


def slow_cost(a: np.ndarray, b: np.ndarray) -> float:
    cost = np.linalg.norm(a[:, None] - b, axis=-1)
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1])


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (12, 9), (30, 31)])
def test_warping_path_is_the_cheapest_monotone_one(n: int, m: int) -> None:
    rng = np.random.default_rng(n * 100 + m)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    i, j = warping_path(a, b)
    steps = set(zip(np.diff(i).tolist(), np.diff(j).tolist(), strict=True))

    assert (i[0], j[0], i[-1], j[-1]) == (0, 0, n - 1, m - 1)
    assert steps <= {(1, 1), (1, 0), (0, 1)}
    assert np.linalg.norm(a[i] - b[j], axis=1).sum() == pytest.approx(slow_cost(a, b))


def test_warping_undoes_repeated_frames() -> None:
    a = np.random.default_rng(0).normal(size=(20, 4))
    stretched = a.repeat(np.arange(20) % 3 + 1, axis=0)
    i, j = warping_path(stretched, a)
    np.testing.assert_allclose(stretched[i], a[j])


def tone(f0_hz: float, seconds: float, rate: int = 16_000, gain: float = 0.3) -> np.ndarray:
    """A harmonic tone with a formant-like slope."""
    t = np.arange(int(seconds * rate)) / rate
    parts = [np.sin(2 * np.pi * f0_hz * k * t) / k for k in range(1, int(6000 / f0_hz))]
    return (gain * np.sum(parts, axis=0) / 2).astype(np.float32)


def test_a_recording_has_no_distance_from_itself() -> None:
    a = analyse(tone(150, 1.0), 16_000)
    scores = compare(a, a)
    zeros = ("mcd_db", "f0_rmse_st", "f0_gpe", "voicing_error", "energy_rmse_db")
    zeros += ("duration_error_s",)
    assert all(scores[name] == pytest.approx(0, abs=1e-6) for name in zeros)


def test_gain_leaves_the_distance_small_and_pitch_is_in_semitones() -> None:
    low, octave_up = (analyse(tone(f, 1.0), 16_000) for f in (120, 240))
    quiet = analyse(tone(120, 1.0, gain=0.1), 16_000)

    assert compare(quiet, low)["mcd_db"] < 0.1
    assert compare(octave_up, low)["f0_rmse_st"] == pytest.approx(12, abs=0.1)
    assert compare(octave_up, low)["f0_gpe"] > 0.95
    longer = analyse(tone(120, 1.4), 16_000)
    assert compare(longer, low)["duration_error_s"] == pytest.approx(0.4, abs=0.02)


def test_mcd_of_a_constant_offset_by_hand() -> None:
    a, b = np.zeros((5, 24)), np.zeros((5, 24))
    b[:, 3] = 0.5
    voiced = np.full(5, 100.0)
    one, other = (Analysis(c, voiced, np.zeros(5), 1.0) for c in (a, b))
    expected = 10 / np.log(10) * np.sqrt(2 * 0.25)
    assert compare(one, other)["mcd_db"] == pytest.approx(expected)
    assert np.isnan(compare(one, other)["f0_corr"])  # fewer than 10 voiced frames


def test_f0_is_that_of_the_tracker_every_5_ms() -> None:
    """Of speech in noise, where DIO misses much; mel-cepstra are those of the older dialect."""
    t = np.arange(24_000) / 16_000
    f0_hz = 150 * 2 ** (np.sin(2 * np.pi * 2 * t) / 4)
    phase = 2 * np.pi * np.cumsum(f0_hz) / 16_000
    wav = sum(np.sin(k * phase) / k for k in range(1, 20))
    noise = np.random.default_rng(0).normal(size=len(t))
    found = analyse((0.1 * (wav + 0.5 * noise)).astype(np.float32), 16_000)
    truth = f0_hz[: 80 * len(found.f0_hz) : 80]
    errors = f0_errors(found.f0_hz[10:290], truth[10:290])
    assert errors.voicing < 0.02 and errors.gross < 0.01 and abs(errors.fine_mean_cents) < 10
    assert len(found.f0_hz) == len(found.cepstra) == len(found.energy_db)


def test_f0_errors_by_hand() -> None:
    """Ten frames: two errors of voicing, six voiced in both, of which one is an octave up."""
    true = np.array([0, 0, 100, 100, 100, 100, 100, 100, 100, 0.0])
    found = np.array([0, 90, 0, 200, 119, 100, 100, 81, 100, 0.0])
    errors = f0_errors(found, true)
    cents = 1200 * np.log2(np.array([119, 100, 100, 81, 100]) / 100)
    assert errors.gross == pytest.approx(1 / 6)
    assert errors.voicing == pytest.approx(2 / 10)
    assert errors.frame == pytest.approx(3 / 10)
    assert errors.fine_mean_cents == pytest.approx(cents.mean())
    assert errors.fine_sd_cents == pytest.approx(cents.std())


def test_f0_errors_without_voiced_frames_are_none() -> None:
    errors = f0_errors(np.zeros(4), np.array([0.0, 100, 0, 0]))
    assert np.isnan([errors.gross, errors.fine_mean_cents, errors.fine_sd_cents]).all()
    assert errors.voicing == errors.frame == 0.25
    assert all(np.isnan(f0_errors(np.zeros(0), np.zeros(0))))


def test_silence_is_analysed_without_nan() -> None:
    a = analyse(np.zeros(16_000, dtype=np.float32), 16_000)
    assert np.isfinite(a.cepstra).all()


def test_correlation() -> None:
    x = np.random.default_rng(0).normal(size=50)
    assert correlation(x, 3 * x + 1) == pytest.approx(1)
    assert correlation(x, -x) == pytest.approx(-1)
    assert np.isnan(correlation(x, np.ones(50)))


def test_bootstrap_draws_speakers() -> None:
    """Utterances that only repeat their speaker's value don't narrow the interval."""
    values = np.array([1.0, 2.0, 3.0, 4.0])
    few = bootstrap_interval(values, ["a", "b", "c", "d"])
    many = bootstrap_interval(values.repeat(50), [s for s in "abcd" for _ in range(50)])
    assert few == pytest.approx(many, abs=0.3)
    assert few[0] < 2.0 < 3.0 < few[1]
    assert bootstrap_interval(np.array([5.0, np.nan]), ["a", "a"]) == (5.0, 5.0)


def test_trimming_keeps_50_ms_of_silence() -> None:
    speech = tone(150, 0.5)
    wav = np.concatenate([np.zeros(8000), speech, np.zeros(16_000)]).astype(np.float32)
    trimmed = trim_silence(wav, 16_000, 40)
    assert len(trimmed) == pytest.approx(len(speech) + 2 * 800, abs=500)


def test_speaker_gain_keeps_the_differences_of_one_speaker() -> None:
    def row(speaker: str) -> Utterance:
        return Utterance(f"x/{speaker}", None, "", 16_000, 1, speaker, "x")  # type: ignore[arg-type]

    rows = [row("a"), row("a"), row("b")]
    gains = speaker_gains(rows, [Level(-30, 0.1), Level(-20, 0.3), Level(-40, 0.05)], -25)
    assert gains["a"] == pytest.approx(1.0)
    assert gains["b"] == pytest.approx(10 ** (15 / 20))
    loud = speaker_gains(rows[2:], [Level(-40, 0.5)], -10)
    assert loud["b"] == pytest.approx(0.99 / 0.5)  # limited by the peak
    assert active_level(tone(150, 1.0), 16_000).active_db < 0
