"""Mel-cepstra of WORLD's spectral envelope, the features of MCD."""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def frequency_warping(n_cepstra: int, order: int, alpha: float) -> np.ndarray:
    """Matrix that warps cepstra by an all-pass filter (Oppenheim and Johnson, 1972; SPTK's freqt).

    Args:
        n_cepstra: Values of the cepstrum that is warped.
        order: Order of the mel-cepstrum.
        alpha: All-pass constant; 0 changes nothing.

    Returns:
        Matrix (order + 1, n_cepstra).
    """
    beta = 1 - alpha**2
    old = np.zeros((order + 1, n_cepstra))
    # SPTK's recursion over the cepstrum from its last value to its first, for all unit cepstra at
    # once: row m of `old` is the m-th output as a linear function of the input.
    for value in np.eye(n_cepstra)[::-1]:
        new = np.empty_like(old)
        new[0] = value + alpha * old[0]
        if order >= 1:
            new[1] = beta * old[0] + alpha * old[1]
        for m in range(2, order + 1):
            new[m] = old[m - 1] + alpha * (old[m] - new[m - 1])
        old = new
    return old


def mel_cepstra(power: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """Mel-cepstra of power spectra, as SPTK's and pysptk's ``sp2mc``.

    Args:
        power: Power spectra, (T, n_fft // 2 + 1).
        order: Order of the mel-cepstrum.
        alpha: All-pass constant, 0.42 at 16 kHz.

    Returns:
        Mel-cepstra, (T, order + 1).
    """
    cepstra = np.fft.irfft(np.log(power), axis=1)[:, : power.shape[1]]
    cepstra[:, 0] /= 2
    return cepstra @ frequency_warping(power.shape[1], order, alpha).T
