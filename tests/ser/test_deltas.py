"""Delta features against hand-computed and closed-form cases."""

import torch

from emovc.ser.deltas import delta, with_deltas


def test_an_impulse_gives_the_weights_of_the_regression() -> None:
    x = torch.zeros(1, 1, 7)
    x[0, 0, 3] = 10.0
    assert delta(x)[0, 0].tolist() == [0.0, 2.0, 1.0, 0.0, -1.0, -2.0, 0.0]


def test_edges_repeat_the_outermost_frame() -> None:
    """Frame 0 of 1, 2, 4: (1 (2 - 1) + 2 (4 - 1)) / 10; frame 1: (1 (4 - 1) + 2 (4 - 1)) / 10."""
    slopes = delta(torch.tensor([[[1.0, 2.0, 4.0]]]))[0, 0]
    torch.testing.assert_close(slopes, torch.tensor([0.7, 0.9, 0.8]))


def test_a_ramp_has_its_slope_and_no_curvature_inside() -> None:
    x = 0.5 * torch.arange(12.0)[None, None] + torch.tensor([1.0, -3.0])[None, :, None]
    _, first, second = with_deltas(x)[0]
    torch.testing.assert_close(first[:, 2:-2], torch.full((2, 8), 0.5))
    torch.testing.assert_close(second[:, 4:-4], torch.zeros(2, 4))


def test_a_parabola_has_its_curvature() -> None:
    x = torch.arange(16.0, dtype=torch.float64).square()[None, None]
    _, first, second = with_deltas(x)[0]
    torch.testing.assert_close(first[0, 2:-2], 2 * torch.arange(2.0, 14.0, dtype=torch.float64))
    torch.testing.assert_close(second[0, 4:-4], torch.full((8,), 2.0, dtype=torch.float64))


def test_a_constant_has_none_and_the_features_come_first() -> None:
    x = torch.randn(2, 5, 1).expand(-1, -1, 9)
    stacked = with_deltas(x)
    assert stacked.shape == (2, 3, 5, 9)
    assert torch.equal(stacked[:, 0], x)
    assert not stacked[:, 1:].any()
