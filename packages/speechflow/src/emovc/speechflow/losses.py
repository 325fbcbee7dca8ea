"""Objectives of SpeechFlow: reconstruction, F0, and the random-embedding-replacement cycle loss.

Source of the cycle loss: Sun, Chen, Li and Wang, "CycleFlow: Purify Information Factors by Cycle
Loss", arXiv 2110.09928, and its official code.
"""

from typing import Literal

import torch
from torch import Tensor

from emovc.common.masking import masked_mean
from emovc.speechflow.model import Codes
from emovc.speechflow.pitch import f0_one_hot

Balance = Literal["elements", "factors"]
Normalise = Literal["none", "batch_sd", "cosine"]
Pairing = Literal["permutation", "derangement", "same_speaker", "time_shift", "none"]
F0Loss = Literal["mse_onehot", "ce"]


def masked_mse(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the valid frames of (B, M, T), with ``mask`` (B, T)."""
    error = (pred.float() - target.float()).square().mean(dim=1)  # (B, T)
    return masked_mean(error, mask)


def f0_loss(output: Tensor, bins: Tensor, mask: Tensor, kind: F0Loss) -> Tensor:
    """Loss of an F0 decoder over valid frames.

    Args:
        output: What it gives, (B, K, T).
        bins: True bins, (B, T).
        mask: 1 at valid frames, (B, T).
        kind: ``ce`` takes the output for logits; ``mse_onehot`` is CycleFlow's squared error
            between the raw output and the one-hot bins.

    Returns:
        Scalar loss.
    """
    if kind == "mse_onehot":
        return masked_mse(output, f0_one_hot(bins, output.shape[1]), mask)
    error = torch.nn.functional.cross_entropy(output.float(), bins, reduction="none")  # (B, T)
    return masked_mean(error, mask)


def draw_partners(speaker: Tensor, pairing: Pairing) -> Tensor:
    """Whose code each sample of the batch gets, (B,).

    Args:
        speaker: Speaker of each sample, (B,).
        pairing: ``permutation`` is random (CycleFlow); ``derangement`` gives nobody his own;
            ``same_speaker`` permutes within each speaker; ``time_shift`` gives everybody his own,
            to be shifted in time; ``none`` replaces nothing.
    """
    n = len(speaker)
    if pairing in ("time_shift", "none"):
        return torch.arange(n, device=speaker.device)
    order = torch.randperm(n, device=speaker.device)
    if pairing == "permutation":
        return order
    partner = torch.empty_like(order)
    if pairing == "derangement":
        partner[order] = order.roll(1)  # one cycle through everybody
        return partner
    order = order[speaker[order].argsort(stable=True)]  # random within each speaker
    for group in order.split(speaker.unique(return_counts=True)[1].tolist()):
        partner[group] = group.roll(1)
    return partner


def replace_factor(codes: Codes, factor: int, partner: Tensor, shift: int = 0) -> Codes:
    """Replace one factor's codes by the partners', shifted cyclically by ``shift`` codes."""
    swapped = list(codes)
    swapped[factor] = codes[factor][partner].roll(shift, dims=1)
    return Codes(*swapped)


def code_distance(
    codes: Codes,
    target: Codes,
    mask: Tensor,
    balance: Balance = "elements",
    normalise: Normalise = "none",
) -> Tensor:
    """Distance of re-encoded codes from the codes they were decoded from.

    Args:
        codes: Codes of the reconstruction.
        target: Codes it was decoded from.
        mask: 1 at valid codes, (B, N).
        balance: ``elements`` averages over all values, as the authors do, which leaves the rhythm
            2 % of the weight; ``factors`` averages the three factors' means.
        normalise: ``none`` is the authors' squared error, which shrinking codes satisfy as well as
            agreeing ones; ``batch_sd`` divides by the target's standard deviation, floored at 0.01;
            ``cosine`` is one minus the cosine of each code.

    Returns:
        Scalar distance.
    """
    parts = [
        _factor_distance(a.float(), b.float(), mask, normalise)
        for a, b in zip(codes, target, strict=True)
    ]
    if balance == "factors":
        return torch.stack(parts).mean()
    sizes = parts[0].new_tensor([code.shape[-1] for code in codes])
    return (torch.stack(parts) * sizes).sum() / sizes.sum()


def _factor_distance(code: Tensor, target: Tensor, mask: Tensor, normalise: Normalise) -> Tensor:
    """Distance of one factor's codes (B, N, C), averaged over valid codes and values."""
    if normalise == "cosine":
        error = 1 - torch.nn.functional.cosine_similarity(code, target, dim=-1)
        return masked_mean(error, mask)
    error = (code - target).square().mean(-1)  # (B, N)
    if normalise == "batch_sd":
        error = error / code_deviation(target.detach(), mask).clamp(min=0.01).square()
    return masked_mean(error, mask)


def code_deviation(code: Tensor, mask: Tensor) -> Tensor:
    """Root mean square deviation of codes (B, N, C) from their mean over valid codes."""
    return _variances(code, mask).mean().sqrt()


def variance_hinge(code: Tensor, mask: Tensor, floor: float) -> Tensor:
    """How far each value's standard deviation over (B, N) stays below ``floor``, averaged.

    Source: Bardes, Ponce and LeCun, VICReg, ICLR 2022, eq. 1.
    """
    return (floor - (_variances(code, mask) + 1e-8).sqrt()).clamp(min=0).mean()


def _variances(code: Tensor, mask: Tensor) -> Tensor:
    """Variance (C,) of each value of codes (B, N, C) over the valid codes."""
    valid = mask[..., None]
    mean = (code * valid).sum((0, 1), keepdim=True) / mask.sum()
    return ((code - mean).square() * valid).sum((0, 1)) / mask.sum()


def linear_warmup(step: int, start: int, stop: int) -> float:
    """0 before ``start``, 1 from ``stop`` on, linear between."""
    if step >= stop:
        return 1.0
    return max(0.0, (step - start) / (stop - start)) if stop > start else 0.0
