"""Vectors of a strength asked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emovc.ainn import StrengthHead
from emovc.ainn.strength import LEAST_RISE, at_strength


class Mean(StrengthHead):
    """A strength that can be foretold: the mean of the vector, times a slope."""

    def __init__(self, slope: float) -> None:
        super().__init__(4, 2)
        self.slope = slope

    def forward(self, vector: Tensor) -> Tensor:
        return self.slope * vector.mean(-1)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), gain=st.floats(0.5, 8.0))
def test_a_larger_share_is_never_weaker(seed: int, gain: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    head = StrengthHead(6, 16)
    with torch.no_grad():
        for weight in head.parameters():
            weight.copy_(gain * torch.randn(weight.shape, generator=rng) / weight.shape[-1] ** 0.5)
        neutral, reference = torch.randn(2, 6, generator=rng)
        way = torch.lerp(neutral, reference, torch.linspace(0, 1, 101)[:, None])
        reached = head(way).cummax(0).values
        vectors = [at_strength(head, neutral, reference, k / 20) for k in range(21)]
        strengths = torch.stack([head(v) for v in vectors])
    torch.testing.assert_close(vectors[0], neutral)
    if reached[-1] - reached[0] < LEAST_RISE:
        torch.testing.assert_close(vectors[-1], reference)
        return
    assert (strengths.diff() >= -1e-6).all()
    torch.testing.assert_close(strengths[0], reached[0])
    torch.testing.assert_close(strengths[-1], reached[-1])


def test_a_strength_that_rises_evenly_is_reached_at_its_share() -> None:
    neutral, reference = torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    for share in (0.0, 0.3, 0.75, 1.0):
        found = at_strength(Mean(0.2), neutral, reference, share)
        torch.testing.assert_close(found, torch.lerp(neutral, reference, share), atol=0.031, rtol=0)


def test_the_weakest_vector_that_is_strong_enough_is_taken() -> None:
    """A peak half-way: share 1 is the peak, not the reference behind it."""

    class Peak(Mean):
        def forward(self, vector: Tensor) -> Tensor:
            return 1 - (vector[..., 0] - 0.5).abs()

    found = at_strength(Peak(1), torch.zeros(4), torch.ones(4), 1.0)
    torch.testing.assert_close(found, torch.full((4,), 0.5))


@pytest.mark.parametrize("slope", [0.0, -1.0, 1e-6])
def test_without_a_rise_the_share_is_that_of_the_way(slope: float) -> None:
    neutral, reference = torch.zeros(4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = at_strength(Mean(slope), neutral, reference, 0.25)
    torch.testing.assert_close(found, 0.25 * reference)
