"""Scales that let a network of unit-variance input and output give the score at every time.

Source: Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based generative
models" (EDM), NeurIPS 2022, table 1, for this SDE and with X - Y for their x.
"""

from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.precision import single
from emovc.common.trust import Plain
from emovc.emoconv_diff.diffusion import Schedule, per_frame


class Scaling(Plain):
    """How the input and output of a score network are scaled.

    The network sees Y and the distance X_t - Y at zero mean and unit variance. Its output F is to
    be of unit variance; F = 0 is the score of Gaussian mels around Y. The estimate of X_0 - Y is a
    share of X_t - Y and at most ``data_sd`` times F, so no error of F is magnified.

    Args:
        data_sd: Standard deviation of mels around their average voice.
        mel_mean: Mean of average voices.
        mel_sd: Their standard deviation.

    Raises:
        UserError: A deviation is not above 0.
    """

    def __init__(self, data_sd: float = 1.5, mel_mean: float = -6.0, mel_sd: float = 2.2) -> None:
        if not (data_sd > 0 and mel_sd > 0):
            raise UserError(f"scaling: data_sd {data_sd} and mel_sd {mel_sd} must be above 0")
        self.data_sd = data_sd
        self.mel_mean = mel_mean
        self.mel_sd = mel_sd

    def seen(self, x_t: Tensor, y: Tensor, t: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """What the network sees of noisy mels and of Y, (B, M, T) each.

        Args:
            x_t: Noisy mels, (B, M, T).
            y: Average voice, (B, M, T).
            t: Times, (B,).
            schedule: Noise schedule.
        """
        distance = (single(x_t) - y) * per_frame(self._total(t, schedule).rsqrt())
        return distance, (y - self.mel_mean) / self.mel_sd

    def score(
        self, output: Tensor, x_t: Tensor, y: Tensor, t: Tensor, schedule: Schedule
    ) -> Tensor:
        """Score of the network's output F, (B, M, T).

        Args:
            output: Output of the network, (B, M, T).
            x_t: Noisy mels, (B, M, T).
            y: Average voice, (B, M, T).
            t: Times, (B,).
            schedule: Noise schedule.
        """
        total = self._total(t, schedule)
        gain = schedule.gamma(0, t) * self.data_sd / (schedule.sigma(t) * total.sqrt())
        return (y - single(x_t)) / per_frame(total) + per_frame(gain) * single(output)

    def weight(self, t: Tensor, schedule: Schedule) -> Tensor:
        """Weight of L_s by which errors of F count the same at all times, (B,).

        L_s itself is the square of F's error times gamma^2 sd^2 / (gamma^2 sd^2 + sigma^2): nearly
        all of it comes from times near 0, where the noise can hardly be told from the mel.
        """
        return self._total(t, schedule) / (schedule.gamma(0, t) * self.data_sd).square()

    def _total(self, t: Tensor, schedule: Schedule) -> Tensor:
        """Variance of X_t - Y, (B,)."""
        return (schedule.gamma(0, t) * self.data_sd).square() + schedule.variance(0, t)
