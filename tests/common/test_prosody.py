"""The F0 contour's closed forms, and what WORLD makes of a prosody."""

from dataclasses import replace

import numpy as np
import pytest

from emovc.common.audio_copies import active_level
from emovc.common.prosody import Performance, Prosody, f0_contour, perform
from emovc.common.synth import Phone, Spoken

FLAT = Prosody(
    rate=1.0,
    pitch_st=0.0,
    accent_st=0.0,
    fall_st=0.0,
    final_st=0.0,
    level_db=-26.0,
    tilt_db=0.0,
    breath=0.0,
)
PHONES = [Phone("_", 0.0, 1.0), Phone("ˈa", 1.0, 2.0), Phone("n", 2.0, 3.0), Phone("_", 3.0, 4.0)]
TIMES = np.array([0.0, 1.0, 1.5, 3.0, 4.0])


@pytest.mark.parametrize(
    ("prosody", "semitones"),
    [
        (FLAT, [0, 0, 0, 0, 0]),
        (replace(FLAT, pitch_st=12.0), [12, 12, 12, 12, 12]),
        (replace(FLAT, fall_st=4.0), [2, 2, 1, -2, -2]),
        (replace(FLAT, final_st=6.0), [0, 0, 0, 6, 6]),
        (replace(FLAT, accent_st=3.0), [0, 0, 6, 0, 0]),
    ],
)
def test_contour_in_closed_form(prosody: Prosody, semitones: list[float]) -> None:
    f0_hz = f0_contour(TIMES, PHONES, 100.0, prosody, np.array([2.0]))
    assert 12 * np.log2(f0_hz / 100.0) == pytest.approx(semitones, abs=1e-4)


def buzz(f0_hz: float = 120.0) -> Spoken:
    """A second of a harmonic tone, all one stressed vowel."""
    t = np.arange(22_050) / 22_050
    wav = sum(np.sin(2 * np.pi * k * f0_hz * t) / k for k in range(1, 60))
    return Spoken(0.1 * np.asarray(wav), 22_050, [Phone("ˈa", 0.0, 1.0)])


def say(prosody: Prosody) -> Performance:
    return perform(buzz(), 200.0, prosody, np.random.default_rng(0))


def spectrum(made: Performance) -> np.ndarray:
    return np.abs(np.fft.rfft(made.wav[4096 : 4096 + 8192] * np.hanning(8192)))


def test_performance_has_the_pitch_returned_and_keeps_time() -> None:
    made = say(FLAT)
    assert len(made.wav) == 256 * len(made.f0_hz)
    voiced = made.f0_hz[made.f0_hz > 0]
    assert np.ptp(voiced) == 0 and voiced[0] == pytest.approx(200.0, rel=0.06)
    peak_hz = np.argmax(spectrum(made)[:150]) * 22_050 / 8192
    assert peak_hz == pytest.approx(voiced[0], abs=3.0)
    margin, vowel, rest = made.phones
    assert vowel.end_s - vowel.start_s == pytest.approx(1.0)
    assert rest.end_s == len(made.wav) / 22_050
    frames = np.flatnonzero(made.f0_hz > 0)
    assert frames[0] * 256 / 22_050 == pytest.approx(margin.end_s, abs=0.03)
    assert frames[-1] * 256 / 22_050 == pytest.approx(vowel.end_s, abs=0.03)


def test_level_is_kept_unless_it_would_clip() -> None:
    assert active_level(say(FLAT).wav, 22_050).active_db == pytest.approx(-26.0, abs=0.05)
    assert np.abs(say(replace(FLAT, level_db=0.0)).wav).max() == pytest.approx(0.9, abs=1e-3)


def test_tilt_and_breath_change_the_spectrum() -> None:
    plain, bright, breathy = (
        spectrum(say(p)) for p in (FLAT, replace(FLAT, tilt_db=3.0), replace(FLAT, breath=0.9))
    )
    f0_hz = say(FLAT).f0_hz.max()

    def harmonic_db(spectrum: np.ndarray, k: int) -> float:
        bin_ = round(k * f0_hz * 8192 / 22_050)
        return float(20 * np.log10(spectrum[bin_ - 4 : bin_ + 5].max()))

    change = [harmonic_db(bright, k) - harmonic_db(plain, k) for k in (5, 10, 20)]
    assert np.diff(change) == pytest.approx([3.0, 3.0], abs=0.7)  # 1, 2 and 4 kHz

    def valleys_db(spectrum: np.ndarray) -> float:
        bins = [round((k + 0.5) * f0_hz * 8192 / 22_050) for k in range(30, 40)]
        return float(10 * np.log10(np.mean([spectrum[b - 3 : b + 4] ** 2 for b in bins])))

    assert valleys_db(breathy) > valleys_db(plain) + 10
