"""A data loader that resumes in the middle of an epoch with the very next batch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from emovc.common.batch import Batch, Sample
from emovc.common.sampling import Request

Plan = Callable[[int], list[list[Request]]]


class PlannedBatches(Sampler[list[Request]]):
    """This device's share of the planned batches of one epoch.

    Args:
        plan: Batches of an epoch over all devices.
        rank: Number of this device.
        n_ranks: Number of devices.
    """

    def __init__(self, plan: Plan, rank: int = 0, n_ranks: int = 1) -> None:
        self.plan = plan
        self.rank = rank
        self.n_ranks = n_ranks
        self.epoch = 0
        self.start = 0
        self._length: int | None = None

    def __len__(self) -> int:
        """Batches per epoch: those of the first, since the loops want one number."""
        if self._length is None:
            self._length = len(self.plan(0))
        return self._length

    def __iter__(self) -> Iterator[list[Request]]:
        """Yield from batch ``start`` of epoch ``epoch`` on.

        Batches bounded by duration can come out a few more or fewer in another epoch: what is too
        much is left out, and what is missing is taken from the epoch's beginning.
        """
        batches = self.plan(self.epoch)
        for k in range(self.start, len(self)):
            yield batches[k % len(batches)][self.rank :: self.n_ranks]


class ResumableLoader(DataLoader[Any]):
    """Loader whose state is the epoch and the batches handed out of it.

    Lightning saves and restores the state with each checkpoint because of the two methods' names.

    Args:
        dataset: Gives a sample for a request.
        batches: Requests of each batch.
        collate_fn: Makes a batch of samples.
        num_workers: Loader processes.
        pin_memory: Copy batches to page-locked memory for the GPU.
    """

    def __init__(
        self,
        dataset: Dataset[Sample],
        batches: PlannedBatches,
        collate_fn: Callable[[Sequence[Sample]], Batch],
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(
            dataset,
            batch_sampler=batches,
            collate_fn=collate_fn,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            # Its own generator: starting an iterator draws from it, and that must not move the
            # random numbers of the model.
            generator=torch.Generator(),
        )
        self.batches = batches
        self._epoch = 0
        self._handed_out = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Go on behind the last batch handed out; after the last one begins the next epoch."""
        self._turn_epoch()
        self.batches.epoch, self.batches.start = self._epoch, self._handed_out
        for batch in super().__iter__():
            self._handed_out += 1
            yield batch
        self._turn_epoch()

    def _turn_epoch(self) -> None:
        if self._handed_out >= len(self.batches):
            self._epoch, self._handed_out = self._epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Epoch and batches handed out of it."""
        return {"epoch": self._epoch, "handed_out": self._handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a saved state."""
        self._epoch, self._handed_out = state["epoch"], state["handed_out"]
