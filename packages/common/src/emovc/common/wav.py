"""Reading, writing and resampling of audio files: mono float32 in [-1, 1]."""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from emovc.common.errors import UserError
from emovc.common.files import atomic_path

ENDINGS = (".wav", ".flac")  # of corpora, and of what is written
COMPRESSED = (".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff")  # read as well
UNREAD = (".m4a", ".aac", ".mp4", ".wma", ".amr", ".webm", ".sph")  # audio that can't be read
LOWEST_RATE, HIGHEST_RATE, LONGEST_H = 1_000, 768_000, 24  # Hz, Hz, h; else a header is damaged
SILENCE = 1e-4  # a recording whose peak is below this holds no speech
REMEDY = "convert it to a mono 16-bit wav, for instance with ffmpeg -i IN -ac 1 -c:a pcm_s16le OUT"


CANCELLED = 0.05  # share of the channels' level that is left of their mean where they cancel
UNTOLD = 0x7FFF0000  # bytes; programs that write to a pipe put such sizes where they know none


class WavInfo(NamedTuple):
    """What an audio file's header says.

    Attributes:
        sample_rate: Rate in Hz.
        num_samples: Samples per channel.
        channels: Number of channels.
        container: Container by content, whatever the file's name says ("WAV", "AIFF", "FLAC").
        encoding: Sample format ("PCM_16", "PCM_U8", "DOUBLE").
    """

    sample_rate: int
    num_samples: int
    channels: int
    container: str
    encoding: str


def wav_info(path: Path) -> WavInfo:
    """Read an audio file's header.

    Raises:
        UserError: The file is absent or no audio that libsndfile knows, or its header tells what
            no recording has.
    """
    if not path.is_file():  # opening a pipe would wait for whoever writes to it
        raise _unreadable(path)
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError):
        raise _unreadable(path) from None
    if not LOWEST_RATE <= info.samplerate <= HIGHEST_RATE:
        raise UserError(f"{path}: its header says {info.samplerate} Hz; {REMEDY}")
    if info.frames > LONGEST_H * 3600 * info.samplerate:
        hours = info.frames / info.samplerate / 3600
        raise UserError(f"{path}: its header says {hours:.0f} hours; {REMEDY}")
    return WavInfo(info.samplerate, info.frames, info.channels, info.format, info.subtype)


def read_wav(
    path: Path, sample_rate: int | None = None, start: int = 0, stop: int | None = None
) -> tuple[np.ndarray, int]:
    """Read audio as mono float32; channels are averaged.

    Args:
        path: Audio file.
        sample_rate: Rate to resample to in Hz; ``None`` keeps the file's.
        start: First sample, at the file's rate.
        stop: Sample after the last, at the file's rate; ``None`` reads to the end.

    Returns:
        Waveform (N,) and its rate in Hz.

    Raises:
        UserError: The file is absent, unreadable, empty, or holds NaN or infinity; or its channels
            cancel each other.
    """
    wav_info(path)  # before memory is taken for what a damaged header asks for
    return decode(path, sample_rate, start, stop)


def decode(
    path: Path, sample_rate: int | None = None, start: int = 0, stop: int | None = None
) -> tuple[np.ndarray, int]:
    """What :func:`read_wav` does, for a file whose header :func:`wav_info` has looked at."""
    try:
        wav, rate = soundfile.read(
            str(path), start=start, stop=stop, dtype="float32", always_2d=True
        )
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError):
        raise _unreadable(path) from None
    mono = wav[:, 0] if wav.shape[1] == 1 else wav.mean(axis=1)
    if len(mono) == 0:
        raise UserError(f"{path}: holds no samples; remove it or copy it again")
    if not np.isfinite(mono).all():
        raise UserError(f"{path}: holds NaN or infinite samples; {REMEDY}")
    if wav.shape[1] > 1 and _level(mono) < CANCELLED * _level(wav) and _level(wav) > SILENCE:
        raise UserError(
            f"{path}: its channels cancel each other when they are averaged (one is inverted); keep"
            " one, for instance with ffmpeg -i IN -af pan=mono|c0=c0 OUT"
        )
    if sample_rate is not None and sample_rate != rate:
        mono, rate = resample(mono, rate, sample_rate), sample_rate
    return np.ascontiguousarray(mono), rate


def missing_seconds(path: Path) -> float:
    """What a WAV file's header says more than the file has, in s; 0 of whole files and others."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            riff, _, wave = struct.unpack("<4sI4s", file.read(12))
            rate = 0  # bytes per second
            while riff == b"RIFF" and wave == b"WAVE":
                name, length = struct.unpack("<4sI", file.read(8))
                if name == b"data":
                    more = file.tell() + length - size
                    return more / rate if rate and more > 0 and length < UNTOLD else 0.0
                if name == b"fmt ":
                    rate = struct.unpack("<8xI4x", file.read(16))[0]
                    length -= 16
                file.seek(length + length % 2, os.SEEK_CUR)
    except (OSError, struct.error):
        pass
    return 0.0


def _level(wav: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))


def resample(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample (N,) from one rate to another in Hz with soxr's high-quality filter."""
    return soxr.resample(wav, from_rate, to_rate) if from_rate != to_rate else wav


def write_wav(path: Path, wav: np.ndarray, sample_rate: int) -> None:
    """Write a mono 16-bit file atomically; the ending (.wav, .flac) chooses the container.

    Samples outside [-1, 1] are clipped.

    Args:
        path: Target file.
        wav: Waveform, (N,).
        sample_rate: Rate in Hz.

    Raises:
        UserError: The ending is unknown, a sample is NaN, or the disk is full.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path}: audio is written as .wav or .flac; choose one of these endings")
    if np.isnan(wav).any():  # would be written as the loudest sample there is
        raise UserError(f"{path}: not written, it would hold NaN; the model that made it diverged")
    # Rounded here, as libsndfile cuts off, which shifts a waveform by half a step.
    rounded = np.clip(np.rint(wav * 2.0**15), -(2**15), 2**15 - 1).astype(np.int16)
    with atomic_path(path) as temporary:
        try:
            soundfile.write(str(temporary), rounded, sample_rate, subtype="PCM_16")
        except soundfile.SoundFileError as error:
            raise UserError(f"{path}: can't be written ({error}); is the disk full?") from None


def _unreadable(path: Path) -> UserError:
    """Tell an absent file, an empty one and a foreign one apart."""
    if not path.exists():
        return UserError(f"{path}: no such audio file")
    if path.is_dir():
        return UserError(f"{path}: is a folder; name an audio file")
    if not path.is_file():
        return UserError(f"{path}: is no ordinary file; name an audio file")
    if path.stat().st_size == 0:
        return UserError(f"{path}: is an empty file; remove it or copy it again")
    return UserError(f"{path}: is not audio that can be read; {REMEDY}")
