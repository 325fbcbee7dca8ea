"""Codebooks: what they fill with, how they learn, and what stays as it is."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import multiprocessing as mp

from emovc.common.errors import UserError
from emovc.genner_tts.codebooks import GroupedResidualCodebooks, usage_perplexity
from emovc.genner_tts.search import nearest_codes
from emovc.genner_tts.synthetic_embeddings import SyntheticSource


def centred(per_emotion: int = 40) -> Tensor:
    x = SyntheticSource(16).draw(per_emotion).vectors
    x = x - x.mean(0)
    return x / x.square().sum(1).mean().sqrt()


def filled(
    n_stages: int = 2, decay: float = 0.9, dead_below: float = 0.0, size: int = 8
) -> GroupedResidualCodebooks:
    books = GroupedResidualCodebooks(16, 2, n_stages, size, decay, dead_below)
    books.fill(centred())
    return books


def distortion(books: GroupedResidualCodebooks, x: Tensor) -> float:
    return float((books.decode(nearest_codes(books, x)) - x).square().sum(1).mean())


def test_codes_decode_to_the_sum_of_their_vectors() -> None:
    books = filled()
    indices = torch.tensor([[[3, 0], [5, 2]]])
    left = books.codes[0, 0, 3] + books.codes[1, 0, 5]
    right = books.codes[1, 1, 2]  # 0 is the null code
    torch.testing.assert_close(books.decode(indices), torch.cat([left, right])[None])
    assert not books.decode(torch.zeros(4, 3, 2, 2, dtype=torch.long)).any()


def test_distances_are_those_to_the_codes() -> None:
    books, x = filled(), centred()
    rest = books.split(x)
    exact = (rest[:, :, None] - books.codes[1][:, None]).square().sum(-1)
    found = books.distances(rest, 1) + rest.square().sum(-1, keepdim=True)
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-5)
    assert not books.distances(rest, 1)[..., 0].any()


def test_residuals_are_what_the_stages_before_left() -> None:
    books, x = filled(3), centred()
    indices = nearest_codes(books, x)
    rests = books.residuals(x, indices)
    torch.testing.assert_close(rests[0], books.split(x))
    first = indices.clone()
    first[:, 2:] = 0
    torch.testing.assert_close(rests[2], books.split(x - books.decode(first)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("n_groups", [1, 2])
def test_nothing_changes_what_was_given(n_groups: int) -> None:
    x = centred()
    before = x.clone()
    books = GroupedResidualCodebooks(16, n_groups, 2, 8)
    books.fill(x)
    books.update(x, nearest_codes(books, x))
    assert torch.equal(x, before)


def test_filling_is_a_fixed_point_of_lloyd_and_the_same_for_a_seed() -> None:
    """More stages and more codes leave less; the first codes are the means of what chose them."""
    x = centred()
    errors = []
    for n_stages, size in ((1, 4), (1, 16), (2, 16)):
        books = GroupedResidualCodebooks(16, 2, n_stages, size)
        books.fill(x)
        errors.append(distortion(books, x))
    assert errors[0] > errors[1] > errors[2]
    again, other = filled(), GroupedResidualCodebooks(16, 2, 2, 8)
    assert torch.equal(again.codes, filled().codes)
    other.fill(x, seed=1)
    assert not torch.equal(again.codes, other.codes)


def test_one_stage_of_exact_averages_is_lloyds_algorithm() -> None:
    """Each step lowers the distortion, until the codes are the means of their cells."""
    books, x = filled(n_stages=1, decay=0.0), centred()
    books.codes[:, :, 1:] += 0.05 * torch.randn(1, 2, 8, 8, generator=torch.manual_seed(0))
    errors = [distortion(books, x)]
    for _ in range(30):
        books.update(x, nearest_codes(books, x))
        errors.append(distortion(books, x))
    assert all(b <= a + 1e-7 for a, b in zip(errors, errors[1:], strict=False))
    assert errors[-1] < 0.98 * errors[0]
    codes = nearest_codes(books, x)[:, 0, 0]
    for code in codes.unique():
        if code:
            mean = x[codes == code, :8].mean(0)
            torch.testing.assert_close(books.codes[0, 0, code], mean, atol=1e-5, rtol=1e-4)


def test_moving_averages_lower_the_distortion_of_all_stages() -> None:
    """Each stage's codes move away under the next one's, so the fall is steady but not strict."""
    books, x = filled(n_stages=3, decay=0.8), centred()
    books.codes[:, :, 1:] += 0.1 * torch.randn(3, 2, 8, 8, generator=torch.manual_seed(0))
    books.sums.copy_(books.counts[..., None] * books.codes)
    errors = [distortion(books, x)]
    for _ in range(20):
        books.update(x, nearest_codes(books, x))
        errors.append(distortion(books, x))
    assert all(b <= a + 2e-3 for a, b in zip(errors, errors[1:], strict=False))
    assert errors[-1] < 0.85 * errors[0]


def test_one_step_is_the_weighted_mean_of_old_and_new() -> None:
    """Count 2 and mean 1 meet count 3 and mean 4 at decay 0.9: (1.8 * 1 + 0.3 * 4) / 2.1."""
    books = GroupedResidualCodebooks(1, 1, 1, 1, decay=0.9, dead_below=0.0)
    books.codes[0, 0, 1], books.counts[0, 0, 1], books.sums[0, 0, 1] = 1.0, 2.0, 2.0
    x = torch.tensor([[3.0], [4.0], [5.0], [0.0]])
    books.update(x, torch.tensor([1, 1, 1, 0]).view(4, 1, 1))
    assert float(books.codes[0, 0, 1]) == pytest.approx(3.0 / 2.1)
    assert float(books.counts[0, 0, 1]) == pytest.approx(2.1)
    assert float(books.codes[0, 0, 0]) == 0


def test_codes_are_used() -> None:
    books = GroupedResidualCodebooks(16, 2, 2, 16)
    x = centred(100)
    books.fill(x)
    used = usage_perplexity(nearest_codes(books, x), 17)
    assert used.shape == (2, 2) and float(used.min()) > 8


def test_perplexity_counts_equally_frequent_codes() -> None:
    indices = torch.tensor([[0, 5], [1, 5], [2, 5], [3, 5]]).view(4, 1, 2)
    torch.testing.assert_close(usage_perplexity(indices, 8), torch.tensor([[4.0, 1.0]]))


def test_dead_codes_are_replaced_by_what_is_left_of_fresh_inputs_only() -> None:
    torch.manual_seed(0)
    books, x = filled(decay=0.5, dead_below=0.01), centred()
    books.codes[:, :, 3] = 50.0
    books.counts[:, :, 3] = books.sums[:, :, 3] = 0.0
    fresh = torch.zeros(len(x), dtype=torch.bool)
    books.update(x, nearest_codes(books, x), fresh)
    assert (books.codes[:, :, 3] == 50).all()  # nothing may replace it
    fresh[7] = True
    indices = nearest_codes(books, x)
    rests = books.residuals(x, indices)
    books.update(x, indices, fresh)
    torch.testing.assert_close(books.codes[:, :, 3], rests[:, :, 7])
    assert not books.codes[:, :, 0].any()


def test_sizes_that_make_no_codebooks_are_refused() -> None:
    with pytest.raises(UserError, match="dim a multiple of n_groups"):
        GroupedResidualCodebooks(10, 4, 1, 8)
    with pytest.raises(UserError, match="decay and dead_below"):
        GroupedResidualCodebooks(8, 4, 1, 8, decay=1.0)
    with pytest.raises(UserError, match="5 embeddings can't fill 8 codes"):
        GroupedResidualCodebooks(16, 2, 1, 8).fill(centred()[:5])


def _learn_on_one_of_two(rank: int, folder: str) -> None:
    """A step on half of the data, in a process of its own."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.manual_seed(rank)
    books = filled(decay=0.5, dead_below=0.01)
    books.counts[:, :, 3] = books.sums[:, :, 3] = 0.0
    books.codes[:, :, 3] = 50.0
    x = centred()[rank::2]
    books.update(x, nearest_codes(books, x))
    torch.save((books.codes, books.counts), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_devices_learn_what_one_would(tmp_path: Path) -> None:
    """Also the codes that were dead, which the first device draws for both."""
    mp.spawn(_learn_on_one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert first[0].abs().max() < 5
    alone, x = filled(decay=0.5), centred()
    alone.codes[:, :, 3] = 50.0
    alone.counts[:, :, 3] = alone.sums[:, :, 3] = 0.0
    alone.update(x, nearest_codes(alone, x))
    alive = [code for code in range(9) if code != 3]
    torch.testing.assert_close(first[0][:, :, alive], alone.codes[:, :, alive])
