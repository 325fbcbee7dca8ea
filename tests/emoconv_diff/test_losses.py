"""The objectives: expectations, hand-computed cases, padding and limits."""

import math

import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.emoconv_diff.diffusion import Schedule, diffuse, draw_times, estimate_x0
from emovc.emoconv_diff.losses import (
    guided,
    mfcc,
    reconstruction_loss,
    reconstruction_weight,
    score_matching_loss,
)

SCHEDULE = Schedule()


def batch(size: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mels, average voices, noise (B, 80, 40), times (B,) and mask (B, 40)."""
    generator = torch.Generator().manual_seed(0)
    x0, y, noise = (torch.randn(size, 80, 40, generator=generator) for _ in range(3))
    t = draw_times(size, torch.device("cpu"), generator)
    mask = (torch.arange(40) < torch.linspace(20, 40, size)[:, None]).float()
    return x0 * 2 - 5, y * 2 - 5, noise, t, mask


def exact_score(noise: Tensor, t: Tensor) -> Tensor:
    """Score given X_0."""
    return -noise / SCHEDULE.sigma(t)[:, None, None]


def test_a_network_that_gives_zero_costs_one() -> None:
    _, _, noise, t, mask = batch(64)
    loss = score_matching_loss(torch.zeros_like(noise), noise, t, mask, SCHEDULE)
    assert loss.item() == pytest.approx(1, abs=0.015)


def test_the_exact_score_costs_nothing() -> None:
    _, _, noise, t, mask = batch()
    assert score_matching_loss(exact_score(noise, t), noise, t, mask, SCHEDULE).item() < 1e-12


def test_score_matching_by_hand() -> None:
    """sigma^2 = 1 - 1/e at t = 1 of constant rate 1; errors 2 sigma + 1 and 0 sigma - 1."""
    schedule, t = Schedule(1.0, 1.0), torch.ones(1)
    score, noise = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[1.0, -1.0]]])
    sigma = math.sqrt(1 - math.exp(-1))
    wanted = ((2 * sigma + 1) ** 2 + 1) / 2
    got = score_matching_loss(score, noise, t, torch.ones(1, 2), schedule)
    assert got.item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("n_mfcc", [None, 13])
def test_padding_changes_no_loss(n_mfcc: int | None) -> None:
    x0, y, noise, t, mask = batch()
    score = exact_score(noise, t) * 0.5 + y
    valid = mask[:, None]
    losses = []
    for fill in (0.0, 1e4):
        filled = [torch.where(valid > 0, v, fill) for v in (score, noise, y, x0)]
        wide = [torch.nn.functional.pad(v, (0, 8), value=fill) for v in filled]
        longer = torch.nn.functional.pad(mask, (0, 8))
        losses.append(
            [
                score_matching_loss(wide[0], wide[1], t, longer, SCHEDULE).item(),
                reconstruction_loss(wide[2], wide[3], t, longer, SCHEDULE, n_mfcc).item(),
            ]
        )
    plain = [
        score_matching_loss(score, noise, t, mask, SCHEDULE).item(),
        reconstruction_loss(y, x0, t, mask, SCHEDULE, n_mfcc).item(),
    ]
    assert losses[0] == pytest.approx(plain) and losses[1] == pytest.approx(plain)


def test_every_valid_frame_weighs_the_same() -> None:
    """One frame of error 1 and three of error 2: 1.75 on average, not 1.5."""
    x0_hat = torch.tensor([1.0, 2.0])[:, None, None].expand(2, 5, 3)
    mask, t = torch.tensor([[1.0, 0, 0], [1, 1, 1]]), torch.full((2,), 0.1)
    loss = reconstruction_loss(x0_hat, torch.zeros(2, 5, 3), t, mask, SCHEDULE)
    assert loss.item() == pytest.approx(1.75)
    squares = score_matching_loss(torch.zeros(2, 5, 3), x0_hat, t, mask, SCHEDULE)
    assert squares.item() == pytest.approx((1 + 3 * 4) / 4)


def test_the_error_of_the_estimate_is_that_of_the_noise_times_sigma_over_gamma() -> None:
    x0, y, noise, _, _ = batch()
    t = torch.tensor([0.05, 0.3, 0.6, 0.8])
    score = exact_score(noise, t) * 0.7
    error = estimate_x0(diffuse(x0, y, noise, t, SCHEDULE), y, score, t, SCHEDULE) - x0
    ratio = SCHEDULE.sigma(t) / SCHEDULE.gamma(0, t)
    wanted = ratio[:, None, None] * (SCHEDULE.sigma(t)[:, None, None] * score + noise)
    assert torch.allclose(error, wanted, atol=2e-4)


@pytest.mark.parametrize("t", [0.01, 0.2, 0.3, 0.6, 0.9])
def test_the_weighted_error_is_the_mels_at_little_noise_and_the_noises_at_much(t: float) -> None:
    x0, y, noise, _, mask = batch()
    times = torch.full((4,), t)
    score = exact_score(noise, times) * 0.7  # leaves 0.3 of the noise
    x0_hat = estimate_x0(diffuse(x0, y, noise, times, SCHEDULE), y, score, times, SCHEDULE)
    loss = reconstruction_loss(x0_hat, x0, times, mask, SCHEDULE)
    noise_error = 0.3 * ((noise.abs().mean(1) * mask).sum() / mask.sum()).item()
    scale = (SCHEDULE.sigma(times) / SCHEDULE.gamma(0, times))[0].item()
    assert loss.item() == pytest.approx(noise_error * min(1, scale), rel=1e-3)


def test_the_weight_is_one_up_to_equal_signal_and_noise_then_gamma_over_sigma() -> None:
    t = torch.tensor([0.0, 1e-5, 0.1, 0.26, 0.5, 1.0])
    wanted = [1, 1, 1, 1, 1 / 3.378, 1 / 150.3]
    assert reconstruction_weight(t, SCHEDULE).tolist() == pytest.approx(wanted, rel=5e-4)


def test_the_gradient_of_the_weighted_loss_stays_bounded_over_time() -> None:
    x0, y, noise, _, _ = batch(50)
    t = torch.linspace(1e-5, 1 - 1e-5, 50)
    score = torch.zeros_like(noise, requires_grad=True)
    x0_hat = estimate_x0(diffuse(x0, y, noise, t, SCHEDULE), y, score, t, SCHEDULE)
    reconstruction_loss(x0_hat, x0, t, torch.ones(50, 40), SCHEDULE).backward()
    assert score.grad is not None
    # sigma * min(1, sigma / gamma) / (number of values) <= 1 / (number of values)
    assert score.grad.abs().max().item() <= 1.0001 / noise.numel()


def test_a_constant_difference_is_in_the_first_mfcc_alone() -> None:
    """An offset d of 80 bands is d sqrt(80) in coefficient 0, so the mean over 13 is that / 13."""
    x0, _, _, _, mask = batch()
    t = torch.full((4,), 0.1)
    loss = reconstruction_loss(x0 + 0.3, x0, t, mask, SCHEDULE, n_mfcc=13)
    assert loss.item() == pytest.approx(0.3 * math.sqrt(80) / 13, rel=1e-4)


def test_a_cosine_over_bands_is_one_mfcc() -> None:
    bands = torch.arange(80) + 0.5
    wave = torch.cos(math.pi / 80 * 3 * bands)[None, :, None]
    wanted = torch.zeros(1, 13, 1)
    wanted[0, 3] = math.sqrt(80 / 2)
    assert torch.allclose(mfcc(wave, 13), wanted, atol=1e-5)


def test_all_mfcc_keep_the_energy_and_fewer_are_the_first_of_them() -> None:
    x0 = batch()[0]
    whole = mfcc(x0, 80)
    assert torch.allclose(whole.square().sum(1), x0.square().sum(1), rtol=1e-4)
    assert torch.allclose(mfcc(x0, 13), whole[:, :13], atol=1e-5)


def test_the_losses_are_single_precision_under_autocast() -> None:
    x0, y, noise, t, mask = batch()
    plain = [
        score_matching_loss(y, noise, t, mask, SCHEDULE),
        reconstruction_loss(y, x0, t, mask, SCHEDULE, n_mfcc=13),
    ]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = [
            score_matching_loss(y, noise, t, mask, SCHEDULE),
            reconstruction_loss(y, x0, t, mask, SCHEDULE, n_mfcc=13),
        ]
    assert all(value.dtype == torch.float32 for value in cast)
    assert [v.item() for v in cast] == pytest.approx([v.item() for v in plain], rel=1e-6)


@pytest.mark.parametrize("n_mfcc", [0, 81])
def test_more_mfcc_than_bands_are_refused(n_mfcc: int) -> None:
    x0, _, _, t, mask = batch()
    with pytest.raises(UserError, match=f"n_mfcc {n_mfcc}: give 1 to 80"):
        reconstruction_loss(x0, x0, t, mask, SCHEDULE, n_mfcc)


def test_guidance_of_weight_zero_ignores_the_emotion_and_of_one_is_plain() -> None:
    cond, null = batch()[:2]
    assert torch.equal(guided(cond, null, 0.0), null)
    assert torch.equal(guided(cond, null, 1.0), cond)
    assert torch.allclose(guided(cond, null, 4.0), null + 4 * (cond - null), atol=1e-4)
    assert torch.equal(guided(cond, cond, 4.0), cond)


def test_guidance_sharpens_what_the_condition_says() -> None:
    """p(x) = N(0, 2), p(x | c) = N(1, 1): p(c | x)^2 p(x) = N(4/3, 2/3), found by its score's 0."""
    x = torch.full((1, 1, 1), 4 / 3)
    assert guided(1 - x, -x / 2, 2.0).abs().item() < 1e-6
    slope = guided(1 - (x + 1), -(x + 1) / 2, 2.0) - guided(1 - x, -x / 2, 2.0)
    assert slope.item() == pytest.approx(-3 / 2)
