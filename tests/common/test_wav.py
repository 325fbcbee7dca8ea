"""Reading and writing of audio files, whole and damaged ones."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emovc.common.errors import UserError
from emovc.common.wav import read_wav, resample, wav_info, write_wav


@pytest.fixture
def tone() -> np.ndarray:
    """0.25 s of 440 Hz at 16 kHz, (N,)."""
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 16_000)).astype(np.float32)


@pytest.mark.parametrize("ending", [".wav", ".flac", ".WAV"])
def test_what_is_written_is_read(tmp_path: Path, tone: np.ndarray, ending: str) -> None:
    path = tmp_path / "new" / f"tone{ending}"
    write_wav(path, tone, 16_000)
    wav, rate = read_wav(path)
    assert (rate, wav.dtype, wav.shape) == (16_000, np.float32, (4000,))
    assert np.abs(wav - tone).max() <= 2.0**-16 + 1e-7
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    again = tmp_path / f"again{ending}"
    write_wav(again, wav, 16_000)
    assert np.array_equal(read_wav(again)[0], wav)


def test_samples_out_of_range_are_clipped(tmp_path: Path) -> None:
    write_wav(tmp_path / "loud.wav", np.array([2.0, -2.0, 1.0, -1.0, 0.0]), 16_000)
    top = 1 - 2.0**-15
    assert read_wav(tmp_path / "loud.wav")[0].tolist() == [top, -1, top, -1, 0]


@pytest.mark.parametrize(
    ("encoding", "step"),
    [("PCM_U8", 2.0**-7), ("PCM_16", 2.0**-15), ("PCM_24", 2.0**-23), ("PCM_32", 1e-7),
     ("FLOAT", 1e-7), ("DOUBLE", 1e-7), ("ULAW", 0.02)],
)  # fmt: skip
def test_encodings(tmp_path: Path, tone: np.ndarray, encoding: str, step: float) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone.astype(np.float64), 16_000, subtype=encoding)
    assert wav_info(path).encoding == encoding
    wav, _ = read_wav(path)
    assert wav.dtype == np.float32
    assert np.abs(wav - tone).max() <= step + 1e-7


def test_the_container_is_told_by_content(tmp_path: Path, tone: np.ndarray) -> None:
    path = tmp_path / "aiff.wav"
    soundfile.write(path, tone, 16_000, format="AIFF", subtype="PCM_16")
    assert wav_info(path) == (16_000, 4000, 1, "AIFF", "PCM_16")
    assert np.abs(read_wav(path)[0] - tone).max() < 2.0**-15


def test_channels_are_averaged(tmp_path: Path, tone: np.ndarray) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone, 0 * tone], 1), 16_000, subtype="FLOAT")
    assert wav_info(path).channels == 2
    np.testing.assert_allclose(read_wav(path)[0], tone / 2, atol=1e-7)


def test_a_part_is_read_at_the_files_rate(tmp_path: Path, tone: np.ndarray) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone, 16_000, subtype="FLOAT")
    assert np.array_equal(read_wav(path, start=100, stop=300)[0], tone[100:300])
    assert len(read_wav(path, 8000, start=100, stop=300)[0]) == 100
    assert len(read_wav(path, stop=9999)[0]) == 4000


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
def test_another_rate_keeps_duration_and_pitch(tmp_path: Path, tone: np.ndarray, rate: int) -> None:
    path = tmp_path / "tone.wav"
    write_wav(path, tone, 16_000)
    wav, got = read_wav(path, rate)
    assert got == rate and abs(len(wav) / rate - 0.25) < 2 / rate
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(wav)) / rate)
    assert np.abs(wav - expected)[300:-300].max() < 1e-3


def test_the_files_own_rate_is_not_resampled(tone: np.ndarray) -> None:
    assert resample(tone, 16_000, 16_000) is tone


def test_absent_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("not audio at all, only words")
    (tmp_path / "header.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    for name, reason in [
        ("none.wav", "no such audio file"),
        ("zero.wav", "is an empty file"),
        ("text.wav", "is not audio that can be read; convert"),
        ("header.wav", "is not audio that can be read; convert"),
        ("", "is a folder"),
    ]:
        for read in (read_wav, wav_info):
            with pytest.raises(UserError, match=reason) as caught:
                read(tmp_path / name)
            assert str(caught.value).startswith(str(tmp_path / name))
            assert "\n" not in str(caught.value)


def test_files_without_samples_are_refused(tmp_path: Path, tone: np.ndarray) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.empty(0), 16_000)
    assert wav_info(path).num_samples == 0
    with pytest.raises(UserError, match=r"silent\.wav: holds no samples"):
        read_wav(path)
    write_wav(tmp_path / "tone.wav", tone, 16_000)
    with pytest.raises(UserError, match="holds no samples"):
        read_wav(tmp_path / "tone.wav", start=4000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(
    tmp_path: Path, tone: np.ndarray, bad: float
) -> None:
    path = tmp_path / "bad.wav"
    tone[17] = bad
    soundfile.write(path, tone, 16_000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"bad\.wav: holds NaN or infinite samples"):
        read_wav(path)


def test_a_cut_off_file_gives_what_is_there(tmp_path: Path, tone: np.ndarray) -> None:
    path = tmp_path / "tone.wav"
    write_wav(path, tone, 16_000)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 1000])
    assert struct.unpack("<I", path.read_bytes()[40:44]) == (8000,)
    assert wav_info(path).num_samples == len(read_wav(path)[0]) == 1000


def test_bad_output_leaves_nothing_behind(tmp_path: Path, tone: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"tone\.mp3: audio is written as \.wav or \.flac"):
        write_wav(tmp_path / "tone.mp3", tone, 16_000)
    with pytest.raises(UserError, match=r"nan\.wav: not written"):
        write_wav(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="choose another folder"):
        write_wav(tmp_path / "file" / "tone.wav", tone, 16_000)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def header(rate: int, frames: int) -> bytes:
    """A wav file whose header claims a rate and a number of frames; 100 samples follow."""
    size = 2 * frames
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + fmt + struct.pack(
        "<4sI", b"data", size) + bytes(200)  # fmt: skip


@pytest.mark.parametrize("rate", [0, 1, 100, 999, 800_000, 2_000_000_000])
def test_rates_that_no_recording_has_take_no_memory(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(header(rate, 100))
    with pytest.raises(UserError, match=r"a\.wav: (its header says|is not audio)"):
        read_wav(path, 22_050)


def test_pipes_are_no_audio(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UserError, match="pipe.wav: is no ordinary file"):
        read_wav(tmp_path / "pipe.wav")
