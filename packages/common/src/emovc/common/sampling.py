"""Which utterances make up a batch: pure functions of (seed, epoch), the same on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from emovc.common.errors import UserError


class Request(NamedTuple):
    """What the dataset is asked for.

    Attributes:
        item: Number of the utterance among those with partners.
        frames: Length of the crop in mel frames; 0 for the whole utterance.
        seed: Of the crop's start and of the choice of partners.
    """

    item: int
    frames: int
    seed: int


@dataclass(frozen=True)
class Crop:
    """Random crops of training utterances, in mel frames.

    Args:
        min_frames: Shortest crop; shorter utterances are padded to it.
        max_frames: Longest crop.
        multiple: Crops are a multiple of this many frames long.

    Raises:
        UserError: No length fits.
    """

    min_frames: int
    max_frames: int
    multiple: int = 1

    def __post_init__(self) -> None:
        """Check that there is a length to choose."""
        if min(self.min_frames, self.multiple) < 1 or not len(self.lengths()):
            raise UserError(
                f"data.crop: no multiple of {self.multiple} frames lies between min_frames"
                f" {self.min_frames} and max_frames {self.max_frames}; widen the range"
            )

    def lengths(self) -> np.ndarray:
        """The possible lengths, rising."""
        first = -(-self.min_frames // self.multiple) * self.multiple
        return np.arange(first, self.max_frames + 1, self.multiple)


def crop_batches(
    frames: Sequence[int], crop: Crop, batch_size: int, seed: int, epoch: int
) -> list[list[Request]]:
    """Batches of crops that are equally long within a batch, so that nothing is padded.

    Every utterance gives one crop an epoch. Its length is uniform over the lengths that the
    utterance has room for; what does not fill a batch of one length is cut to the next shorter.
    The last incomplete batch is left out.

    Args:
        frames: Mel frames of each utterance.
        crop: The lengths.
        batch_size: Crops per batch, over all devices.
        seed: Seed of the run.
        epoch: Epoch.

    Returns:
        The epoch's batches, in random order.
    """
    rng = np.random.default_rng([seed, epoch])
    lengths = crop.lengths()
    room = np.maximum(np.searchsorted(lengths, np.asarray(frames), side="right"), 1)
    choice = (rng.random(len(room)) * room).astype(int)
    seeds = rng.integers(2**31, size=len(room))
    batches: list[list[Request]] = []
    waiting = np.empty(0, dtype=int)
    for k in range(len(lengths) - 1, -1, -1):
        own = rng.permutation(np.flatnonzero(choice == k))
        waiting = np.concatenate([waiting, own])
        while len(waiting) >= batch_size:
            now, waiting = waiting[:batch_size], waiting[batch_size:]
            batches.append([Request(int(i), int(lengths[k]), int(seeds[i])) for i in now])
    return [batches[i] for i in rng.permutation(len(batches))]


def bucket_batches(
    frames: Sequence[int],
    batch_size: int,
    batch_frames: int | None,
    seed: int,
    epoch: int,
    n_ranks: int = 1,
) -> list[list[Request]]:
    """Batches of whole utterances of similar duration.

    Args:
        frames: Mel frames of each utterance.
        batch_size: Most utterances per batch, over all devices.
        batch_frames: Most frames per batch, padding included; ``None`` sets no bound.
        seed: Seed of the run.
        epoch: Epoch.
        n_ranks: Devices that share a batch.

    Returns:
        The epoch's batches, in random order; every utterance is in one.
    """
    rng = np.random.default_rng([seed, epoch])
    noisy = np.asarray(frames) * rng.uniform(0.9, 1.1, size=len(frames))
    batches = _fill(np.argsort(noisy, kind="stable"), frames, batch_size, batch_frames, n_ranks)
    seeds = rng.integers(2**31, size=len(frames))
    order = rng.permutation(len(batches))
    return [[Request(i, 0, int(seeds[i])) for i in batches[b]] for b in order]


def evaluation_batches(
    frames: Sequence[int],
    batch_size: int,
    batch_frames: int | None,
    n_ranks: int = 1,
    chosen: Sequence[int] | None = None,
) -> list[list[Request]]:
    """Batches of whole utterances, the longest first so that memory fails early if it does.

    Args:
        frames: Mel frames of each utterance.
        batch_size: Most utterances per batch, over all devices.
        batch_frames: Most frames per batch, padding included; ``None`` sets no bound.
        n_ranks: Devices that share a batch.
        chosen: The utterances to take; ``None``: all.

    Returns:
        The same batches in every epoch.
    """
    order = np.argsort(-np.asarray(frames), kind="stable")
    if chosen is not None:
        order = order[np.isin(order, chosen)]
    batches = _fill(order, frames, batch_size, batch_frames, n_ranks)
    return [[Request(i, 0, i) for i in batch] for batch in batches]


def _fill(
    order: np.ndarray,
    frames: Sequence[int],
    batch_size: int,
    batch_frames: int | None,
    n_ranks: int,
) -> list[list[int]]:
    """Cut an order of utterances into batches within both bounds.

    No batch is smaller than the number of devices: each device must have something to do in each,
    or the collective operations of the others would wait for it.
    """
    batches: list[list[int]] = []
    longest = 0
    for i in map(int, order):
        longest = max(longest, frames[i])
        batch = batches[-1] if batches else []
        full = len(batch) >= batch_size
        if batch_frames is not None and len(batch) >= n_ranks:
            full = full or longest * (len(batch) + 1) > batch_frames
        if full or not batches:
            batches.append([i])
            longest = frames[i]
        else:
            batch.append(i)
    if len(batches) > 1 and len(batches[-1]) < n_ranks:
        last = batches.pop()
        batches[-1] += last
    return batches
