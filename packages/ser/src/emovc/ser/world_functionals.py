"""Our own functionals of an utterance: F0, energy, spectrum and rhythm, from WORLD and NumPy."""

from functools import lru_cache

import numpy as np

from emovc.common.audio import slaney_mel_filters
from emovc.common.audio_copies import trim_silence
from emovc.common.errors import UserError
from emovc.common.wav import SILENCE, resample

RATE = 16_000  # Hz; everything is resampled to it, so that scores don't depend on a file's rate
SHORTEST_S = 0.1
HOP, WINDOW, N_FFT, N_MELS, N_MFCC = 160, 400, 512, 40, 12
TRIM_DB, ACTIVE_DB = 40, 30  # below the loudest frame: cut off at the ends; no speech
F0_MIN, F0_MAX, F0_UNIT = 50.0, 600.0, 100.0  # Hz; semitones are counted from the last
LEAST_VOICED = 0.05  # of the frames with speech; real speech has more, noise and whispering less
CONTOURS = (
    "f0_st", "energy_db", "tilt_db_per_octave", "alpha_db", "hammarberg_db", "centroid_octaves",
    "flux_db", *(f"mfcc{i}" for i in range(1, N_MFCC + 1)),
)  # fmt: skip
STATISTICS = (
    "mean", "std", "p20", "p50", "p80", "range", "slope_per_s", "delta_abs", "delta_std",
)  # fmt: skip
RHYTHM = ("voiced_share", "pause_share", "voiced_runs_per_s", "voiced_run_s", "peaks_per_s")


