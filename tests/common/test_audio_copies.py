"""Copies of a corpus: one rate, no outer silence, one level per speaker."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emovc.common.audio_copies import Copies, active_level, copy_audio, trim_silence
from emovc.common.errors import UserError
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance
from emovc.common.prepare import prepare

RATE = 22_050
COPIES = Copies(sample_rate=16_000, trim_db=40.0, speaker_level_db=-26.0)


def speech(level: float) -> np.ndarray:
    """A tone of half a second with half a second of silence around it."""
    t = np.arange(RATE // 2) / RATE
    return np.pad(level * np.sin(2 * np.pi * 300 * t), RATE // 2)


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    """A loud and a soft speaker, each neutral and 12 dB louder when angry."""
    found = []
    for speaker, level in (("loud", 0.2), ("soft", 0.01)):
        for emotion, factor in (("neutral", 1.0), ("angry", 4.0)):
            path = tmp_path / f"{speaker}_{emotion}.wav"
            wav = speech(level * factor)
            soundfile.write(path, wav, RATE)
            name, speaker_id = f"c/{path.stem}", f"c_{speaker}"
            row = Utterance(name, path, sha256_of(path), RATE, len(wav), speaker_id, "c")
            found.append(row)
    return found


def levels(rows: list[Utterance]) -> list[float]:
    audio = [soundfile.read(u.path)[0] for u in rows]
    return [active_level(wav, COPIES.sample_rate).active_db for wav in audio]


def test_copies(tmp_path: Path, utterances: list[Utterance]) -> None:
    rows = copy_audio(utterances, tmp_path / "out", COPIES, num_workers=2)
    for old, new in zip(utterances, rows, strict=True):
        info = soundfile.info(new.path)
        assert (info.samplerate, info.frames) == (new.sample_rate, new.num_samples)
        assert new.sample_rate == 16_000 and new.sha256 == sha256_of(new.path) != old.sha256
        assert new.path == tmp_path / "out" / "audio" / f"{old.id}.flac"
        assert new.seconds == pytest.approx(0.6, abs=0.03)  # 50 ms are left at each end
    found = levels(rows)
    assert np.mean(found[:2]) == pytest.approx(np.mean(found[2:]), abs=0.1)
    assert np.mean(found[:2]) == pytest.approx(-26, abs=0.1)
    for neutral, angry in (found[:2], found[2:]):
        assert angry - neutral == pytest.approx(20 * np.log10(4), abs=0.1)


def test_a_level_that_would_clip_is_lowered(tmp_path: Path, utterances: list[Utterance]) -> None:
    rows = copy_audio(utterances, tmp_path / "out", Copies(RATE, None, 0.0), num_workers=1)
    for row in rows:
        peak = np.abs(soundfile.read(row.path)[0]).max()
        assert peak == pytest.approx(0.99 if "angry" in row.id else 0.99 / 4, rel=0.01)


def test_a_second_run_copies_only_what_changed(tmp_path: Path, utterances: list[Utterance]) -> None:
    first = copy_audio(utterances, tmp_path / "out", COPIES, num_workers=1)
    times = [u.path.stat().st_mtime_ns for u in first]
    assert copy_audio(utterances, tmp_path / "out", COPIES, num_workers=1) == first
    assert [u.path.stat().st_mtime_ns for u in first] == times
    changed = utterances[0].path
    soundfile.write(changed, speech(0.2)[:20_000], RATE)
    later = times[0] + 10**9
    os.utime(changed, ns=(later, later))
    again = copy_audio(utterances, tmp_path / "out", COPIES, num_workers=1)
    assert [a == b for a, b in zip(again, first, strict=True)] == [False, True, True, True]


def test_other_settings_need_another_folder(tmp_path: Path, utterances: list[Utterance]) -> None:
    copy_audio(utterances[:1], tmp_path / "out", COPIES, num_workers=1)
    with pytest.raises(UserError, match=r"copies\.json: the audio was copied with other settings"):
        copy_audio(utterances[:1], tmp_path / "out", Copies(8_000), num_workers=1)


def test_trimming_keeps_what_is_not_silent() -> None:
    wav = speech(0.1)
    assert len(trim_silence(wav, RATE, 40)) == pytest.approx(0.6 * RATE, abs=0.02 * RATE)
    inner = np.concatenate([wav, wav])  # a pause is kept
    assert len(trim_silence(inner, RATE, 40)) == pytest.approx(2.1 * RATE, abs=0.03 * RATE)
    np.testing.assert_array_equal(trim_silence(wav[RATE // 2 : RATE], RATE, 40), wav[11_025:22_050])


def test_copies_are_not_written_among_the_recordings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="where copies would be read as recordings"):
        prepare("table", tmp_path, tmp_path / "out", copies=Copies())


def test_copies_can_have_one_peak(utterances: list[Utterance], tmp_path: Path) -> None:
    copied = copy_audio(utterances, tmp_path / "out", Copies(peak=0.95), 1)
    for u in copied:
        wav, _ = soundfile.read(u.path)
        assert np.abs(wav).max() == pytest.approx(0.95, abs=1e-3)
    with pytest.raises(UserError, match="out of range"):
        Copies(peak=1.5)
    with pytest.raises(UserError, match="not both"):
        Copies(peak=0.9, speaker_level_db=-20)


def test_copies_of_before_the_peak_existed_stay_valid(
    utterances: list[Utterance], tmp_path: Path
) -> None:
    copy_audio(utterances, tmp_path / "out", COPIES, 1)
    record = tmp_path / "out" / "audio" / "copies.json"
    old = '{"sample_rate": 16000, "trim_db": 40.0, "speaker_level_db": -26.0}'
    record.write_text(old)
    copy_audio(utterances, tmp_path / "out", COPIES, 1)
    with pytest.raises(UserError, match="other settings"):
        copy_audio(utterances, tmp_path / "out", Copies(sample_rate=16_000), 1)
