"""Batches: seeded, resumable, without padding, the same on one device and on two."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from emovc.common.batch import Sample, collate
from emovc.common.loader import PlannedBatches, ResumableLoader
from emovc.common.sampling import (
    Crop,
    Request,
    bucket_batches,
    crop_batches,
    evaluation_batches,
)

CROP = Crop(min_frames=88, max_frames=176, multiple=11)
FRAMES = np.random.default_rng(0).integers(60, 400, 203).tolist()


@given(
    st.lists(st.integers(20, 400), min_size=1, max_size=120),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_crops_of_a_batch_are_equally_long_and_fit(
    frames: list[int], batch_size: int, epoch: int
) -> None:
    batches = crop_batches(frames, CROP, batch_size, 0, epoch)
    used = [r.item for batch in batches for r in batch]

    assert len(batches) == len(frames) // batch_size
    assert len(used) == len(set(used))
    for batch in batches:
        assert len(batch) == batch_size
        (length,) = {r.frames for r in batch}
        assert length % 11 == 0 and 88 <= length <= 176
        assert all(length <= max(frames[r.item], 88) for r in batch)


def test_crop_lengths_are_uniform() -> None:
    lengths = [
        r.frames
        for epoch in range(40)
        for batch in crop_batches([400] * 200, CROP, 8, 0, epoch)
        for r in batch
    ]
    counts = np.bincount(np.array(lengths) // 11)[8:]
    assert len(counts) == 9
    assert counts.min() > 0.8 * counts.mean()  # left-overs of a batch move to shorter crops


def test_order_depends_on_seed_and_epoch_only() -> None:
    first = crop_batches(FRAMES, CROP, 8, 1, 5)
    assert crop_batches(FRAMES, CROP, 8, 1, 5) == first
    assert crop_batches(FRAMES, CROP, 8, 1, 6) != first
    assert crop_batches(FRAMES, CROP, 8, 2, 5) != first


def test_buckets_hold_every_utterance_once_within_the_bounds() -> None:
    batches = bucket_batches(FRAMES, 16, 2000, 0, 3)
    assert sorted(r.item for b in batches for r in b) == list(range(len(FRAMES)))
    for batch in batches:
        longest = max(FRAMES[r.item] for r in batch)
        assert len(batch) <= 16 and longest * len(batch) <= 2000
    padded = sum(len(b) * max(FRAMES[r.item] for r in b) for b in batches)
    assert sum(FRAMES) / padded > 0.8


@pytest.mark.parametrize("n", [1, 7, 8, 9, 17, 33])
def test_no_device_goes_without_work(n: int) -> None:
    for batches in (
        evaluation_batches(FRAMES[:n], 8, None, n_ranks=4),
        bucket_batches(FRAMES[:n], 8, 900, 0, 0, n_ranks=4),
    ):
        assert sorted(r.item for b in batches for r in b) == list(range(n))
        assert all(len(b) >= min(4, n) for b in batches)


class Numbers(Dataset[Sample]):
    """A sample whose sound is its request."""

    def __getitem__(self, request: Request) -> Sample:
        wav = torch.full((4,), float(request.item))
        return Sample(str(request.item), wav, 0, 0, {})


def loader(num_workers: int = 0, rank: int = 0, n_ranks: int = 1) -> ResumableLoader:
    def plan(epoch: int) -> list[list[Request]]:
        return crop_batches(FRAMES[:40], CROP, 4, 0, epoch)

    batches = PlannedBatches(plan, rank, n_ranks)
    return ResumableLoader(Numbers(), batches, collate, num_workers)


def ids(batches: list) -> list[list[str]]:
    return [b.ids for b in batches]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 7, 10, 13, 20])
def test_resumption_gives_the_very_next_batch(stop: int, num_workers: int) -> None:
    whole = loader(num_workers)
    straight = ids([b for _ in range(3) for b in whole])
    broken = loader(num_workers)
    seen = []
    while len(seen) < stop:
        for batch in broken:
            seen.append(batch)
            if len(seen) == stop:
                break
    resumed = loader(num_workers)
    resumed.load_state_dict(broken.state_dict())
    rest = []
    while len(seen) + len(rest) < 30:
        rest += list(resumed)

    assert ids(seen + rest) == straight
    assert straight[:10] != straight[10:20]


def test_two_devices_share_each_batch() -> None:
    one, two = ids(list(loader())), [ids(list(loader(rank=r, n_ranks=2))) for r in range(2)]
    for whole, a, b in zip(one, *two, strict=True):
        assert sorted(whole) == sorted(a + b) and len(a) == len(b) == 2


def test_starting_an_iterator_leaves_the_random_state_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader())
    assert torch.equal(torch.get_rng_state(), before)
