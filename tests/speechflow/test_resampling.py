"""Random resampling against the original's numbers, and its properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emovc.speechflow import RandomResampling, apply_warp, warp_positions
from emovc.speechflow.converter import Inputs
from emovc.speechflow.training import resampled_inputs

SEGMENTS = torch.tensor([[19, 25, 31, 20, 30, 22, 28]])
SPEEDS = torch.tensor([[0.5, 1.49, 1.0, 0.75, 1.25, 0.6, 1.4]])


def ramp(n: int) -> Tensor:
    return torch.arange(1.0, n + 1)[None, None]


@pytest.mark.parametrize(
    ("length", "n_out", "last", "total"),
    [(100, 95, 99.2, 4776.8188), (192, 178, 174.4286, 16267.7616)],
)
def test_the_originals_vector(length: int, n_out: int, last: float, total: float) -> None:
    warp = warp_positions(SEGMENTS, SPEEDS, torch.tensor([length]), 192)
    out = apply_warp(ramp(192), warp)[0, 0]

    assert int(warp.length) == n_out
    expected = [1, 3, 5, 7, 9, 11, 13, 15, 17, 20, 20.6711, 21.3423]
    assert out[:12].tolist() == pytest.approx(expected, abs=1e-4)
    assert float(out[n_out - 1]) == pytest.approx(last, abs=1e-4)
    assert float(out.sum()) == pytest.approx(total, abs=2e-3)
    assert not out[n_out:].any()


def slow_warp(segments: list[int], speeds: list[float], length: int, n_out: int) -> list[float]:
    """The definition, one frame after the other."""
    positions = []
    start = 0
    for n, speed in zip(segments, speeds, strict=True):
        j = 0
        while j < 64:
            offset = torch.tensor(float(j)) / speed  # in float32, as the module
            whole = int(offset.floor())
            if whole < n - 1 and start + whole < length - 1:
                positions.append(start + float(offset))
            j += 1
        start += n
    return positions[:n_out]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(30, 192))
def test_vectorised_warp_is_the_definition(seed: int, length: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    segments = torch.randint(19, 32, (2, 7), generator=generator)
    speeds = 0.5 + torch.rand(2, 7, generator=generator)
    warp = warp_positions(segments, speeds, torch.tensor([length, 192]), 192)

    for row, valid in enumerate((length, 192)):
        slow = slow_warp(segments[row].tolist(), speeds[row].tolist(), valid, 192)
        assert int(warp.length[row]) == len(slow)
        assert warp.position[row, : len(slow)].tolist() == pytest.approx(slow, abs=1e-3)


def test_a_sample_does_not_depend_on_the_others_of_its_batch() -> None:
    both = warp_positions(SEGMENTS.repeat(2, 1), SPEEDS.repeat(2, 1), torch.tensor([100, 192]), 192)
    alone = warp_positions(SEGMENTS, SPEEDS, torch.tensor([192]), 192)

    assert torch.equal(both.position[1:], alone.position)


def test_mean_length_is_kept_and_draws_differ() -> None:
    """The original's 64 frames give 63 on average, 35 to 88."""
    torch.manual_seed(0)
    resampling = RandomResampling(19, 31)
    warp = resampling(torch.full((2000,), 64), 192)

    assert float(warp.length.float().mean()) == pytest.approx(63, abs=1)
    assert 30 <= int(warp.length.min()) < 45 < 80 < int(warp.length.max()) <= 95
    assert len(warp.length.unique()) > 20


def test_interpolation_between_voiced_and_unvoiced_is_unvoiced() -> None:
    f0 = torch.full((1, 192), 0.5)
    f0[:, 50:60] = -1.0
    frames = torch.tensor([192])
    inputs = Inputs(ramp(192), f0, torch.zeros(1, 1), torch.ones(1, 192), frames)
    torch.manual_seed(1)
    mel, warped = resampled_inputs(inputs, RandomResampling(19, 31))
    position = mel[0, 0] - 1  # the ramp tells where each frame was read
    inside = (mel[0, 0] > 0) & (position > 49.01) & (position < 59.99)

    assert inside.sum() > 3
    assert (warped[0, inside] == -1).all()
    kept = (mel[0, 0] > 0) & ((position < 48.9) | (position > 60.1))
    assert warped[0, kept] == pytest.approx(0.5, abs=1e-6)
    assert resampled_inputs(inputs, None)[1] is f0


def test_gradient_reaches_the_frames_that_are_read() -> None:
    x = torch.randn(1, 3, 192, requires_grad=True)
    warp = warp_positions(SEGMENTS, SPEEDS, torch.tensor([100]), 192)
    apply_warp(x, warp).sum().backward()
    assert x.grad is not None

    assert (x.grad[..., :99].abs().sum(-1) > 0).all()
    assert not x.grad[..., 100:].any()