class WorldFunctionals:
    """Our own set: 19 contours every 10 ms times 9 statistics, and 5 numbers of rhythm.

    The contours are F0 (WORLD's DIO and StoneMask, in semitones above 100 Hz, voiced frames only),
    energy, spectral tilt, alpha ratio (50 to 1000 Hz over 1000 to 5000 Hz), Hammarberg index
    (strongest below 2 kHz over strongest from 2 to 5 kHz), spectral centroid, change of the mel
    spectrum from frame to frame, and mel-frequency cepstra 1 to 12. The statistics are mean,
    standard deviation, percentiles 20, 50 and 80, distance of percentiles 5 and 95, slope of the
    regression line, and mean size and standard deviation of the deltas. Rhythm is the share of
    voiced frames in the speech, the share of pauses, number and mean length of voiced stretches,
    and peaks of the energy per second, which follow the syllables.

    Nothing depends on the level: the level of a file tells more of its recording than of its
    speaker. Outer silence is cut off; frames 30 dB below the loudest are pauses.

    Source: the choice of contours follows Eyben et al., "The Geneva minimalistic acoustic parameter
    set (GeMAPS)", IEEE Transactions on Affective Computing 7(2), 2016; its numbers are others.
    """

    name = "emovc-functionals-1"
    names = (*(f"{c}.{s}" for c in CONTOURS for s in STATISTICS), *RHYTHM)

    def __call__(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """See :class:`~emovc.ser.functionals.Functionals`."""
        signal = speech_at_16k(wav, sample_rate)
        signal = trim_silence(signal - signal.mean(), RATE, TRIM_DB)
        signal = signal / np.sqrt(np.square(signal).mean())
        power = _power(signal)
        energy = 10 * np.log10(power.sum(1))
        active = energy > energy.max() - ACTIVE_DB
        f0_hz = _f0(signal, len(power))
        voiced = active & (f0_hz > 0)
        if voiced.sum() < max(LEAST_VOICED * active.sum(), 2):
            raise UserError("no voiced speech in the recording; it can't be measured")
        places = np.flatnonzero(voiced)
        f0_st = 12 * np.log2(f0_hz[places] / F0_UNIT)
        f0 = np.interp(np.arange(len(power)), places, f0_st)
        contours = np.column_stack([f0, energy, _spectral(power)])
        numbers = [
            _statistics(contour, voiced if name == "f0_st" else active)
            for name, contour in zip(CONTOURS, contours.T, strict=True)
        ]
        return np.concatenate([*numbers, _rhythm(energy, active, voiced)])


def speech_at_16k(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """A waveform (N,) at 16 kHz.

    Raises:
        UserError: It is silent, shorter than 0.1 s, or holds NaN.
    """
    if len(wav) < SHORTEST_S * sample_rate:
        raise UserError(f"the recording is shorter than {SHORTEST_S} s; it can't be measured")
    if not np.isfinite(wav).all() or np.abs(wav).max() < SILENCE:
        raise UserError("the recording is silent or holds NaN; it can't be measured")
    return resample(np.asarray(wav, dtype=np.float32), sample_rate, RATE).astype(np.float64)


def _power(signal: np.ndarray) -> np.ndarray:
    """Power spectra every 10 ms, (T, N_FFT // 2 + 1), with a floor 80 dB below the speech."""
    padded = np.pad(signal, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * np.hanning(WINDOW), N_FFT)
    return np.square(np.abs(spectrum)) + 1e-8 * WINDOW / 2


def _f0(signal: np.ndarray, n_frames: int) -> np.ndarray:
    """F0 in Hz at the centres of the frames, 0 = unvoiced, (T,)."""
    import pyworld

    f0_hz, times = pyworld.dio(signal, RATE, F0_MIN, F0_MAX, frame_period=1000 * HOP / RATE)
    f0_hz = np.nan_to_num(pyworld.stonemask(signal, f0_hz, times, RATE))[:n_frames]
    return np.pad(f0_hz, (0, n_frames - len(f0_hz)))


@lru_cache(maxsize=1)
def _bases() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies (F,) in Hz, mel filters (F, M), regression on octaves (M,), cosines (M, 12)."""
    hz = np.fft.rfftfreq(N_FFT, 1 / RATE)
    filters = slaney_mel_filters(RATE, N_FFT, N_MELS, 0.0, RATE / 2).T
    octaves = np.log2(hz @ filters / filters.sum(0))
    octaves -= octaves.mean()
    order, band = np.arange(1, N_MFCC + 1), np.arange(N_MELS)[:, None]
    cosines = np.sqrt(2 / N_MELS) * np.cos(np.pi * order * (band + 0.5) / N_MELS)
    return hz, filters, octaves / np.square(octaves).sum(), cosines


def _spectral(power: np.ndarray) -> np.ndarray:
    """The spectral contours, in the order of :data:`CONTOURS`, (T, 17)."""
    hz, filters, regression, cosines = _bases()
    mel = 10 * np.log10(power @ filters)
    low, high, body = (hz >= 50) & (hz < 1000), (hz >= 1000) & (hz < 5000), hz < 2000
    alpha = 10 * np.log10(power[:, low].sum(1) / power[:, high].sum(1))
    peak, upper = power[:, body].max(1), power[:, ~body & (hz < 5000)].max(1)
    centroid = np.log2(power @ hz / power.sum(1))
    flux = np.abs(np.diff(mel, axis=0, prepend=mel[:1])).mean(1)
    tilt, hammarberg = mel @ regression, 10 * np.log10(peak / upper)
    return np.column_stack([tilt, alpha, hammarberg, centroid, flux, mel @ cosines])


def _statistics(contour: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The numbers :data:`STATISTICS` of the chosen frames of a contour (T,)."""
    values, times = contour[chosen], np.flatnonzero(chosen) * HOP / RATE
    p5, p20, p50, p80, p95 = np.percentile(values, [5, 20, 50, 80, 95])
    centred = times - times.mean()
    slope = (centred @ values) / (centred @ centred)
    edges = np.pad(contour, 2, mode="edge")
    delta = (2 * (edges[4:] - edges[:-4]) + edges[3:-1] - edges[1:-3])[chosen] / 10
    size = np.abs(delta).mean()
    return np.array(
        [values.mean(), values.std(), p20, p50, p80, p95 - p5, slope, size, delta.std()]
    )


def _rhythm(energy: np.ndarray, active: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """The numbers :data:`RHYTHM` of frames (T,)."""
    seconds = len(energy) * HOP / RATE
    runs = int(np.diff(voiced.astype(int), prepend=0).clip(min=0).sum())
    smooth = np.convolve(energy, np.hanning(11) / np.hanning(11).sum(), mode="same")
    inner = smooth[1:-1]
    peaks = (inner > smooth[:-2]) & (inner >= smooth[2:]) & active[1:-1]
    run_s = float(voiced.sum()) * HOP / RATE / runs
    shares = voiced.sum() / active.sum(), 1 - active.mean()
    return np.array([*shares, runs / seconds, run_s, float(peaks.sum()) / seconds])
