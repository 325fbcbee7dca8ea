"""Scaled input and output of the score network."""

import pytest
import torch
from torch import Tensor

from emovc.emoconv_diff.diffusion import Schedule, diffuse, estimate_x0, target_score
from emovc.emoconv_diff.losses import score_matching_loss
from emovc.emoconv_diff.preconditioning import Scaling
from emovc.emoconv_diff.samplers import sample

SCHEDULE = Schedule()
TIMES = torch.tensor([1e-5, 0.05, 0.3, 0.6, 0.9, 1.0], dtype=torch.float64)
SD = 1.4
SCALING = Scaling(SD, mel_mean=-3.0, mel_sd=2.0)


def noisy(sd: float = SD, frames: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Mels that lie around Y, Y, and X_t, one row per time."""
    torch.manual_seed(0)
    y = torch.randn(len(TIMES), 4, frames, dtype=torch.float64)
    x0 = y + sd * torch.randn_like(y)
    return x0, y, diffuse(x0, y, torch.randn_like(y), TIMES, SCHEDULE)


def test_the_network_sees_unit_variance_at_all_times() -> None:
    _, y, x = noisy(frames=20_000)
    seen, seen_y = SCALING.seen(x, y, TIMES, SCHEDULE)
    torch.testing.assert_close(seen.std((1, 2)), torch.ones_like(TIMES), atol=0.01, rtol=0)
    torch.testing.assert_close(seen_y * 2 - 3, y)


def test_some_output_gives_the_exact_score() -> None:
    """And the wanted output is of unit variance too."""
    x0, y, x = noisy(frames=20_000)
    wanted = target_score(x, x0, y, TIMES, SCHEDULE)
    nothing = SCALING.score(torch.zeros_like(x), x, y, TIMES, SCHEDULE)
    one = SCALING.score(torch.ones_like(x), x, y, TIMES, SCHEDULE)
    output = (wanted - nothing) / (one - nothing)
    torch.testing.assert_close(output.std((1, 2)), torch.ones_like(TIMES), atol=0.01, rtol=0)
    found = SCALING.score(output, x, y, TIMES, SCHEDULE)
    torch.testing.assert_close(estimate_x0(x, y, found, TIMES, SCHEDULE), x0)


def test_weighted_errors_of_the_output_count_the_same_at_all_times() -> None:
    x0, y, x = noisy()
    exact = target_score(x, x0, y, TIMES, SCHEDULE)
    wrong = SCALING.score(torch.ones_like(x), x, y, TIMES, SCHEDULE)
    right = SCALING.score(torch.zeros_like(x), x, y, TIMES, SCHEDULE)
    noise = -exact * SCHEDULE.sigma(TIMES)[:, None, None]
    for row in range(len(TIMES)):
        t = TIMES[row : row + 1]
        off = exact[row : row + 1] + (wrong - right)[row : row + 1]
        mask, weight = torch.ones(1, 5), SCALING.weight(t, SCHEDULE)
        loss = score_matching_loss(off, noise[row : row + 1], t, mask, SCHEDULE, weight)
        assert float(loss) == pytest.approx(1.0)


def test_an_error_of_the_output_is_never_magnified() -> None:
    x0, y, x = noisy()
    found = [SCALING.score(torch.full_like(x, v), x, y, TIMES, SCHEDULE) for v in (0.0, 1.0)]
    mels = [estimate_x0(x, y, score, TIMES, SCHEDULE) for score in found]
    moved = (mels[1] - mels[0]).amax((1, 2))
    assert torch.all(moved <= SD) and torch.all(moved.diff() > 0)
    plain = [estimate_x0(x, y, torch.full_like(x, v), TIMES, SCHEDULE) for v in (0.0, 1.0)]
    assert (plain[1] - plain[0])[-1].min() > 100  # where the network gives the score itself


@pytest.mark.parametrize("solver", ["ml", "dpm"])
def test_no_output_draws_gaussian_data_around_y(solver: str) -> None:
    """F = 0 is the exact score of mels of that deviation, so a fresh network starts there."""
    y = torch.full((1, 4, 20_000), -3.0)

    def score(x: Tensor, t: Tensor) -> Tensor:
        return SCALING.score(torch.zeros_like(x), x, y, t, SCHEDULE)

    drawn = sample(score, y, torch.ones(1, 20_000), SCHEDULE, 100, solver)  # type: ignore[arg-type]
    assert abs(float(drawn.mean()) + 3) < 0.03
    assert abs(float(drawn.std()) - SD) < 0.06 * SD


def test_estimates_keep_within_bounds() -> None:
    """Whatever the score says; the other solvers make no estimates."""
    y = torch.zeros(1, 4, 8)
    for solver in ("ml", "dpm"):
        drawn = sample(
            lambda x, t: torch.full_like(x, 9.0), y, torch.ones(1, 8), SCHEDULE, 4,
            solver, bounds=(-1.0, 2.0),  # type: ignore[arg-type]
        )  # fmt: skip
        assert float(drawn.max()) == 2.0
