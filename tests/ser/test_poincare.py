"""The Poincaré ball: closed forms, laws of its sum, agreement with geoopt, and its edges."""

from collections.abc import Callable
from functools import partial

import geoopt
import pytest
import torch
from torch import Tensor

from emovc.ser.poincare import (
    clip_norm,
    distance,
    exp0,
    log0,
    margin,
    midpoint,
    mobius_add,
    project,
)

DOUBLE = torch.float64


def vectors(n: int, longest: float, dtype: torch.dtype = DOUBLE, seed: int = 0) -> Tensor:
    """Vectors (n, 8) of all norms up to the longest."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(n, 8, generator=generator, dtype=dtype)
    norms = longest * torch.rand(n, 1, generator=generator, dtype=dtype)
    return norms * directions / directions.norm(dim=1, keepdim=True)


def points(n: int, c: float = 1.0, seed: int = 0) -> Tensor:
    """Points (n, 8) of the ball of scaled norms up to 0.7."""
    return vectors(n, 0.7, seed=seed) / c**0.5


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1.7e-6), (DOUBLE, 1e-12)])
@pytest.mark.parametrize("c", [0.1, 1.0, 4.0])
def test_log_undoes_exp(c: float, dtype: torch.dtype, tolerance: float) -> None:
    # At the norm of 2 the inverse of tanh magnifies rounding, of 1.2e-7, by cosh(2)^2 = 14.
    v = vectors(200, 2.0 / c**0.5, dtype)
    torch.testing.assert_close(log0(exp0(v, c), c), v, rtol=0, atol=tolerance / c**0.5)


def test_beyond_the_margin_log_gives_the_longest_vector_there_is() -> None:
    longest = torch.tensor(1 - margin(torch.float32)).atanh()
    assert 3.1 < longest < 3.11
    back = log0(exp0(vectors(50, 1.0, torch.float32) + 30, 1.0), 1.0)
    torch.testing.assert_close(back.norm(dim=1), longest.expand(50), rtol=1e-4, atol=0)


def test_exp_and_distance_have_their_closed_form() -> None:
    """v = (0.6, 0.8) has norm 1: with c = 1 the point has norm tanh 1, at a distance of 2."""
    v = torch.tensor([0.6, 0.8], dtype=DOUBLE)
    x = exp0(v, 1.0)
    torch.testing.assert_close(x, torch.tensor(1.0, dtype=DOUBLE).tanh() * v)
    assert float(distance(torch.zeros_like(x), x, 1.0)) == pytest.approx(2.0)


@pytest.mark.parametrize("c", [0.1, 1.0, 4.0])
def test_geoopt_agrees(c: float) -> None:
    ball = geoopt.PoincareBall(c=torch.tensor(c, dtype=DOUBLE))
    x, y, v = points(300, c), points(300, c, seed=1), vectors(300, 2.0, seed=2)
    both = torch.stack([x, y], dim=1)
    weights = torch.rand(300, 2, dtype=DOUBLE) + 0.1
    for ours, theirs in (
        (exp0(v, c), ball.expmap0(v)),
        (log0(x, c), ball.logmap0(x)),
        (mobius_add(x, y, c), ball.mobius_add(x, y)),
        (distance(x, y, c), ball.dist(x, y)),
        (midpoint(both, c), ball.weighted_midpoint(both, reducedim=[1])),
        (
            midpoint(both, c, weights),
            ball.weighted_midpoint(both, weights=weights, reducedim=[1], dim=-1),
        ),
        (project(3 * v, c), ball.projx(3 * v)),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_geoopt_agrees_on_gradients_in_float32() -> None:
    ball = geoopt.PoincareBall(c=1.0)
    u, v = vectors(100, 1.0, torch.float32), vectors(100, 1.0, torch.float32, seed=1)

    def gradients(fuse: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        a, b = u.clone().requires_grad_(), v.clone().requires_grad_()
        weights = torch.arange(8.0)
        (fuse(a, b) * weights).sum().backward()
        assert a.grad is not None and b.grad is not None
        return [a.grad, b.grad]

    ours = gradients(lambda a, b: log0(mobius_add(exp0(a, 1.0), exp0(b, 1.0), 1.0), 1.0))
    theirs = gradients(lambda a, b: ball.logmap0(ball.mobius_add(ball.expmap0(a), ball.expmap0(b))))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("c", [0.5, 1.0, 4.0])
def test_the_sum_has_the_laws_of_a_gyrogroup(c: float) -> None:
    x, y = points(300, c), points(300, c, seed=1)
    zero = torch.zeros_like(x)
    close = partial(torch.testing.assert_close, rtol=0.0, atol=1e-10)
    close(mobius_add(zero, x, c), x)
    close(mobius_add(x, zero, c), x)
    close(mobius_add(-x, mobius_add(x, y, c), c), y)
    one, other = mobius_add(x, y, c), mobius_add(y, x, c)
    close(one.norm(dim=1), other.norm(dim=1))
    assert (one - other).norm(dim=1).median() > 0.05 / c**0.5
    assert (c**0.5 * one.norm(dim=1) < 1).all()


def test_the_sum_stays_in_the_ball_at_its_edge() -> None:
    x, y = (project(10 * vectors(5000, 1.0, torch.float32, seed), 1.0) for seed in (0, 1))
    for other in (y, -y, -x, x, -x + 1e-4 * y, -0.99 * x):
        norm = mobius_add(x, other, 1.0).norm(dim=1)
        assert torch.isfinite(norm).all() and norm.max() < 1


def test_the_distance_is_a_metric_that_translations_keep() -> None:
    c = 2.0
    x, y, z = (points(300, c, seed=seed) for seed in range(3))
    torch.testing.assert_close(distance(x, y, c), distance(y, x, c))
    assert distance(x, x, c).max() < 1e-12
    assert (distance(x, z, c) <= distance(x, y, c) + distance(y, z, c) + 1e-12).all()
    from_origin = 2 * (c**0.5 * x.norm(dim=1)).atanh() / c**0.5
    torch.testing.assert_close(distance(torch.zeros_like(x), x, c), from_origin)
    moved = distance(mobius_add(z, x, c), mobius_add(z, y, c), c)
    torch.testing.assert_close(moved, distance(x, y, c))


def test_the_midpoint_is_in_the_middle_and_does_not_ask_for_the_order() -> None:
    x, y = points(100), points(100, seed=1)
    middle = midpoint(torch.stack([x, y], 1), 1.0)
    torch.testing.assert_close(middle, midpoint(torch.stack([y, x], 1), 1.0))
    half = distance(x, y, 1.0) / 2
    torch.testing.assert_close(distance(x, middle, 1.0), half)
    torch.testing.assert_close(distance(y, middle, 1.0), half)
    heavy = midpoint(torch.stack([x, y], 1), 1.0, torch.tensor([3.0, 1.0]).expand(100, 2))
    assert (distance(x, heavy, 1.0) < distance(y, heavy, 1.0)).all()


def test_without_curvature_the_space_is_euclidean() -> None:
    x, y = points(100), points(100, seed=1)
    for c, tolerance in ((1e-6, 1e-5), (1e-9, 1e-8)):
        close = partial(torch.testing.assert_close, rtol=0.0, atol=tolerance)
        close(mobius_add(x, y, c), x + y)
        close(exp0(x, c), x)
        close(log0(x, c), x)
        close(midpoint(torch.stack([x, y], 1), c), (x + y) / 2)
        close(distance(x, y, c), 2 * (x - y).norm(dim=1))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-20, 1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_and_gradients_are_finite(size: float, dtype: torch.dtype) -> None:
    u = (size * torch.ones(4, 8)).to(dtype).requires_grad_()
    v = (-size * torch.ones(4, 8)).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        x, y = exp0(u, 1.0), exp0(v, 1.0)
        both = torch.stack([x, y], 1)
        out = [
            log0(mobius_add(x, y, 1.0), 1.0), log0(mobius_add(x, x, 1.0), 1.0),
            midpoint(both, 1.0), distance(x, y, 1.0), distance(x, x, 1.0), clip_norm(u, 1.0),
        ]  # fmt: skip
    total = torch.stack([part.sum() for part in out]).sum()
    total.backward()
    assert u.grad is not None and v.grad is not None
    assert all(part.dtype == torch.float32 and torch.isfinite(part).all() for part in out)
    assert torch.isfinite(u.grad).all() and torch.isfinite(v.grad).all()


def test_at_zero_the_maps_have_slope_one() -> None:
    zero = torch.zeros(8)
    for function in (exp0, log0):
        slope = torch.autograd.functional.jacobian(lambda v, f=function: f(v, 1.0), zero)
        torch.testing.assert_close(slope, torch.eye(8))


def test_clipping_shortens_long_vectors_only() -> None:
    v = torch.tensor([[0.3, 0.4], [3.0, 4.0], [0.0, 0.0]])
    expected = torch.tensor([[0.3, 0.4], [0.6, 0.8], [0.0, 0.0]])
    torch.testing.assert_close(clip_norm(v, 1.0), expected)


def test_curvature_can_be_learned() -> None:
    c = torch.tensor(1.0, requires_grad=True)
    x = mobius_add(exp0(torch.tensor([0.5, 0.1]), c), exp0(torch.tensor([0.2, 0.6]), c), c)
    log0(x, c).sum().backward()
    assert c.grad is not None and torch.isfinite(c.grad) and c.grad != 0
