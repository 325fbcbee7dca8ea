"""Functionals of signals whose truth is known, and what they promise not to depend on."""

from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.common.wav import read_wav, write_wav
from emovc.ser import functionals as module
from emovc.ser.functionals import Functionals, OpenSmile, load_functionals, measure
from emovc.ser.world_functionals import CONTOURS, RHYTHM, STATISTICS, WorldFunctionals

RATE = 22_050
OWN = WorldFunctionals()


def voice(f0_hz: np.ndarray, tilt: float = 1.0, rate: int = RATE) -> np.ndarray:
    """A harmonic tone with F0 (N,) whose k-th partial has the amplitude k^-tilt."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate
    partials = [np.sin(k * phase) * k**-tilt for k in range(1, 30)]
    return (0.1 * np.sum(partials, axis=0)).astype(np.float32)


def steady(f0_hz: float, tilt: float = 1.0, rate: int = RATE) -> np.ndarray:
    return voice(np.full(rate, f0_hz), tilt, rate)


def named(wav: np.ndarray, rate: int = RATE) -> dict[str, float]:
    return dict(zip(OWN.names, OWN(wav, rate).tolist(), strict=True))


@pytest.fixture(scope="module")
def speech(shared: Path) -> tuple[np.ndarray, int]:
    return read_wav(shared / "data/nemo/samples/EB0_anger_1.flac")


@pytest.fixture(params=["emovc-functionals-1", "opensmile-is09", "opensmile-egemapsv02"])
def every(request: pytest.FixtureRequest) -> Functionals:
    if request.param.startswith("opensmile"):
        pytest.importorskip("opensmile")
    return load_functionals(request.param)


def test_the_sets_have_the_sizes_that_papers_name(every: Functionals) -> None:
    sizes = {"opensmile-is09": 384, "opensmile-egemapsv02": 88, "emovc-functionals-1": 176}
    assert len(every.names) == len(set(every.names)) == sizes[every.name]
    assert len(CONTOURS) * len(STATISTICS) + len(RHYTHM) == 176


def test_every_set_gives_finite_numbers_and_the_same_ones_again(
    every: Functionals, speech: tuple[np.ndarray, int]
) -> None:
    numbers = every(*speech)
    assert numbers.shape == (len(every.names),) and np.isfinite(numbers).all()
    np.testing.assert_array_equal(numbers, load_functionals(every.name)(*speech))


@pytest.mark.parametrize(
    ("wav", "reason"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (np.full(RATE, np.nan, np.float32), "NaN"),
        (np.ones(200, np.float32), "shorter than 0.1 s"),
        (np.zeros(0, np.float32), "shorter than 0.1 s"),
    ],
    ids=["silence", "nan", "click", "nothing"],
)
def test_what_is_no_speech_is_refused_in_one_line(
    every: Functionals, wav: np.ndarray, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        every(wav, RATE)
    assert "\n" not in str(caught.value)


def test_noise_has_no_voice() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(3 * RATE)
    with pytest.raises(UserError, match="no voiced speech"):
        OWN(noise.astype(np.float32), RATE)


def test_f0_is_in_semitones_above_100_hz() -> None:
    """200 Hz lie 12 semitones above 100 Hz; an octave more is 12 semitones more."""
    low, high = named(steady(200.0)), named(steady(400.0))
    assert low["f0_st.mean"] == pytest.approx(12.0, abs=0.05)
    assert low["f0_st.p50"] == pytest.approx(12.0, abs=0.05)
    assert low["f0_st.std"] < 0.2 and low["f0_st.range"] < 0.3
    assert high["f0_st.mean"] - low["f0_st.mean"] == pytest.approx(12.0, abs=0.05)


def test_a_glide_has_its_slope_range_and_delta() -> None:
    """6 semitones per second over 2 s: 12 from end to end, 0.06 per frame of 10 ms."""
    time = np.arange(2 * RATE) / RATE
    numbers = named(voice(150 * 2 ** (6 * time / 12)))
    assert numbers["f0_st.slope_per_s"] == pytest.approx(6.0, abs=0.1)
    assert numbers["f0_st.range"] == pytest.approx(0.9 * 12, abs=0.4)
    assert numbers["f0_st.p80"] - numbers["f0_st.p20"] == pytest.approx(0.6 * 12, abs=0.2)
    assert numbers["f0_st.delta_abs"] == pytest.approx(0.06, abs=0.015)


def test_a_pulse_of_the_level_shows_in_energy_and_rhythm() -> None:
    """4 Hz and 10 dB from top to bottom: 4 peaks per second, percentiles 10 dB apart at most."""
    time = np.arange(2 * RATE) / RATE
    gain_db = 5 * np.sin(2 * np.pi * 4 * time)
    pulsed = named(steady_for(2) * 10 ** (gain_db / 20).astype(np.float32))
    even = named(steady_for(2))
    assert pulsed["peaks_per_s"] == pytest.approx(4.0, abs=0.6)
    assert pulsed["energy_db.std"] == pytest.approx(5 / np.sqrt(2), abs=0.4)
    assert even["energy_db.std"] < 1.0


def steady_for(seconds: int) -> np.ndarray:
    return voice(np.full(seconds * RATE, 150.0))


def test_a_brighter_voice_has_less_tilt_a_higher_centroid_and_less_below_1_khz() -> None:
    """Partials as k^-1 instead of k^-2 fall 6 dB per octave less."""
    dark, bright = named(steady(150.0, tilt=2.0)), named(steady(150.0, tilt=1.0))
    assert bright["alpha_db.mean"] < dark["alpha_db.mean"] - 5
    assert bright["hammarberg_db.mean"] < dark["hammarberg_db.mean"] - 5
    assert bright["centroid_octaves.mean"] > dark["centroid_octaves.mean"]
    assert bright["tilt_db_per_octave.mean"] > dark["tilt_db_per_octave.mean"] + 1


def test_pauses_and_voiced_stretches_are_counted() -> None:
    """Three tones of 0.4 s with gaps of 0.2 s: 1.2 of 1.6 s are speech."""
    gap = np.zeros(RATE // 5, np.float32)
    tone = steady(150.0)[: 2 * RATE // 5]
    numbers = named(np.concatenate([tone, gap, tone, gap, tone]))
    assert numbers["voiced_runs_per_s"] == pytest.approx(3 / 1.6, abs=0.1)
    assert numbers["voiced_run_s"] == pytest.approx(0.4, abs=0.05)
    assert numbers["pause_share"] == pytest.approx(0.4 / 1.6, abs=0.06)
    assert numbers["voiced_share"] > 0.9


def test_our_own_numbers_do_not_depend_on_the_level(speech: tuple[np.ndarray, int]) -> None:
    wav, rate = speech
    for gain in (0.05, 0.5, 3.0):
        np.testing.assert_allclose(OWN(wav * gain, rate), OWN(wav, rate), rtol=1e-3, atol=2e-3)


def test_outer_silence_and_an_offset_change_little(speech: tuple[np.ndarray, int]) -> None:
    wav, rate = speech
    padded = np.pad(wav, rate // 2) + np.float32(0.01)
    before, after = named(wav, rate), named(padded, rate)
    for name, tolerance in (("f0_st.mean", 0.2), ("alpha_db.mean", 0.3), ("pause_share", 0.02)):
        assert after[name] == pytest.approx(before[name], abs=tolerance)


def test_the_rate_of_the_file_changes_little() -> None:
    a, b = named(steady(150.0, rate=16_000), 16_000), named(steady(150.0, rate=48_000), 48_000)
    for name in ("f0_st.mean", "centroid_octaves.mean", "alpha_db.mean"):
        assert a[name] == pytest.approx(b[name], abs=0.05)


def test_opensmile_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert load_functionals().name == "emovc-functionals-1"
    monkeypatch.undo()
    pytest.importorskip("opensmile")
    assert load_functionals().name == "opensmile-is09"


def test_an_unknown_set_and_a_missing_opensmile_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown functionals 'is10'"):
        load_functionals("is10")
    monkeypatch.setitem(__import__("sys").modules, "opensmile", None)
    with pytest.raises(UserError, match=r"emovc-ser\[opensmile\]"):
        OpenSmile()


def test_files_without_speech_are_rows_of_nan_with_a_reason(tmp_path: Path) -> None:
    waves = {"voice": steady(150.0), "silence": np.zeros(RATE, np.float32)}
    utterances = []
    for name, wav in waves.items():
        write_wav(tmp_path / f"{name}.wav", wav, RATE)
        path = tmp_path / f"{name}.wav"
        utterances.append(Utterance(f"x/{name}", path, "", RATE, len(wav), "x_a", "x"))
    numbers, reasons = measure(OWN, utterances)
    assert np.isfinite(numbers[0]).all() and np.isnan(numbers[1]).all()
    assert len(reasons) == 1 and reasons[0].startswith("x/silence: ")
