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
        """Save if it is time; not before a validation, which a run that goes on would miss."""
        loop = trainer.fit_loop
        validates = loop.epoch_loop._should_check_val_fx(loop._data_fetcher)  # type: ignore[arg-type]
        if not validates and self._is_time(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was put off."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._is_time(trainer):
            self.save(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save when the process was told to terminate, which Lightning notices between batches."""
        if isinstance(exception, SIGTERMException) and trainer.training:
            self.save(trainer)

    def _is_time(self, trainer: L.Trainer) -> bool:
        """Whether a save is due, or the run is at its end."""
        due = trainer.global_step - self._saved_at >= self.every_n_steps
        last_epoch = trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        return due or last_epoch or trainer.global_step == trainer.max_steps

    def save(self, trainer: L.Trainer) -> None:
        """Save now."""
        self._saved_at = trainer.global_step
        path = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(path, weights_only=False)


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their target and renames them: a kill leaves the old one whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Save atomically."""
        with atomic_path(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
