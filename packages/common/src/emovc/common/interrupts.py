"""How a training is interrupted: it saves its state first."""

import os
import signal
from typing import Any

import lightning as L
from lightning.pytorch.plugins.environments import SLURMEnvironment

from emovc.common.batch import Batch
from emovc.common.checkpoints import LastCheckpoint


class Interrupts(L.Callback):
    """Saves ``last.ckpt`` on Ctrl-C and SIGTERM and ends, and on SIGUSR1 and goes on.

    The step at hand is finished first, so that the run can be resumed exactly. A second Ctrl-C ends
    the run at once, without saving. Under SLURM, Lightning answers SIGUSR1 by saving and queueing
    the job again. ``emovc fit`` adds this callback by itself.

    Attributes:
        interrupted: Whether Ctrl-C ended the last run of this process.
    """

    interrupted = False

    def __init__(self) -> None:
        self._save = False
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Answer the signals from here on."""
        Interrupts.interrupted = False
        self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
        if not SLURMEnvironment.detect():
            self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._ask_to_save)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Save if that was asked for."""
        if self._save:
            self._save = False
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, LastCheckpoint):
                    callback.save(trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the signals to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _interrupt(self, *_: object) -> None:
        """End like on SIGTERM, which Lightning answers after the step at hand."""
        Interrupts.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGTERM)

    def _ask_to_save(self, *_: object) -> None:
        self._save = True
