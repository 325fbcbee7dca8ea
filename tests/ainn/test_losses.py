"""The loss terms: hand-computed cases, limits and gradients."""

import math

import pytest
import torch
from tests.ainn.networks import mask_of
from torch import Tensor

from emovc.ainn.losses import (
    content_consistency,
    cue_correlation,
    rank_mixup_loss,
    reconstruction_loss,
    strength_consistency,
    triplet_loss,
    uniformity_loss,
)


def ranked(neutral: float, mixed: float, emotional: float, alpha: float, margin: float) -> Tensor:
    """Rank loss of one utterance."""
    values = [torch.tensor([v]) for v in (neutral, mixed, emotional, alpha)]
    return rank_mixup_loss(values[0], values[1], values[2], values[3], margin)


def test_strengths_in_order_by_the_margins_cost_nothing() -> None:
    strengths = torch.tensor([[0.0, 0.0], [0.4, 0.2], [0.8, 0.9]], requires_grad=True)
    alpha = torch.tensor([0.5, 0.25])
    loss = rank_mixup_loss(strengths[0], strengths[1], strengths[2], alpha, 0.6)
    loss.backward()
    assert loss == 0 and strengths.grad is not None and strengths.grad.abs().sum() == 0


def test_neutral_and_emotional_speech_swapped_cost_what_the_formula_says() -> None:
    assert ranked(0.0, 0.35, 0.7, 0.5, 0.6) == 0
    assert float(ranked(0.7, 0.35, 0.0, 0.5, 0.6)) == pytest.approx(0.65 + 0.65 + 0.49)


def test_the_rank_loss_by_hand() -> None:
    """Below: 0.2 - 0.3 + 0.8 * 0.25 = 0.1; above: 0.3 - 0.7 + 0.8 * 0.75 = 0.2; 0.2^2 = 0.04."""
    assert float(ranked(0.2, 0.3, 0.7, 0.25, 0.8)) == pytest.approx(0.1 + 0.2 + 0.04)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_mixture_that_is_one_of_the_two_leaves_the_rank_loss_of_two(alpha: float) -> None:
    for neutral, emotional in ((0.1, 0.3), (0.5, 0.2), (0.2, 0.9)):
        mixed = emotional if alpha else neutral
        wanted = max(0.0, neutral - emotional + 0.6) + neutral**2
        assert float(ranked(neutral, mixed, emotional, alpha, 0.6)) == pytest.approx(wanted)


def test_the_rank_loss_pulls_each_strength_to_its_side() -> None:
    strengths = torch.tensor([[0.5], [0.5], [0.5]], requires_grad=True)
    alpha = torch.tensor([0.5])
    rank_mixup_loss(strengths[0], strengths[1], strengths[2], alpha, 0.6).backward()
    assert strengths.grad is not None
    assert strengths.grad.flatten().tolist() == [2.0, 0.0, -1.0]  # 1 + 2 s_n, 1 - 1, -1


def test_the_triplet_loss_by_hand() -> None:
    """Mean squares: near 1, far 2."""
    anchor, positive = torch.zeros(1, 2), torch.ones(1, 2)
    negative = torch.tensor([[2.0, 0.0]])
    assert float(triplet_loss(anchor, positive, negative, 0.2)) == 0
    assert float(triplet_loss(anchor, positive, negative, 1.5)) == pytest.approx(0.5)
    assert float(triplet_loss(anchor, negative, positive, 0.2)) == pytest.approx(1.2)


def test_orthogonal_features_are_uncorrelated_and_parallel_ones_wholly() -> None:
    x = torch.randn(2, 6, 9)
    y = torch.cat([x[:, 3:], -x[:, :3]], 1)  # x . y = 0 in each frame
    cue = torch.rand(2, 9)
    assert float(cue_correlation(x, y, cue)) == pytest.approx(0, abs=1e-12)
    for factor in (3.0, -0.2):
        assert float(cue_correlation(x, factor * x, cue)) == pytest.approx(1, abs=1e-6)


def test_only_frames_with_a_cue_count_by_their_cue() -> None:
    """Squared cosines 1, 1/2 and 0 with weights 1, 0.5 and 0, then 0 with weight 1."""
    x = torch.tensor([1.0, 0.0])[None, :, None].expand(2, 2, 3)
    one = torch.tensor([[5.0, 2.0, 0.0], [0.0, 2.0, 1.0]])
    y = torch.stack([one, one.flip(1)])
    cue = torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert float(cue_correlation(x, y, cue)) == pytest.approx((1.25 / 1.5 + 0) / 2, abs=1e-6)


def test_padding_without_content_gives_the_correlation_finite_gradients() -> None:
    mask = mask_of(8, 5)[:, None]
    x, y = (torch.randn(2, 6, 8).mul(mask).requires_grad_() for _ in range(2))
    cue_correlation(x, y, mask[:, 0]).backward()
    assert x.grad is not None and torch.isfinite(x.grad).all() and x.grad[1, :, 5:].eq(0).all()
    assert y.grad is not None and torch.isfinite(y.grad).all() and y.grad[1, :, 5:].eq(0).all()


def test_uniformity_is_the_divergence_from_the_uniform_distribution() -> None:
    one = torch.ones(1)
    assert float(uniformity_loss(torch.full((1, 5), 2.7), one)) == pytest.approx(0, abs=1e-6)
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log() + 4
    wanted = 5 / 3 * math.log(2) - math.log(3)
    assert wanted > 0 and float(uniformity_loss(logits, one)) == pytest.approx(wanted, rel=1e-5)
    assert float(uniformity_loss(torch.randn(7, 4), torch.ones(7))) > 0


def test_utterances_without_weight_are_left_out_of_the_uniformity() -> None:
    logits = torch.randn(2, 4)
    alone = uniformity_loss(logits[:1], torch.ones(1))
    torch.testing.assert_close(uniformity_loss(logits, torch.tensor([1.0, 0.0])), alone)
    assert uniformity_loss(logits, torch.zeros(2)) == 0


def test_reconstruction_is_the_mean_error_of_both_mels_without_padding() -> None:
    target, mask = torch.zeros(2, 3, 4), mask_of(4, 2)
    coarse = 2 * torch.ones(2, 3, 4)
    fine = torch.stack([torch.ones(3, 4), -4 * torch.ones(3, 4)])
    coarse[1, :, 2:] = fine[1, :, 2:] = 99.0
    wanted = (4 * (2 + 1) / 2 + 2 * (2 + 4) / 2) / 6
    assert float(reconstruction_loss((coarse, fine), target, mask)) == pytest.approx(wanted)


def test_consistency_by_hand() -> None:
    a, b = torch.zeros(1, 2, 3), torch.tensor([[[1.0, -1.0, 9.0], [3.0, 0.0, 9.0]]])
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    assert float(content_consistency(a, b, mask)) == pytest.approx((2 + 0.5) / 2)
    strengths = torch.tensor([0.2, 0.9]), torch.tensor([0.5, 0.5])
    assert float(strength_consistency(*strengths)) == pytest.approx((0.09 + 0.16) / 2)
