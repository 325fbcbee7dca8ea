"""Objectives of Genner TTS, as functions of tensors; each leaves padding out.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022, and the authors' code.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.common.masking import masked_mean
from emovc.common.precision import single
from emovc.genner_tts.flow import FlowOutput

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_SHIFT = 6.0  # makes log10-mels positive, so that frames beyond the edge, 0, are the quietest
SSIM_EPS = (0.01**2, 0.03**2)
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class DurationLosses(NamedTuple):
    """Errors of durations at three scales, each a scalar."""

    phone: Tensor
    word: Tensor
    sentence: Tensor


def mel_l1_loss(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error over the bands of all valid frames.

    Args:
        pred: Predicted log-mels, (B, M, T).
        target: Log-mels, (B, M, T).
        mask: 1 at valid frames, (B, T).
    """
    return masked_mean((pred - target).abs().mean(1), mask)


def ssim_loss(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """One minus the structural similarity of mels as images, over the bands of all valid frames.

    Outside the bands and the utterance both images are 0, after a shift by 6. Constants are those
    of images between 0 and 1, as in the authors' code. In float32 at least, also under autocast.

    Source: Wang et al., "Image quality assessment: From error visibility to structural similarity",
    IEEE Transactions on Image Processing, 2004, eq. 13.

    Args:
        pred: Predicted log10-mels, (B, M, T).
        target: Log10-mels, (B, M, T).
        mask: 1 at valid frames, (B, T).
    """
    with torch.autocast(pred.device.type, enabled=False):
        x, y = ((single(mel) + SSIM_SHIFT) * mask[:, None] for mel in (pred, target))
        maps = torch.stack([x, y, x * x, y * y, x * y], 1)  # (B, 5, M, T)
        mean_x, mean_y, square_x, square_y, product = _blurred(maps).unbind(1)
        var_x, var_y = square_x - mean_x**2, square_y - mean_y**2
        covariance = product - mean_x * mean_y
        c1, c2 = SSIM_EPS
        light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        structure = (2 * covariance + c2) / (var_x + var_y + c2)
        return masked_mean(1 - (light * structure).mean(1), mask)


def _blurred(maps: Tensor) -> Tensor:
    """Gaussian mean around each pixel of (B, K, M, T), with zeros outside."""
    steps = torch.arange(SSIM_WINDOW, device=maps.device, dtype=maps.dtype) - SSIM_WINDOW // 2
    bell = torch.softmax(-(steps**2) / (2 * SSIM_SIGMA**2), 0)
    flat = maps.flatten(0, 1)[:, None]
    pad = SSIM_WINDOW // 2
    along = F.conv2d(flat, bell.view(1, 1, 1, -1), padding=(0, pad))
    return F.conv2d(along, bell.view(1, 1, -1, 1), padding=(pad, 0)).view_as(maps)


def duration_losses(
    log_durations: Tensor, durations: Tensor, mask: Tensor, words: Tensor
) -> DurationLosses:
    """Mean square errors of log(d + 1), for phones, words and whole utterances.

    Args:
        log_durations: Predicted log(d + 1) of each phone, (B, L).
        durations: Frames of each phone, (B, L).
        mask: 1 at valid phones, (B, L).
        words: Word of each phone, counted from 1, 0 at padding, (B, L).
    """
    log_durations = single(log_durations)
    wanted = durations.to(log_durations.dtype) * mask
    found = torch.expm1(log_durations).clamp(min=0) * mask
    both = torch.stack([found, wanted])  # (2, B, L)
    rows = words.expand_as(both)
    n_words = int(words.max()) + 1
    by_word = both.new_zeros(2, len(words), n_words).scatter_add(2, rows, both)[:, :, 1:]
    present = F.one_hot(words, n_words).amax(1)[:, 1:].to(both.dtype)
    found_word, wanted_word = by_word.log1p()
    found_all, wanted_all = both.sum(2).log1p()
    return DurationLosses(
        masked_mean((log_durations - wanted.log1p()) ** 2, mask.to(both.dtype)),
        masked_mean((found_word - wanted_word) ** 2, present),
        (found_all - wanted_all).square().mean(),
    )


def f0_loss(pitch: Tensor, f0: Tensor, voiced: Tensor) -> Tensor:
    """Mean absolute error of normalised F0 over the voiced frames.

    Args:
        pitch: Predicted F0 and unvoiced logit, (B, T, 2).
        f0: Normalised F0, (B, T).
        voiced: 1 at voiced frames, (B, T).
    """
    return ((pitch[..., 0] - f0).abs() * voiced).sum() / voiced.sum().clamp(min=1)


def unvoiced_loss(pitch: Tensor, voiced: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of the unvoiced logit over the valid frames.

    Args:
        pitch: Predicted F0 and unvoiced logit, (B, T, 2).
        voiced: 1 at voiced frames, (B, T).
        mask: 1 at valid frames, (B, T).
    """
    logit = single(pitch[..., 1])
    entropy = F.binary_cross_entropy_with_logits(
        logit, 1 - voiced.to(logit.dtype), reduction="none"
    )
    return masked_mean(entropy, mask)


def flow_nll(flow: FlowOutput) -> Tensor:
    """Negative log-likelihood of the mels, in nats per valid mel cell.

    The likelihood of the noise in added frames is taken off. The authors' code pairs the
    log-determinant of each utterance with the length of every other one; here each has its own.

    Args:
        flow: What the post-net gives.
    """
    n_mels = flow.z.shape[1]
    latent = (0.5 * flow.z.square() + HALF_LOG_2PI) * flow.mask[:, None]
    added = (0.5 * flow.filler.square() + HALF_LOG_2PI) * flow.filled[:, None]
    nats = (latent - added).sum((1, 2)) - flow.log_det  # (B,)
    return nats.sum() / ((flow.mask - flow.filled).sum() * n_mels)


def guided_attention_loss(
    weights: Tensor, mask: Tensor, key_mask: Tensor, sigma: float = 0.3
) -> Tensor:
    """Attention far from the diagonal, mean over the valid cells, summed over the layers.

    Source: Tachibana, Uenoyama and Aihara, "Efficiently trainable text-to-speech system based on
    deep convolutional networks with guided attention", ICASSP 2018, section 4.1.

    Args:
        weights: Attention weights, (K, B, T, N).
        mask: 1 at valid frames, (B, T).
        key_mask: 1 at valid keys, (B, N).
        sigma: Width of the diagonal, as a share of the utterance.
    """
    frame = _relative_time(mask, weights.dtype)[:, :, None]
    key = _relative_time(key_mask, weights.dtype)[:, None]
    penalty = 1 - torch.exp(-((key - frame) ** 2) / (2 * sigma**2))
    cells = (mask[:, :, None] * key_mask[:, None]).to(weights.dtype)
    return (weights * penalty * cells).sum() / cells.sum()


def _relative_time(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Each position over the utterance's number of them, (B, T)."""
    steps = torch.arange(mask.shape[1], device=mask.device, dtype=dtype)
    return steps / (mask > 0).sum(1, keepdim=True).clamp(min=1)


def commitment_loss(encoded: Tensor, codes: Tensor, mask: Tensor, weight: float = 0.25) -> Tensor:
    """Weighted mean square between vectors and their codes, over the valid positions.

    Source: van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning",
    NeurIPS 2017, eq. 3, last term.

    Args:
        encoded: Vectors before quantisation, (B, N, C).
        codes: Codes without gradient, (B, N, C).
        mask: 1 at valid positions, (B, N).
        weight: The paper's beta.
    """
    error = (encoded - codes.detach()).square().mean(2)
    return weight * (error * mask).sum() / mask.sum()
