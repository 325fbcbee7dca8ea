"""Signal metrics of converted speech against a recording of the same words.

The dialect is one and named: WORLD analysis at 16 kHz every 5 ms (CheapTrick with the F0 of DIO and
StoneMask), mel-cepstra of order 24 with alpha 0.42, outer silence cut 40 dB below the loudest
frame, dynamic time warping on c1 to c24; F0 and voicing by SwiftF0. Dialects that name no tracker
had DIO's F0 throughout; metrics of anything but F0 are the same in both.
"""

from typing import NamedTuple

import numpy as np

from emovc.common.audio_copies import trim_silence
from emovc.common.dtw import warping_path
from emovc.common.f0 import SwiftF0, energy_db
from emovc.common.mel_cepstrum import mel_cepstra
from emovc.common.wav import resample

RATE, HOP, N_FFT, ORDER, ALPHA, TRIM_DB = 16_000, 80, 1024, 24, 0.42, 40
GROSS = 0.2  # relative error from which a pitch error is gross
TRACKER = SwiftF0(RATE, HOP, 0, 50.0, 600.0)
DIALECT = (
    f"world{RATE // 1000}k-{1000 * HOP // RATE}ms-mcep{ORDER}-a{ALPHA}-noc0-dtw-trim{TRIM_DB}"
    f"-swiftf0-{TRACKER.threshold:g}"
)


class Analysis(NamedTuple):
    """What the metrics look at, every 5 ms.

    Attributes:
        cepstra: Mel-cepstra without c0, (T, 24).
        f0_hz: F0 in Hz, 0 = unvoiced, (T,).
        energy_db: Energy in dB re full scale, (T,).
        seconds: Duration without outer silence.
    """

    cepstra: np.ndarray
    f0_hz: np.ndarray
    energy_db: np.ndarray
    seconds: float


def analyse(wav: np.ndarray, sample_rate: int) -> Analysis:
    """Analyse a waveform (N,)."""
    import pyworld

    signal = trim_silence(resample(wav.astype(np.float32), sample_rate, RATE), RATE, TRIM_DB)
    x = signal / max(float(np.sqrt(np.square(signal, dtype=np.float64).mean())), 1e-8)
    # A floor 80 dB below the speech, since digital silence has no logarithm.
    x = x.astype(np.float64) + 1e-4 * np.random.default_rng(0).standard_normal(len(x))
    rough_hz, times = pyworld.dio(x, RATE, 50.0, 600.0, frame_period=1000 * HOP / RATE)
    fine_hz = pyworld.stonemask(x, rough_hz, times, RATE)
    envelope = pyworld.cheaptrick(x, fine_hz, times, RATE, fft_size=N_FFT)
    cepstra = mel_cepstra(envelope, ORDER, ALPHA)[:, 1:]
    energy = energy_db(np.pad(signal, (0, HOP)), 4 * HOP, HOP, 0)
    n = min(len(cepstra), len(energy))
    f0_hz = TRACKER(x, n)
    return Analysis(cepstra[:n], f0_hz, energy[:n], len(signal) / RATE)


def compare(converted: Analysis, target: Analysis) -> dict[str, float]:
    """Distances of converted speech from a recording of the same words.

    Args:
        converted: The converted utterance.
        target: The recording.

    Returns:
        ``mcd_db``; over aligned frames that are voiced in both ``f0_rmse_st`` (semitones),
        ``f0_corr`` (of ln F0) and ``f0_gpe`` (gross pitch error: share of them more than 20 % off),
        NaN where fewer than 10 frames are; ``voicing_error`` (share of aligned frames);
        ``energy_rmse_db`` (means removed); ``duration_error_s``, signed.
    """
    i, j = warping_path(converted.cepstra, target.cepstra)
    difference = converted.cepstra[i] - target.cepstra[j]
    mcd = 10 / np.log(10) * np.sqrt(2 * np.square(difference).sum(1)).mean()
    f0_a, f0_b = converted.f0_hz[i], target.f0_hz[j]
    both = (f0_a > 0) & (f0_b > 0)
    errors = f0_errors(f0_a, f0_b)
    rmse = corr = gross = float("nan")
    if both.sum() >= 10:
        log_a, log_b = np.log(f0_a[both]), np.log(f0_b[both])
        rmse = float(12 / np.log(2) * np.sqrt(np.square(log_a - log_b).mean()))
        corr, gross = correlation(log_a, log_b), errors.gross
    e_a, e_b = converted.energy_db[i], target.energy_db[j]
    energy = np.sqrt(np.square((e_a - e_a.mean()) - (e_b - e_b.mean())).mean())
    return {
        "mcd_db": float(mcd),
        "f0_rmse_st": rmse,
        "f0_corr": corr,
        "f0_gpe": gross,
        "voicing_error": errors.voicing,
        "energy_rmse_db": float(energy),
        "duration_error_s": converted.seconds - target.seconds,
    }


class F0Errors(NamedTuple):
    """How far an F0 track is from another, frame by frame (Chu and Alwan, ICASSP 2009).

    Attributes:
        gross: Share of the frames voiced in both whose F0 is more than 20 % off, NaN if none is.
        voicing: Share of all frames where one is voiced and the other not.
        fine_mean_cents: Mean error of the frames voiced in both that are not gross, in cents.
        fine_sd_cents: Its standard deviation.
        frame: Share of all frames with an error of voicing or a gross one.
    """

    gross: float
    voicing: float
    fine_mean_cents: float
    fine_sd_cents: float
    frame: float


def f0_errors(found_hz: np.ndarray, true_hz: np.ndarray) -> F0Errors:
    """Errors of an F0 track.

    Args:
        found_hz: F0 in Hz, 0 = unvoiced, (T,).
        true_hz: What it is compared with, (T,).
    """
    both = (found_hz > 0) & (true_hz > 0)
    ratio = found_hz[both] / true_hz[both]
    gross = np.abs(ratio - 1) > GROSS
    cents = 1200 * np.log2(ratio[~gross])
    voicing = np.sum((found_hz > 0) != (true_hz > 0))
    nan, n = float("nan"), len(true_hz)
    return F0Errors(
        gross=float(gross.mean()) if len(gross) else nan,
        voicing=float(voicing / n) if n else nan,
        fine_mean_cents=float(cents.mean()) if len(cents) else nan,
        fine_sd_cents=float(cents.std()) if len(cents) else nan,
        frame=float((voicing + gross.sum()) / n) if n else nan,
    )


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of (N,) and (N,), NaN if one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else float("nan")


def bootstrap_interval(
    values: np.ndarray, groups: list[str], seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """95 % interval of a mean, by drawing speakers with replacement.

    Utterances of one speaker are alike, so drawing utterances would give too narrow an interval.

    Args:
        values: One value per utterance, NaN where there is none, (N,).
        groups: Speaker of each utterance.
        seed: Seed of the draws.
        draws: Number of draws.
    """
    rng = np.random.default_rng(seed)
    names = sorted(set(groups))
    rows = [values[[g == name for g in groups]] for name in names]
    sums = np.array([np.nansum(r) for r in rows])
    counts = np.array([np.isfinite(r).sum() for r in rows])
    chosen = rng.integers(len(names), size=(draws, len(names)))
    with np.errstate(invalid="ignore"):
        means = sums[chosen].sum(1) / counts[chosen].sum(1)
    low, high = np.nanpercentile(means, [2.5, 97.5]) if np.isfinite(means).any() else (np.nan,) * 2
    return float(low), float(high)
