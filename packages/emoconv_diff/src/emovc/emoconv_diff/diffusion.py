"""Diffusion of a mel towards its average voice, and back, as functions of tensors.

X_0 is a mel and Y its average voice. The forward process dX = 1/2 beta_t (Y - X) dt + sqrt(beta_t)
dW ends near N(Y, I) instead of N(0, I). Scores may come in half precision; every result is at least
float32, since 1 / gamma(0, 1) is 150. Sources: Popov et al., "Diffusion-based voice conversion with
fast maximum likelihood sampling scheme" (DiffVC), ICLR 2022; Raj Prabhu et al., "EmoConv-Diff",
ICASSP 2024.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.precision import single
from emovc.common.trust import Plain

EARLIEST = 1e-5  # The score of t = 0 has no bound; training leaves out this much at either end.


class Schedule(Plain):
    """Noise schedule beta_t = beta_min + (beta_max - beta_min) t, with t from 0 (mel) to 1 (noise).

    Args:
        beta_min: Rate at t = 0, > 0.
        beta_max: Rate at t = 1, at least ``beta_min``.

    Raises:
        UserError: The rates are out of range.

    Source: DiffVC's values.
    """

    def __init__(self, beta_min: float = 0.05, beta_max: float = 20.0) -> None:
        if not 0 < beta_min < math.inf:
            raise UserError(f"schedule.beta_min {beta_min}: give a number above 0")
        if not beta_min <= beta_max < math.inf:
            raise UserError(f"schedule.beta_max {beta_max}: give beta_min, {beta_min}, or more")
        self.beta_min = beta_min
        self.beta_max = beta_max

    def beta(self, t: Tensor) -> Tensor:
        """Rate beta_t, of the shape of ``t``."""
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def integral(self, s: Tensor | float, t: Tensor) -> Tensor:
        """Integral of beta from ``s`` to ``t``."""
        return (t - s) * (self.beta_min + (self.beta_max - self.beta_min) * (t + s) / 2)

    def gamma(self, s: Tensor | float, t: Tensor) -> Tensor:
        """What is left at ``t`` of the distance from Y at ``s``, exp(-1/2 integral of beta)."""
        return torch.exp(-self.integral(s, t) / 2)

    def variance(self, s: Tensor | float, t: Tensor) -> Tensor:
        """Variance of the noise that comes in from ``s`` to ``t``, 1 - gamma(s, t)^2."""
        return -torch.expm1(-self.integral(s, t))  # exact also where gamma rounds to 1

    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation sigma_t of X_t given X_0."""
        return self.variance(0, t).sqrt()

    def log_snr(self, t: Tensor) -> Tensor:
        """Half the log signal-to-noise ratio, ln(gamma(0, t) / sigma_t)."""
        return -self.integral(0, t) / 2 - self.sigma(t).log()


class Posterior(NamedTuple):
    """Coefficients of X_s given X_t and X_0, N(Y + mu (X_t - Y) + nu (X_0 - Y), std^2 I), (B,)."""

    mu: Tensor
    nu: Tensor
    std: Tensor


def draw_times(
    count: int, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Times of a training batch, uniform in [1e-5, 1 - 1e-5], (count,)."""
    t = torch.rand(count, device=device, generator=generator)
    return t.clamp(EARLIEST, 1 - EARLIEST)


def mean(x0: Tensor, y: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Mean mu_t of X_t given X_0, (B, M, T).

    Args:
        x0: Mels, (B, M, T).
        y: Their average voice, (B, M, T).
        t: Times, (B,).
        schedule: Noise schedule.
    """
    gamma = per_frame(schedule.gamma(0, t))
    return gamma * x0 + (1 - gamma) * y


def diffuse(x0: Tensor, y: Tensor, noise: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """X_t = mu_t + sigma_t noise, (B, M, T); the arguments are those of ``mean``, noise N(0, I)."""
    return mean(x0, y, t, schedule) + per_frame(schedule.sigma(t)) * noise


def target_score(x_t: Tensor, x0: Tensor, y: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Score of X_t given X_0, -(X_t - mu_t) / sigma_t^2 = -noise / sigma_t, (B, M, T), t > 0."""
    return (mean(x0, y, t, schedule) - x_t) / per_frame(schedule.variance(0, t))


def estimate_x0(x_t: Tensor, y: Tensor, score: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Mel expected from X_t in one step (Tweedie), (B, M, T), at least float32.

    X0_hat = (X_t + sigma_t^2 score - (1 - gamma) Y) / gamma. The sign is plus, as the score is the
    gradient of the log density; a minus suits a network that predicts the negative score.

    Args:
        x_t: Noisy mels, (B, M, T).
        y: Average voice, (B, M, T).
        score: Score at ``x_t``, (B, M, T).
        t: Times, (B,).
        schedule: Noise schedule.
    """
    gamma, variance = per_frame(schedule.gamma(0, t)), per_frame(schedule.variance(0, t))
    distance = single(x_t) - single(y)
    return y + (distance + variance * score) / gamma


def posterior(s: Tensor, t: Tensor, schedule: Schedule) -> Posterior:
    """Coefficients of the step back from t to s, 0 <= s < t, each of the shape of ``t``.

    Source: DiffVC, Theorem 1 (mu*, nu*, sigma*); at s = 0 they are 0, 1 and 0.
    """
    whole, before = schedule.variance(0, t), schedule.variance(0, s)
    between = schedule.variance(s, t)
    return Posterior(
        mu=schedule.gamma(s, t) * before / whole,
        nu=schedule.gamma(0, s) * between / whole,
        std=(before * between / whole).sqrt(),
    )


def posterior_step(
    x_t: Tensor, x0: Tensor, y: Tensor, noise: Tensor, s: Tensor, t: Tensor, schedule: Schedule
) -> Tensor:
    """X_s drawn given X_t and an estimate of X_0, (B, M, T).

    DiffVC's maximum-likelihood step in a simpler form: its kappa and omega follow from Tweedie.

    Args:
        x_t: Noisy mels at ``t``, (B, M, T).
        x0: Estimate of the mels, (B, M, T).
        y: Average voice, (B, M, T).
        noise: N(0, I), (B, M, T).
        s: Times to go to, (B,).
        t: Times to come from, (B,).
        schedule: Noise schedule.
    """
    mu, nu, std = (per_frame(value) for value in posterior(s, t, schedule))
    return y + mu * (x_t - y) + nu * (x0 - y) + std * noise


def reverse_drift(x: Tensor, y: Tensor, score: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Drift (1/2 (Y - X) - score) beta_t of the reverse SDE, whose noise is sqrt(beta_t) dW."""
    return ((y - x) / 2 - score) * per_frame(schedule.beta(t))


def flow_drift(x: Tensor, y: Tensor, score: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Drift 1/2 (Y - X - score) beta_t of the probability flow, which has no noise."""
    return (y - x - score) / 2 * per_frame(schedule.beta(t))


def per_frame(values: Tensor) -> Tensor:
    """Numbers of utterances (B,) as (B, 1, 1), to go with mels, at least float32."""
    return single(values)[:, None, None]
