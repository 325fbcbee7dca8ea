"""A training that stops anywhere goes on with the same epochs, batches, validations and steps."""

import os
import signal
from pathlib import Path
from typing import Any, Literal

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from emovc.common.checkpoints import AtomicCheckpoints, LastCheckpoint
from emovc.common.loader import PlannedBatches, ResumableLoader
from emovc.common.sampling import Request

STEPS, BATCHES = 16, 5  # of the run, and in an epoch
Stop = Literal["terminated", "broken off", "never"]


class Counts(L.LightningModule):
    """Notes what each step sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("epochs_ended", torch.zeros(1))
        self.register_buffer("validated", torch.zeros(1))
        self.seen: dict[int, tuple[int, ...]] = {}

    def training_step(self, batch: list[int], batch_idx: int) -> Tensor:
        trainer: Any = self.trainer
        self.seen[trainer.global_step] = (
            trainer.current_epoch, batch_idx, batch[0], int(self.epochs_ended),
            int(self.validated), trainer.fit_loop.epoch_loop._batches_that_stepped,
        )  # fmt: skip
        return (self.weight - 1).square().sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None: ...

    def on_train_epoch_end(self) -> None:
        self.epochs_ended += 1

    def on_validation_epoch_end(self) -> None:
        self.validated += 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Items:
    def __getitem__(self, request: Request) -> int:
        return request.item


class Data(L.LightningDataModule):
    def train_dataloader(self) -> ResumableLoader:
        def plan(epoch: int) -> list[list[Request]]:
            return [[Request(100 * epoch + k, 0, 0)] for k in range(BATCHES)]

        return ResumableLoader(Items(), PlannedBatches(plan), list)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader([1, 2])  # type: ignore[arg-type]


class StopAt(L.Callback):
    """Stops once at a hook and step."""

    def __init__(self, hook: str, step: int, how: Stop) -> None:
        self.how = how

        def stop(trainer: L.Trainer, *_: object, **__: object) -> None:
            if trainer.global_step != step or self.how == "never":
                return
            how, self.how = self.how, "never"
            if how == "broken off":
                raise RuntimeError("broken off")
            os.kill(os.getpid(), signal.SIGTERM)

        setattr(self, hook, stop)


def fit(
    folder: Path, stop: StopAt, every: int, validate: int, resume: bool = False
) -> dict[int, tuple[int, ...]]:
    """What each step of a run saw until its end."""
    model, last = Counts(), folder / "checkpoints" / "last.ckpt"
    trainer = L.Trainer(
        default_root_dir=folder, accelerator="cpu", max_steps=STEPS, logger=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        val_check_interval=validate, check_val_every_n_epoch=None,
        plugins=[AtomicCheckpoints()], callbacks=[stop, LastCheckpoint(every)],
    )  # fmt: skip
    try:
        trainer.fit(model, datamodule=Data(), ckpt_path=last if resume else None)
    except SIGTERMException:
        pass
    except RuntimeError as error:
        assert str(error) == "broken off"
    return model.seen


HOOKS = ("on_train_batch_start", "on_train_batch_end", "on_train_epoch_end",
         "on_train_epoch_start", "on_validation_start", "on_validation_end")  # fmt: skip


@pytest.mark.parametrize("how", ["terminated", "broken off"])
@pytest.mark.parametrize("validate", [5, 8])
@pytest.mark.parametrize("hook", HOOKS)
def test_it_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, hook: str, validate: int, how: Stop
) -> None:
    expected = fit(tmp_path / "whole", StopAt(hook, 0, "never"), BATCHES, validate)
    assert len(expected) == STEPS
    for step in (4, 5, 8, 10):
        folder = tmp_path / str(step)
        before = fit(folder, StopAt(hook, step, how), BATCHES, validate)
        if (folder / "checkpoints" / "last.ckpt").exists() and len(before) < STEPS:
            after = fit(folder, StopAt(hook, 0, "never"), BATCHES, validate, resume=True)
            assert before | after == expected, step
