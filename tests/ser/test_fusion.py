"""Fusions of views: limits that turn one into the other, and their symmetries."""

from functools import partial
from typing import get_args

import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.ser.fusion import BallFusion, FusionKind, make_fusion
from emovc.ser.poincare import exp0, mobius_add

KINDS: tuple[FusionKind, ...] = get_args(FusionKind)


def views(n: int, dim: int = 16, batch: int = 20) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n)
    parts = [torch.randn(batch, dim, generator=generator) for _ in range(n)]
    return [0.8 * p / p.norm(dim=1, keepdim=True) for p in parts]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_any_number_of_views_can_be_fused(kind: FusionKind, n: int) -> None:
    fusion = make_fusion(kind, n, 16)
    assert fusion(views(n)).shape == (20, fusion.out_dim)
    assert fusion.out_dim == (16 * n if kind in ("concat", "tangent_concat") else 16)


@pytest.mark.parametrize("kind", KINDS)
def test_one_view_is_left_as_it_is(kind: FusionKind) -> None:
    (view,) = views(1)
    torch.testing.assert_close(make_fusion(kind, 1, 16)([view]), view)


@pytest.mark.parametrize("kind", ["mobius", "symmetric", "sum", "gated"])
def test_a_zero_view_adds_nothing(kind: FusionKind) -> None:
    """The fused point is exp0(u) itself: HYFuse becomes the individual model."""
    (view,) = views(1)
    fusion = make_fusion(kind, 2, 16)
    fused = fusion([view, torch.zeros_like(view)])
    if kind == "gated":  # the gate only scales
        torch.testing.assert_close(fused.sign(), view.sign())
    else:
        torch.testing.assert_close(fused, view)
    assert torch.equal(mobius_add(exp0(view, 1.0), torch.zeros_like(view), 1.0), exp0(view, 1.0))


@pytest.mark.parametrize("n", [2, 3])
def test_almost_flat_fusions_are_euclidean(n: int) -> None:
    parts = views(n)
    close = partial(torch.testing.assert_close, rtol=0.0, atol=2e-5)
    for kind in ("mobius", "symmetric"):
        flat = make_fusion(kind, n, 16, curvature=1e-6)
        close(flat(parts), make_fusion("sum", n, 16)(parts))
    mean = torch.stack(parts).mean(0)
    close(make_fusion("midpoint", n, 16, curvature=1e-6)(parts), mean)


def test_only_the_mobius_sum_asks_for_the_order() -> None:
    a, b = views(2)
    for kind in ("symmetric", "midpoint", "sum"):
        fusion = make_fusion(kind, 2, 16)
        torch.testing.assert_close(fusion([a, b]), fusion([b, a]))
    fusion = make_fusion("mobius", 2, 16)
    one, other = fusion([a, b]), fusion([b, a])
    torch.testing.assert_close(one.norm(dim=1), other.norm(dim=1))
    assert (one - other).norm(dim=1).min() > 0.01


def test_short_views_side_by_side_on_the_ball_are_a_concatenation() -> None:
    parts = views(3)
    on_ball, plain = (make_fusion(kind, 3, 16) for kind in ("tangent_concat", "concat"))
    torch.testing.assert_close(on_ball(parts), plain(parts))


def test_a_scale_of_zero_mutes_a_view() -> None:
    a, b = views(2)
    fusion = BallFusion("mobius", 2, 16, learn_scales=True)
    assert fusion.scales is not None
    torch.testing.assert_close(fusion([a, b]), BallFusion("mobius", 2, 16)([a, b]))
    with torch.no_grad():
        fusion.scales[1] = 0
    torch.testing.assert_close(fusion([a, b]), a)


@pytest.mark.parametrize("c", [1e-3, 0.5, 1.0, 4.0])
def test_learned_curvature_starts_where_it_is_told(c: float) -> None:
    fusion = BallFusion("mobius", 2, 16, curvature=c, learn_curvature=True)
    assert isinstance(fusion.c, Tensor)
    assert float(fusion.c.detach()) == pytest.approx(c, rel=1e-4)
    fusion(views(2)).sum().backward()
    assert fusion.raw_curvature is not None and fusion.raw_curvature.grad != 0


@pytest.mark.parametrize("kind", KINDS)
def test_fusion_is_precise_under_autocast(kind: FusionKind) -> None:
    parts, fusion = views(2), make_fusion(kind, 2, 16)
    expected = fusion(parts)
    with torch.autocast("cpu", torch.bfloat16):
        fused = fusion(parts)
    if kind == "gated":  # its gate is a matrix product
        torch.testing.assert_close(fused.float(), expected, rtol=0.05, atol=0.05)
    else:
        assert torch.equal(fused, expected)


def test_settings_that_would_be_ignored_are_refused() -> None:
    with pytest.raises(UserError, match="fusion concat: has no curvature or scales"):
        make_fusion("concat", 2, 16, learn_scales=True)
    with pytest.raises(UserError, match="curvature: is 0"):
        make_fusion("mobius", 2, 16, curvature=0)
