"""Prosody imposed on speech: a known F0 contour, tilt, breath and level, through WORLD."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from emovc.common.audio_copies import active_level
from emovc.common.synth import PAUSE, Phone, Spoken

HOP_LENGTH = 256
FRAME_CENTRE = 128
MARGIN = 8 * HOP_LENGTH  # silence before and after the speech, in samples
PEAK = 0.9
NOISE_DB = -75.0  # without any noise, log-mels of pauses would lie on their floor


@dataclass(frozen=True)
class Prosody:
    """How an emotion is spoken.

    Attributes:
        rate: Speed as a factor.
        pitch_st: Mean F0 in semitones above the speaker's.
        accent_st: Rise of F0 on stressed syllables in semitones.
        fall_st: Fall of F0 from the first to the last phone in semitones.
        final_st: Movement of F0 after the last stressed vowel in semitones; positive rises.
        level_db: Active level in dB re full scale; less where the peak would pass 0.9.
        tilt_db: Change of the spectrum in dB per octave away from 1 kHz.
        breath: Share of the periodic power that becomes noise at the upper end of the spectrum.
    """

    rate: float
    pitch_st: float
    accent_st: float
    fall_st: float
    final_st: float
    level_db: float
    tilt_db: float
    breath: float


class Performance(NamedTuple):
    """Speech of which the prosody is known.

    Attributes:
        wav: Waveform, (N,), N a multiple of the hop.
        f0_hz: F0 at the centre of each mel frame, 0 = unvoiced, (N // HOP_LENGTH,); between frames
            it is linear in time.
        phones: Phones over the whole waveform.
    """

    wav: np.ndarray
    f0_hz: np.ndarray
    phones: list[Phone]


def f0_contour(
    times_s: np.ndarray,
    phones: Sequence[Phone],
    base_hz: float,
    prosody: Prosody,
    accents: np.ndarray,
) -> np.ndarray:
    """F0 as a line in semitones, a hill on each stressed vowel, and a final rise or fall.

    Args:
        times_s: Times in s, (T,).
        phones: Phones with stress marks.
        base_hz: The speaker's mean F0 in Hz.
        prosody: How it is spoken.
        accents: Factor on the height of each hill, (number of stressed vowels,).

    Returns:
        F0 in Hz as if all were voiced, (T,).
    """
    spoken = [phone for phone in phones if phone.name != PAUSE]
    start, end = spoken[0].start_s, spoken[-1].end_s
    peaks = stressed_vowels(phones)
    place = np.clip((times_s - start) / (end - start), 0.0, 1.0)
    semitones = prosody.pitch_st + prosody.fall_st * (0.5 - place)
    for peak, factor in zip(peaks, accents, strict=True):
        centre, width = (peak.start_s + peak.end_s) / 2, 0.09 / prosody.rate
        semitones += prosody.accent_st * factor * np.exp(-0.5 * ((times_s - centre) / width) ** 2)
    turn = (peaks[-1].start_s + peaks[-1].end_s) / 2 if peaks else (start + end) / 2
    last = np.clip((times_s - turn) / (end - turn), 0.0, 1.0)
    semitones += prosody.final_st * (1 - np.cos(np.pi * last)) / 2
    return base_hz * 2 ** (semitones / 12)


def stressed_vowels(phones: Sequence[Phone]) -> list[Phone]:
    """Phones that bear the main stress of a word."""
    return [phone for phone in phones if phone.name.startswith("ˈ")]


def perform(
    spoken: Spoken, base_hz: float, prosody: Prosody, rng: np.random.Generator
) -> Performance:
    """Give synthesised speech another F0 contour, timbre and level; times stay as they are.

    WORLD (Morise et al., 2016) analyses and synthesises at the centres of the mel frames, so that
    the contour it follows is the one returned.

    Args:
        spoken: Speech of even pitch, whose speed is already that of the prosody.
        base_hz: The speaker's mean F0 in Hz.
        prosody: How it is spoken.
        rng: Draws the heights of the accents (30 %), the mean F0 (0.3 semitones), and the noise.
    """
    import pyworld

    rate, period_ms = spoken.sample_rate, 1000 * HOP_LENGTH / spoken.sample_rate
    n_frames = -(-len(spoken.wav) // HOP_LENGTH) + 2 * MARGIN // HOP_LENGTH
    n_samples = n_frames * HOP_LENGTH
    phones = _with_margins(spoken.phones, rate, n_samples)
    # WORLD's frame t is centred on sample t * hop: the lead moves its frame t + 1 to our frame t.
    lead = HOP_LENGTH - FRAME_CENTRE
    wav = np.zeros(lead + n_samples)
    wav[lead + MARGIN : lead + MARGIN + len(spoken.wav)] = spoken.wav
    found_hz, times_s = _steady_f0(wav, rate, period_ms)
    envelope = pyworld.cheaptrick(wav, found_hz, times_s, rate)
    noise = pyworld.d4c(wav, found_hz, times_s, rate, threshold=0.0)
    accents = rng.uniform(0.7, 1.3, len(stressed_vowels(phones)))
    mean_hz = base_hz * 2 ** (rng.normal(0, 0.3) / 12)
    f0_hz = f0_contour(times_s - lead / rate, phones, mean_hz, prosody, accents).round(3)
    octaves = np.linspace(0, rate / 2, envelope.shape[1])
    envelope = envelope * 10 ** (prosody.tilt_db * np.log2(np.maximum(octaves, 200) / 1000) / 10)
    noise[found_hz == 0] = 1.0
    noise = noise + (1 - noise) * prosody.breath * np.linspace(0, 1, noise.shape[1])
    made = pyworld.synthesize(f0_hz, envelope, noise, rate, period_ms)[lead : lead + n_samples]
    level = active_level(made, rate)
    gain = min(10 ** ((prosody.level_db - level.active_db) / 20), PEAK / level.peak)
    made = made * gain + rng.normal(0, 10 ** (NOISE_DB / 20), n_samples)
    f0_hz = np.where(found_hz > 0, f0_hz, 0.0)
    return Performance(made, f0_hz[1 : n_frames + 1], phones)


def _steady_f0(
    wav: np.ndarray, sample_rate: int, period_ms: float
) -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz and frame times in s of speech whose F0 hardly moves.

    The second look is kept to half an octave about the median of the first: DIO alone takes a loud
    harmonic for F0, or a whole vowel for unvoiced, in about one utterance of fifty.
    """
    import pyworld

    first_hz, _ = pyworld.dio(wav, sample_rate, 60.0, 400.0, frame_period=period_ms)
    middle_hz = float(np.median(first_hz[first_hz > 0])) if first_hz.any() else 150.0
    found_hz, times_s = pyworld.dio(
        wav, sample_rate, middle_hz / 1.35, middle_hz * 1.35, frame_period=period_ms
    )
    return pyworld.stonemask(wav, found_hz, times_s, sample_rate), times_s


def _with_margins(phones: Sequence[Phone], sample_rate: int, n_samples: int) -> list[Phone]:
    """Phones of speech that is set ``MARGIN`` samples into ``n_samples`` samples."""
    margin_s, total_s = MARGIN / sample_rate, n_samples / sample_rate
    inner = [Phone(p.name, p.start_s + margin_s, p.end_s + margin_s) for p in phones]
    if inner[0].name == PAUSE:
        inner = inner[1:]
    if inner[-1].name == PAUSE:
        inner = inner[:-1]
    return [
        Phone(PAUSE, 0.0, inner[0].start_s),
        *inner,
        Phone(PAUSE, inner[-1].end_s, total_s),
    ]
