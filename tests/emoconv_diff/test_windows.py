"""Long utterances in windows: all frames covered, and pointwise scores unchanged."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.emoconv_diff.windows import window_starts, windowed_score

SIZES = [(n, w, o) for n in (17, 18, 40, 101) for w, o in ((16, 0), (16, 1), (16, 15), (7, 3))]


@pytest.mark.parametrize(("n_frames", "window", "overlap"), SIZES)
def test_windows_cover_all_frames_and_overlap_enough(
    n_frames: int, window: int, overlap: int
) -> None:
    starts = window_starts(n_frames, window, overlap)
    assert starts[0] == 0 and starts[-1] + window == n_frames
    for one, following in pairwise(starts):
        assert one < following <= one + window - overlap


def test_no_more_windows_are_taken_than_needed() -> None:
    assert window_starts(40, 16, 4) == [0, 12, 24]
    assert window_starts(41, 16, 4) == [0, 12, 24, 25]
    assert window_starts(16, 16, 4) == window_starts(3, 16, 4) == [0]


@pytest.mark.parametrize("overlap", [-1, 16, 99])
def test_an_overlap_that_leaves_no_step_is_refused(overlap: int) -> None:
    with pytest.raises(UserError, match=f"overlap_frames {overlap}: give 0 to 15"):
        window_starts(40, 16, overlap)


@pytest.mark.parametrize(("n_frames", "window", "overlap"), SIZES)
def test_a_pointwise_score_is_the_same_in_windows(n_frames: int, window: int, overlap: int) -> None:
    torch.manual_seed(0)
    x, t = torch.randn(2, 3, n_frames), torch.tensor([0.2, 0.9])
    slope, shift = torch.randn(3, n_frames), torch.randn(2, 3, n_frames)

    def score(part: Tensor, time: Tensor, frames: slice) -> Tensor:
        assert torch.equal(time, t) and torch.equal(part, x[..., frames])
        return slope[:, frames] * part + time[:, None, None] * shift[..., frames]

    found = windowed_score(score, x, t, window, overlap)
    torch.testing.assert_close(found, score(x, t, slice(0, n_frames)), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n_frames", [1, 15, 16])
def test_what_fits_into_a_window_is_scored_once_and_whole(n_frames: int) -> None:
    calls: list[slice] = []
    x = torch.randn(2, 3, n_frames)

    def score(part: Tensor, time: Tensor, frames: slice) -> Tensor:
        calls.append(frames)
        return part**3

    assert torch.equal(windowed_score(score, x, torch.ones(2), 16, 4), x**3)
    assert calls == [slice(0, n_frames)]


def test_frames_of_two_windows_fade_from_one_to_the_other() -> None:
    numbers = iter((0.0, 1.0))

    def score(part: Tensor, time: Tensor, frames: slice) -> Tensor:
        return torch.full_like(part, next(numbers))

    found = windowed_score(score, torch.zeros(1, 1, 12), torch.ones(1), 8, 4)[0, 0]
    wanted = [0, 0, 0, 0, 1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 1, 1, 1]
    torch.testing.assert_close(found, torch.tensor(wanted))
