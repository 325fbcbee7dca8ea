"""The diffusion: printed numbers, identities, limits, and the forward process simulated."""

import math

import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.pretrained import build
from emovc.emoconv_diff.diffusion import (
    Schedule,
    diffuse,
    draw_times,
    estimate_x0,
    flow_drift,
    mean,
    posterior,
    posterior_step,
    reverse_drift,
    target_score,
)

SCHEDULE = Schedule()
PRINTED = [  # t, gamma, sigma^2, sigma / gamma
    (0.01, 0.999252, 0.001496, 0.039),
    (0.05, 0.986375, 0.027065, 0.167),
    (0.1, 0.948973, 0.099450, 0.332),
    (0.2, 0.815055, 0.335686, 0.711),
    (0.3, 0.633576, 0.598581, 1.221),
    (0.4, 0.445749, 0.801308, 2.008),
    (0.5, 0.283831, 0.919440, 3.378),
    (0.6, 0.163572, 0.973244, 6.03),
    (0.7, 0.085318, 0.992721, 11.7),
    (0.8, 0.040276, 0.998378, 24.8),
    (0.9, 0.017208, 0.999704, 58.1),
    (1.0, 0.006654, 0.999956, 150.3),
]


def pairs(n: int = 200) -> tuple[Tensor, Tensor]:
    """Times s < t all over [0, 1], in double precision."""
    times = torch.rand(2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    s, t = times.sort(0).values
    return torch.cat([torch.zeros(3).double(), s]), torch.cat([torch.tensor([1e-5, 0.5, 1]), t])


def mels(seed: int, *shape: int) -> Tensor:
    """Values in the range of log-mels."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2.5 - 5


@pytest.mark.parametrize(("t", "gamma", "variance", "ratio"), PRINTED)
def test_gamma_and_sigma_are_the_printed_ones(
    t: float, gamma: float, variance: float, ratio: float
) -> None:
    time = torch.tensor([t])
    got = SCHEDULE.gamma(0, time).item(), SCHEDULE.sigma(time).item() ** 2
    assert got == pytest.approx((gamma, variance), abs=1e-6)
    digit = 0.05 if ratio > 10 else 0.005 if ratio > 5 else 0.0005
    assert SCHEDULE.sigma(time).item() / got[0] == pytest.approx(ratio, abs=digit * 1.02)
    assert SCHEDULE.log_snr(time).exp().item() == pytest.approx(gamma / variance**0.5, rel=4e-4)


def test_gamma_is_the_exponential_of_the_integral_of_beta() -> None:
    grid = torch.linspace(0.2, 0.7, 1001, dtype=torch.float64)
    integral = torch.trapezoid(Schedule(0.3, 7.0).beta(grid), grid)
    got = Schedule(0.3, 7.0).gamma(torch.tensor(0.2), torch.tensor(0.7))
    assert got.item() == pytest.approx(math.exp(-integral.item() / 2), rel=1e-6)
    assert SCHEDULE.beta(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.05, 20.0])


def test_gammas_multiply_and_two_steps_have_the_moments_of_one() -> None:
    s, t = pairs()
    gamma, (mu, nu, std) = SCHEDULE.gamma, posterior(s, t, SCHEDULE)
    assert torch.allclose(gamma(0, t), gamma(0, s) * gamma(s, t), atol=1e-12)
    assert torch.allclose(mu * gamma(0, t) + nu, gamma(0, s), atol=1e-12)
    variance = mu**2 * SCHEDULE.variance(0, t) + std**2
    assert torch.allclose(variance, SCHEDULE.variance(0, s), atol=1e-12)


def test_signal_and_noise_are_equal_at_0_2611() -> None:
    assert abs(SCHEDULE.log_snr(torch.tensor(0.2611)).item()) < 1e-3


def test_sigma_is_right_where_gamma_rounds_to_one() -> None:
    """sigma^2 at 1e-5 is 0.05e-5 + 10e-10; 1 - gamma^2 in single precision has 12 % error."""
    assert SCHEDULE.sigma(torch.tensor([1e-5])).item() ** 2 == pytest.approx(5.009975e-7, rel=1e-5)


@pytest.mark.parametrize("rates", [(0.0, 20.0), (-1.0, 20.0), (0.5, 0.4), (math.nan, 1.0)])
def test_rates_out_of_range_are_refused_in_one_line(rates: tuple[float, float]) -> None:
    call = {"beta_min": rates[0], "beta_max": rates[1]}
    with pytest.raises(UserError, match=r"schedule\.beta_m.*give") as error:
        build({"class_path": "emovc.emoconv_diff.diffusion.Schedule", "init_args": call}, "x.yaml")
    assert "\n" not in str(error.value)


def test_a_schedule_is_built_from_yaml_and_may_be_constant() -> None:
    call = {"beta_min": 2.0, "beta_max": 2.0}
    config = {"class_path": "emovc.emoconv_diff.diffusion.Schedule", "init_args": call}
    schedule = build(config, "x.yaml")
    assert (schedule.beta_min, schedule.beta_max) == (2.0, 2.0)
    assert schedule.gamma(0, torch.tensor(0.5)).item() == pytest.approx(math.exp(-0.5))


def test_the_forward_process_simulated_has_the_printed_mean_and_variance() -> None:
    """Euler steps from X_0 = 2 to Y = -1; 50 000 paths: four standard errors are 0.018."""
    wanted = {
        100: (1.8469, 0.0995),
        300: (0.9007, 0.5986),
        500: (-0.1485, 0.9194),
        1000: (-0.98, 1.0),
    }
    steps, y = 1000, -1.0
    generator = torch.Generator().manual_seed(0)
    betas = SCHEDULE.beta(torch.arange(steps) / steps).tolist()
    x, noise = torch.full((50_000,), 2.0), torch.empty(50_000)
    for i, beta in enumerate(betas, start=1):
        rate = beta / steps
        x.mul_(1 - rate / 2).add_(y * rate / 2).add_(
            noise.normal_(generator=generator), alpha=math.sqrt(rate)
        )
        if i in wanted:
            t, ends = torch.tensor([i / steps]), (torch.tensor([[[2.0]]]), torch.tensor([[[y]]]))
            ours = mean(*ends, t, SCHEDULE).item(), SCHEDULE.sigma(t).item() ** 2
            assert ours == pytest.approx(wanted[i], abs=6e-5)
            assert (x.mean().item(), x.var().item()) == pytest.approx(wanted[i], abs=0.02)


def test_a_mel_that_is_its_average_voice_stays_so_in_the_mean() -> None:
    y = mels(0, 5, 8, 6)
    assert torch.allclose(mean(y, y, torch.linspace(0, 1, 5), SCHEDULE), y, atol=1e-5)


def test_the_forward_sample_goes_from_the_mel_to_the_average_voice_and_noise() -> None:
    x0, y, noise = mels(0, 2, 8, 6), mels(1, 2, 8, 6), torch.randn(2, 8, 6)
    x_t = diffuse(x0, y, noise, torch.tensor([0.0, 1.0]), SCHEDULE)
    assert torch.allclose(x_t[0], x0[0])
    left = 0.006654 * (x0[1] - y[1])
    assert torch.allclose(x_t[1], y[1] + left + math.sqrt(0.999956) * noise[1], atol=2e-5)


def test_the_target_score_is_minus_the_noise_over_sigma() -> None:
    x0, y, noise = (mels(seed, 12, 4, 3).double() for seed in range(3))
    t = torch.tensor([row[0] for row in PRINTED], dtype=torch.float64)
    score = target_score(diffuse(x0, y, noise, t, SCHEDULE), x0, y, t, SCHEDULE)
    assert torch.allclose(score, -noise / SCHEDULE.sigma(t)[:, None, None], atol=1e-9)


def test_the_target_score_is_the_gradient_of_the_log_density() -> None:
    x0, y = mels(0, 1, 4, 3), mels(1, 1, 4, 3)
    t = torch.tensor([0.3])
    x = mels(2, 1, 4, 3).requires_grad_()
    density = torch.distributions.Normal(mean(x0, y, t, SCHEDULE), SCHEDULE.sigma(t))
    (gradient,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    assert torch.allclose(target_score(x.detach(), x0, y, t, SCHEDULE), gradient, rtol=1e-4)


@pytest.mark.parametrize("t", [1e-5, 1e-3, 0.1, 0.4, 0.7, 0.9])
def test_the_exact_score_gives_the_mel_back_in_one_step(t: float) -> None:
    x0, y, noise = mels(0, 3, 80, 50), mels(1, 3, 80, 50), torch.randn(3, 80, 50)
    times = torch.full((3,), t)
    score = -noise / SCHEDULE.sigma(times)[:, None, None]
    x_t = diffuse(x0, y, noise, times, SCHEDULE)
    assert (estimate_x0(x_t, y, score, times, SCHEDULE) - x0).abs().max() < 1e-4
    if t > 0.01:  # with less noise, neither sign has much to do
        assert (estimate_x0(x_t, y, -score, times, SCHEDULE) - x0).abs().max() > 1


def test_the_sign_of_tweedie_is_plus() -> None:
    """X_0 = 2, Y = -1, t = 0.4, noise 0.7: plus gives 2.000 and minus 4.81."""
    x0, y, noise = (torch.full((1, 1, 1), v, dtype=torch.float64) for v in (2.0, -1.0, 0.7))
    t = torch.tensor([0.4], dtype=torch.float64)
    x_t = diffuse(x0, y, noise, t, SCHEDULE)
    score = -noise / SCHEDULE.sigma(t)
    assert estimate_x0(x_t, y, score, t, SCHEDULE).item() == pytest.approx(2.0, abs=1e-9)
    assert estimate_x0(x_t, y, -score, t, SCHEDULE).item() == pytest.approx(4.81, abs=5e-3)


def test_the_estimate_is_single_precision_under_autocast_and_from_half_scores() -> None:
    x0, y, noise = mels(0, 2, 8, 6), mels(1, 2, 8, 6), torch.randn(2, 8, 6)
    t = torch.tensor([0.4, 0.9])
    x_t = diffuse(x0, y, noise, t, SCHEDULE)
    score = (-noise / SCHEDULE.sigma(t)[:, None, None]).bfloat16()
    plain = estimate_x0(x_t, y, score.float(), t, SCHEDULE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = estimate_x0(x_t, y, score, t, SCHEDULE)
    assert cast.dtype == torch.float32 and torch.equal(cast, plain)
    half = estimate_x0(x_t.bfloat16(), y.bfloat16(), score, t, SCHEDULE)
    exact = [v.bfloat16().double() for v in (x_t, y, score)]
    wanted = estimate_x0(exact[0], exact[1], exact[2], t.double(), SCHEDULE)
    assert half.dtype == torch.float32 and torch.allclose(half.double(), wanted, atol=1e-3)


def test_the_last_step_back_is_the_estimate_without_noise() -> None:
    t = torch.rand(50, generator=torch.Generator().manual_seed(0)) * 0.999 + 0.001
    mu, nu, std = posterior(torch.zeros(50), t, SCHEDULE)
    assert torch.equal(mu, torch.zeros(50)) and torch.equal(std, torch.zeros(50))
    assert torch.equal(nu, torch.ones(50))


def test_no_step_of_any_sampler_has_a_negative_variance() -> None:
    grids = [torch.linspace(1, 0, n + 1) for n in range(1, 301)]
    earlier, later = torch.cat([g[1:] for g in grids]), torch.cat([g[:-1] for g in grids])
    for values in posterior(earlier, later, SCHEDULE):
        assert (values >= 0).all() and values.isfinite().all()


def test_the_posterior_step_is_diffvcs_step() -> None:
    """DiffVC's: X - [(Y - X)(beta h / 2 + omega) - s (1 + kappa) beta h + std xi]."""
    x, y, score, noise = (mels(seed, 203, 4, 3).double() for seed in range(4))
    u, t = pairs()
    t = t.double()
    mu, nu, std = posterior(u, t, SCHEDULE)
    gamma, rate = SCHEDULE.gamma(0, t), SCHEDULE.beta(t) * (t - u)
    kappa = nu * (1 - gamma**2) / (gamma * rate) - 1
    omega = nu / gamma + mu - 1 - rate / 2
    towards, along, width = (v[:, None, None] for v in (rate / 2 + omega, (1 + kappa) * rate, std))
    diffvc = x - ((y - x) * towards - score * along + width * noise)
    x0 = estimate_x0(x, y, score, t, SCHEDULE)
    ours = posterior_step(x, x0, y, -noise, u, t, SCHEDULE)
    assert torch.allclose(ours, diffvc, rtol=1e-6, atol=1e-6)


def test_both_drifts_bring_the_exact_mean_back() -> None:
    """With the score given X_0, the flow follows mu_t + sigma_t xi; on the mean, so does the SDE.

    d/dt of mu_t is 1/2 beta (Y - mu); of sigma_t, 1/2 beta gamma^2 / sigma.
    """
    x0, y, noise = (mels(seed, 4, 4, 3).double() for seed in range(3))
    t = torch.tensor([0.05, 0.3, 0.6, 1.0], dtype=torch.float64)
    x = diffuse(x0, y, noise, t, SCHEDULE)
    ahead, behind = (diffuse(x0, y, noise, t + dt, SCHEDULE) for dt in (1e-6, -1e-6))
    score = target_score(x, x0, y, t, SCHEDULE)
    assert torch.allclose(flow_drift(x, y, score, t, SCHEDULE), (ahead - behind) / 2e-6, atol=1e-4)
    excess = reverse_drift(x, y, score, t, SCHEDULE) - flow_drift(x, y, score, t, SCHEDULE)
    assert torch.allclose(excess, -score * SCHEDULE.beta(t)[:, None, None] / 2)


def test_training_times_are_uniform_and_keep_off_the_ends() -> None:
    t = draw_times(100_000, torch.device("cpu"), torch.Generator().manual_seed(0))
    assert t.min() >= 1e-5 and t.max() <= 1 - 1e-5
    assert (t.mean().item(), t.var().item()) == pytest.approx((0.5, 1 / 12), abs=0.003)
    again = draw_times(100_000, torch.device("cpu"), torch.Generator().manual_seed(0))
    assert torch.equal(t, again)
