"""Copies of a corpus' audio at one rate, without outer silence, each speaker at one level."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emovc.common.checked_values import read_object
from emovc.common.errors import UserError
from emovc.common.f0 import energy_db
from emovc.common.files import sha256_of, write_json
from emovc.common.manifest import Utterance
from emovc.common.signals import in_processes
from emovc.common.wav import SILENCE, read_wav, wav_info, write_wav


@dataclass(frozen=True)
class Copies:
    """How audio is copied.

    Args:
        sample_rate: Rate of the copies in Hz.
        trim_db: Silence at both ends that is this many dB below the loudest frame is cut off, but
            for 50 ms; ``None`` keeps it.
        speaker_level_db: Mean active level of each speaker in dB re full scale. One gain per
            speaker keeps the differences between their emotions. ``None`` keeps levels.
        peak: Largest sample of each copy, up to 1, as the official training of HiFi-GAN has .95;
            loud and soft recordings become alike. ``None`` keeps levels.

    Raises:
        UserError: A level and a peak are both given, or the peak is out of range.
    """

    sample_rate: int = 22_050
    trim_db: float | None = None
    speaker_level_db: float | None = None
    peak: float | None = None

    def __post_init__(self) -> None:
        if self.peak is not None and not 0 < self.peak <= 1:
            raise UserError(f"copies.peak {self.peak} is out of range; give above 0 to 1")
        if self.peak is not None and self.speaker_level_db is not None:
            raise UserError("copies: give speaker_level_db or peak, not both")


class Level(NamedTuple):
    """Active level in dB re full scale, and peak, of one file."""

    active_db: float
    peak: float


def trim_silence(wav: np.ndarray, sample_rate: int, trim_db: float) -> np.ndarray:
    """Cut off what is ``trim_db`` below the loudest 10 ms at both ends, but for 50 ms.

    Args:
        wav: Waveform of 10 ms or more, (N,).
        sample_rate: Rate in Hz.
        trim_db: Distance from the loudest frame in dB.
    """
    hop = sample_rate // 100
    energy = energy_db(wav, 2 * hop, hop, hop // 2)
    loud = np.flatnonzero(energy > energy.max() - trim_db)
    margin = sample_rate // 20
    return wav[max(loud[0] * hop - margin, 0) : (loud[-1] + 1) * hop + margin]


def active_level(wav: np.ndarray, sample_rate: int) -> Level:
    """Mean power of the frames within 30 dB of the loudest, and the peak, of 10 ms or more."""
    hop = sample_rate // 100
    energy = energy_db(wav, 2 * hop, hop, hop // 2)
    active = energy[energy > energy.max() - 30]
    return Level(float(10 * np.log10(np.mean(10 ** (active / 10)))), float(np.abs(wav).max()))


def speaker_gains(
    utterances: Sequence[Utterance], levels: Sequence[Level], level_db: float
) -> dict[str, float]:
    """One factor per speaker that brings his mean level to ``level_db`` without clipping."""
    by_speaker: dict[str, list[Level]] = defaultdict(list)
    for utterance, level in zip(utterances, levels, strict=True):
        by_speaker[utterance.speaker].append(level)
    gains = {}
    for speaker, own in by_speaker.items():
        gain = 10 ** ((level_db - float(np.mean([v.active_db for v in own]))) / 20)
        gains[speaker] = min(gain, 0.99 / max(v.peak for v in own))
    return gains


def copy_audio(
    utterances: Sequence[Utterance], out: Path, copies: Copies, num_workers: int
) -> list[Utterance]:
    """Write ``<out>/audio/<id>.flac`` for each utterance; copies newer than their file are kept.

    Args:
        utterances: Utterances without problems, see ``find_bad_audio``.
        out: Folder of the manifest.
        copies: How.
        num_workers: Processes.

    Returns:
        The utterances, pointing to their copies.

    Raises:
        UserError: The folder holds copies made in another way.
    """
    record = out / "audio" / "copies.json"
    if record.exists() and _given(read_object(record)) != _given(dataclasses.asdict(copies)):
        raise UserError(f"{record}: the audio was copied with other settings; give another OUT")
    write_json(record, dataclasses.asdict(copies))
    gains = dict.fromkeys({u.speaker for u in utterances}, 1.0)
    if copies.speaker_level_db is not None:
        levels = in_processes(_level, utterances, num_workers, "measuring levels")
        gains = speaker_gains(utterances, levels, copies.speaker_level_db)
    work = partial(_copy, out=out / "audio", copies=copies, gains=gains)
    return in_processes(work, utterances, num_workers, "copying audio")


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that are not ``None``: copies made before one existed stay valid."""
    return {name: value for name, value in settings.items() if value is not None}


def _level(utterance: Utterance) -> Level:
    wav, rate = read_wav(utterance.path)
    return active_level(wav, rate)


def _copy(utterance: Utterance, out: Path, copies: Copies, gains: dict[str, float]) -> Utterance:
    path = out / f"{utterance.id}.flac"
    if not path.exists() or path.stat().st_mtime < utterance.path.stat().st_mtime:
        wav, rate = read_wav(utterance.path, copies.sample_rate)
        if copies.trim_db is not None:
            wav = trim_silence(wav, rate, copies.trim_db)
        gain = gains[utterance.speaker]
        if copies.peak is not None:
            gain = copies.peak / max(float(np.abs(wav).max()), SILENCE)
        write_wav(path, wav * gain, rate)
    info = wav_info(path)
    return dataclasses.replace(
        utterance,
        path=path,
        sha256=sha256_of(path),
        sample_rate=info.sample_rate,
        num_samples=info.num_samples,
    )
