"""When and how checkpoints are written."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from emovc.common.batch import Batch
from emovc.common.files import atomic_path


class LastCheckpoint(Checkpoint):
    """Keeps the latest state in ``<run>/checkpoints/last.ckpt``, and only that.

    It is saved every so many steps, at the end, when the process is told to terminate, as cluster
    schedulers do before they kill it, and on Ctrl-C and SIGUSR1
    (:class:`~emovc.common.interrupts.Interrupts`).

    Args:
        every_n_steps: Optimiser steps between saves.
    """

    def __init__(self, every_n_steps: int = 500) -> None:
        self.every_n_steps = every_n_steps
        self._saved_at = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count from where the run begins or goes on."""
        self._saved_at = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Save if it is time; not before a validation or an epoch's end, which would be missed."""
        if not _validates(trainer) and not trainer.is_last_batch and self._is_time(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was put off, if the epoch goes on."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.is_last_batch:
            return
        if self._is_time(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was put off, after the module's own end of the epoch."""
        ends = trainer.current_epoch == trainer.max_epochs or self._is_time(trainer)
        if ends and trainer.global_step > self._saved_at:
            self.save(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save when the process was told to terminate, which Lightning notices between batches."""
        if isinstance(exception, SIGTERMException) and trainer.training:
            self.save(trainer)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a state from an epoch's or a validation's end be one that Lightning resumes rightly.

        From a state behind an epoch's last batch it would count the next epoch's batches on from
        there, and turn its epochs one batch later; from that within the last batch it begins an
        epoch. In both cases, and behind a validation, it counts the batch that is done once more.
        """
        loop = checkpoint["loops"]["fit_loop"]
        batches, epochs = loop["epoch_loop.batch_progress"], loop["epoch_progress"]
        if len(set(batches["current"].values())) > 1:
            return
        if not trainer.validating and (batches["is_last_batch"] or _validates(trainer)):
            loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
        if batches["is_last_batch"]:
            for part in ("total", "current"):
                batches[part]["completed"] -= 1
                for count in ("processed", "completed"):
                    epochs[part][count] = epochs[part]["ready"] - 1
            checkpoint["epoch"] = epochs["current"]["processed"]

    def _is_time(self, trainer: L.Trainer) -> bool:
        """Whether a save is due, or the run is at its end."""
        due = trainer.global_step - self._saved_at >= self.every_n_steps
        return due or trainer.global_step == trainer.max_steps

    def save(self, trainer: L.Trainer) -> None:
        """Save now."""
        self._saved_at = trainer.global_step
        path = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(path, weights_only=False)


def _validates(trainer: L.Trainer) -> bool:
    """Whether the step at hand is one that a validation follows."""
    loop = trainer.fit_loop
    fetcher = loop._data_fetcher  # none once the training is over
    return fetcher is not None and bool(loop.epoch_loop._should_check_val_fx(fetcher))


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their target and renames them: a kill leaves the old one whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Save atomically."""
        with atomic_path(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
