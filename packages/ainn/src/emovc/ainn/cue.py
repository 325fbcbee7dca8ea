"""The emotional cue: which frames tell the emotion, by class activation mapping.

Source: Chen, Yang, Chen, Lai and Xie, "Attention-based interactive disentangling network for
instance-level emotional voice conversion", Interspeech 2023, Eq. 3; the formulas are those of class
activation mapping (Zhou, Khosla, Lapedriza, Oliva and Torralba, CVPR 2016).
"""

from typing import Literal

import torch
from torch import Tensor

EPSILON = 1e-8
Selection = Literal["cue", "uniform", "energy", "random"]


def class_activation(features: Tensor, weight: Tensor, category: Tensor) -> Tensor:
    """How much each frame speaks for a category: relu(w_y^T F_t), (B, T).

    Args:
        features: Frame-level emotion features F, (B, D, T).
        weight: Weight of the linear category head, (C, D).
        category: Category y of each utterance, (B,).
    """
    return torch.einsum("bd,bdt->bt", weight[category], features).relu()


def emotional_cue(activation: Tensor, mask: Tensor) -> Tensor:
    """Weights M of the frames in [0, 1], the largest of an utterance 1, 0 at padding, (B, T).

    An utterance in which no frame speaks for the category weighs all its frames alike.

    Args:
        activation: Non-negative activation of each frame, (B, T).
        mask: 1 at valid frames, (B, T).
    """
    activation = activation * mask
    highest = activation.amax(1, keepdim=True)
    return torch.where(highest > 0, activation / highest.where(highest > 0, 1.0), mask)


def frame_weights(
    selection: Selection,
    features: Tensor,
    weight: Tensor,
    category: Tensor,
    log_mel: Tensor,
    mask: Tensor,
) -> Tensor:
    """The cue M, or what an ablation puts in its place, without gradient, (B, T).

    ``uniform`` weighs all frames alike, ``energy`` by their level above the utterance's quietest
    frame, on the mel's logarithmic scale, ``random`` by fixed random numbers.

    Args:
        selection: Which of them.
        features: Frame-level emotion features, (B, D, T).
        weight: Weight of the category head, (C, D).
        category: Category of each utterance, (B,).
        log_mel: Log-mel of the utterances, scaled or not, (B, M, T).
        mask: 1 at valid frames, (B, T).
    """
    if selection == "uniform":
        return mask
    if selection == "random":
        numbers = torch.rand(mask.shape[1], generator=torch.Generator().manual_seed(0))
        return emotional_cue(numbers.to(mask).expand_as(mask), mask)
    if selection == "energy":
        level = log_mel.detach().float().logsumexp(1)
        quietest = level.masked_fill(mask == 0, torch.inf).amin(1, keepdim=True)
        return emotional_cue((level - quietest).relu(), mask)
    # Detached, or the losses that use the cue could shape it to their liking.
    activation = class_activation(features.detach(), weight.detach(), category)
    return emotional_cue(activation, mask)


def calibrate(features: Tensor, cue: Tensor) -> Tensor:
    """Emotion vectors e = sum_t M_t F_t / sum_t M_t, (B, D).

    Args:
        features: Frame-level emotion features, (B, D, T).
        cue: Weights of the frames, (B, T).
    """
    total = torch.einsum("bdt,bt->bd", features, cue.to(features))
    return total / cue.to(features).sum(1, keepdim=True).clamp(min=EPSILON)
