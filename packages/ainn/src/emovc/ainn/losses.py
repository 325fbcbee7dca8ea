"""Loss terms of AINN, as functions of tensors; the weights are the recipe's.

The paper's own formulas of these terms are not known to us (see the README); each function names
what it follows.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.ainn.cue import EPSILON


def reconstruction_loss(mels: tuple[Tensor, Tensor], target: Tensor, mask: Tensor) -> Tensor:
    """L_rec: mean absolute error of log-mels before and after the post-net, averaged.

    Args:
        mels: Both predictions, each (B, M, T).
        target: Log-mel, (B, M, T).
        mask: 1 at valid frames, (B, T).
    """
    errors = sum((mel - target).abs().mean(1) for mel in mels) / len(mels)
    return (errors * mask).sum() / mask.sum()


def rank_mixup_loss(
    neutral: Tensor, mixed: Tensor, emotional: Tensor, alpha: Tensor, margin: float
) -> Tensor:
    """L_str: strengths rise from neutral over a mixture to emotional speech, by a margin.

    relu(s_n - s_m + d alpha) + relu(s_m - s_a + d (1 - alpha)) + s_n^2, the last so that neutral
    speech has strength 0. Follows Wang, Du and Sisman's ranking of mixtures (arXiv 2303.01508).

    Args:
        neutral: Strengths s_n, (B,).
        mixed: Strengths s_m of the mixtures, (B,).
        emotional: Strengths s_a, (B,).
        alpha: Share of the emotional utterance in each mixture, (B,).
        margin: Difference d between neutral and emotional that is asked for.
    """
    below = (neutral - mixed + margin * alpha).relu()
    above = (mixed - emotional + margin * (1 - alpha)).relu()
    return (below + above + neutral.square()).mean()


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """L_str in the space of features: relu(|a - p|^2 - |a - n|^2 + m), means over the dimensions.

    Args:
        anchor: Emotion vectors, (B, D).
        positive: Those of other utterances of the same emotion, (B, D).
        negative: Those of neutral utterances, (B, D).
        margin: Margin m.
    """
    near = (anchor - positive).square().mean(1)
    far = (anchor - negative).square().mean(1)
    return (near - far + margin).relu().mean()


def cue_correlation(projected: Tensor, features: Tensor, cue: Tensor) -> Tensor:
    """L_dis: squared cosine between content and emotion, where there is emotion.

    sum_t M_t cos^2(P c_t, F_t) / sum_t M_t, averaged over utterances.

    Args:
        projected: Projected content P c, (B, D, T).
        features: Emotion features F, (B, D, T).
        cue: Weights M of the frames, (B, T).
    """
    squared = F.cosine_similarity(projected, features, dim=1).square()
    return ((cue * squared).sum(1) / cue.sum(1).clamp(min=EPSILON)).mean()


def uniformity_loss(logits: Tensor, weight: Tensor) -> Tensor:
    """Distance of posteriors from the uniform one: KL(uniform || p), 0 where they are alike.

    Args:
        logits: Logits, (B, C).
        weight: Weight of each utterance, (B,).
    """
    divergence = -logits.log_softmax(1).mean(1) - math.log(logits.shape[1])
    return (divergence * weight).sum() / weight.sum().clamp(min=1)


def content_consistency(converted: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """L_cc: mean absolute difference of content codes (B, d_c, T) over valid frames (B, T)."""
    error = (converted - source).abs().mean(1)
    return (error * mask).sum() / mask.sum()


def strength_consistency(converted: Tensor, reference: Tensor) -> Tensor:
    """L_esc: mean squared difference of strengths, each (B,)."""
    return torch.square(converted - reference).mean()
