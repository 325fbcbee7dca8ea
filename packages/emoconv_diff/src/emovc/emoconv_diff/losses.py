"""Objectives of EmoConv-Diff, as functions of tensors, and how it guides a score.

Source: Raj Prabhu et al., "EmoConv-Diff: Diffusion-based speech emotion conversion for non-parallel
and in-the-wild data", ICASSP 2024.
"""

import math

import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.masking import masked_mean
from emovc.common.precision import single
from emovc.emoconv_diff.diffusion import Schedule, per_frame


def score_matching_loss(
    score: Tensor,
    noise: Tensor,
    t: Tensor,
    mask: Tensor,
    schedule: Schedule,
    weight: Tensor | None = None,
) -> Tensor:
    """L_s: mean of (sigma_t score + noise)^2 over the bands of all valid frames.

    A score of 0 gives 1 in expectation, the exact score given X_0 gives 0.

    Args:
        score: What the network gives at X_t, (B, M, T).
        noise: Noise that X_t was made with, (B, M, T).
        t: Times, (B,).
        mask: 1 at valid frames, (B, T).
        schedule: Noise schedule.
        weight: Weight of each utterance, (B,); by default all weigh the same.
    """
    square = (per_frame(schedule.sigma(t)) * score + noise).square().mean(1)
    return masked_mean(square if weight is None else square * weight[:, None], mask)


def reconstruction_loss(
    x0_hat: Tensor,
    x0: Tensor,
    t: Tensor,
    mask: Tensor,
    schedule: Schedule,
    n_mfcc: int | None = None,
) -> Tensor:
    """L_rec: weighted mean absolute error of the mel estimated in one step, over valid frames.

    Args:
        x0_hat: Estimate of ``diffusion.estimate_x0``, (B, M, T).
        x0: Log-mel, (B, M, T).
        t: Times of the estimates, (B,).
        mask: 1 at valid frames, (B, T).
        schedule: Noise schedule.
        n_mfcc: Compare so many MFCC of the log-mels; None compares the log-mels themselves.

    Raises:
        UserError: ``n_mfcc`` is more than there are bands, or less than 1.
    """
    error = single(x0_hat) - single(x0)
    if n_mfcc is not None:
        error = mfcc(error, n_mfcc)  # linear, so that of the difference will do
    return masked_mean(error.abs().mean(1) * reconstruction_weight(t, schedule)[:, None], mask)


def reconstruction_weight(t: Tensor, schedule: Schedule) -> Tensor:
    """Weight min(1, gamma / sigma) of L_rec, (B,).

    The error of the estimate is sigma / gamma times that of the noise, up to 150 times at t = 1.
    The weight undoes this above t = 0.26, and leaves smaller errors as they are. The paper's
    weight is not known to us.
    """
    return schedule.log_snr(t).exp().clamp(max=1)


def mfcc(log_mel: Tensor, n_mfcc: int) -> Tensor:
    """Mel cepstrum: the first values of the orthonormal DCT-II over bands, (B, n_mfcc, T).

    Args:
        log_mel: Log-mels, (B, M, T).
        n_mfcc: How many, from 1 to M.

    Raises:
        UserError: ``n_mfcc`` is out of range.
    """
    n_mels = log_mel.shape[1]
    if not 1 <= n_mfcc <= n_mels:
        raise UserError(f"n_mfcc {n_mfcc}: give 1 to {n_mels}, the number of mel bands")
    k = torch.arange(n_mfcc, device=log_mel.device, dtype=torch.float64)[:, None]
    m = torch.arange(n_mels, device=log_mel.device, dtype=torch.float64)
    basis = torch.cos(math.pi / n_mels * (m + 0.5) * k) * math.sqrt(2 / n_mels)
    basis[0] /= math.sqrt(2)
    with torch.autocast(log_mel.device.type, enabled=False):
        log_mel = single(log_mel)
        return basis.to(log_mel) @ log_mel


def guided(score_cond: Tensor, score_null: Tensor, weight: float) -> Tensor:
    """Classifier-free guidance: null + weight (cond - null), (B, M, T).

    Args:
        score_cond: Score given the emotion, (B, M, T).
        score_null: Score given none, (B, M, T).
        weight: 0 ignores the emotion, 1 is the plain score, above 1 overstates the emotion.

    Source: Ho and Salimans, "Classifier-free diffusion guidance", 2022; their w is weight - 1.
    """
    return torch.lerp(single(score_null), single(score_cond), weight)
