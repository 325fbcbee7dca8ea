"""Scales that let a network of unit-variance input and output give the score at every time.

Source: Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based generative
models", NeurIPS 2022, table 1, for this SDE and with X - Y for their x.
"""

from torch import Tensor

from emovc.emoconv_diff.diffusion import Schedule, per_frame, single


def scaled_input(x_t: Tensor, y: Tensor, t: Tensor, schedule: Schedule, data_sd: float) -> Tensor:
    """What the network sees of noisy mels: their distance from Y at unit variance, (B, M, T).

    Args:
        x_t: Noisy mels, (B, M, T).
        y: Average voice, (B, M, T).
        t: Times, (B,).
        schedule: Noise schedule.
        data_sd: Standard deviation of X_0 - Y.
    """
    return y + (single(x_t) - y) * per_frame(_total(t, schedule, data_sd).rsqrt())


def scaled_score(
    output: Tensor, x_t: Tensor, y: Tensor, t: Tensor, schedule: Schedule, data_sd: float
) -> Tensor:
    """Score of the network's output F, (B, M, T).

    F = 0 is the score of Gaussian data around Y. The estimate of X_0 - Y that belongs to the score
    is a share of X_t - Y plus at most ``data_sd`` times F, so an error of F is never magnified.

    Args:
        output: Output of the network, (B, M, T).
        x_t: Noisy mels, (B, M, T).
        y: Average voice, (B, M, T).
        t: Times, (B,).
        schedule: Noise schedule.
        data_sd: Standard deviation of X_0 - Y.
    """
    total = _total(t, schedule, data_sd)
    gain = schedule.gamma(0, t) * data_sd / (schedule.sigma(t) * total.sqrt())
    return (y - single(x_t)) / per_frame(total) + per_frame(gain) * single(output)


def _total(t: Tensor, schedule: Schedule, data_sd: float) -> Tensor:
    """Variance of X_t - Y, (B,)."""
    return (schedule.gamma(0, t) * data_sd).square() + schedule.variance(0, t)
