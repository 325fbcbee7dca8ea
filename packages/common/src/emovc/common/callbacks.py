"""What every run does beside training: progress, gradient checks, exact resumption."""

import random
import resource
import time
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import RichProgressBar
from torch.optim import Optimizer

from emovc.common.batch import Batch
from emovc.common.errors import UserError


class Progress(L.Callback):
    """Logs how much speech was seen, how fast, and with how much memory.

    ``progress/samples`` is the axis on which runs are compared: optimiser steps aren't comparable,
    since a GAN does two per batch.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.seconds_of_speech = 0.0
        self.hours = 0.0
        self._pending: list[torch.Tensor] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._clock = self._window_start = time.perf_counter()
        self._window_speech = 0.0

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count a batch, and log when the trainer does."""
        now = time.perf_counter()
        self.hours += (now - self._clock) / 3600
        self._clock = now
        self.samples += len(batch.ids) * trainer.world_size
        # Added up on the device: reading the number at once would make the GPU wait.
        self._pending.append(batch.lengths.sum())
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (batch_idx + 1) % every and not trainer.is_last_batch:
            return
        self._count_speech(trainer)
        speed = self._window_speech / max(now - self._window_start, 1e-9)
        self._window_start, self._window_speech = now, 0.0
        values = {
            "progress/samples": float(self.samples),
            "progress/seconds_of_speech": self.seconds_of_speech,
            "progress/epochs": trainer.current_epoch
            + (batch_idx + 1) / trainer.num_training_batches,
            "progress/hours": self.hours,
            "opt/lr": trainer.optimizers[0].param_groups[0]["lr"],
            "sys/seconds_of_speech_per_s": speed,
            "sys/max_mem_gb": max_memory_gb(),
        }
        pl_module.log_dict({k: torch.tensor(float(v)) for k, v in values.items()})

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the validation row its place on the axis."""
        if not trainer.sanity_checking:
            pl_module.log("progress/samples", float(self.samples))

    def state_dict(self) -> dict[str, Any]:
        """Counts so far."""
        names = ("samples", "seconds_of_speech", "hours")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Bring the counts up to date before they are saved."""
        if self._pending:
            self._count_speech(trainer)

    def _count_speech(self, trainer: L.Trainer) -> None:
        rate = trainer.datamodule.sample_rate  # type: ignore[attr-defined]
        seconds = float(torch.stack(self._pending).sum()) / rate * trainer.world_size
        self._pending = []
        self.seconds_of_speech += seconds
        self._window_speech += seconds


class EpochBar(RichProgressBar):
    """A progress bar that doesn't count the epochs of runs that are measured in steps."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {current_epoch}".ljust(len(self.validation_description))


def max_memory_gb() -> float:
    """Largest memory use so far in GB: the GPU's where there is one, else the process'."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


class GradientGuard(L.Callback):
    """Logs the gradient norm and stops, or skips the step, when it is not finite.

    Args:
        on_nonfinite: ``stop`` ends the run and names the batch; ``skip`` leaves the step out and
            counts it in ``train/skipped_steps``.
    """

    def __init__(self, on_nonfinite: Literal["stop", "skip"] = "stop") -> None:
        self.on_nonfinite = on_nonfinite
        self.skipped = 0
        self._ids: list[str] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Remember whose batch it is."""
        self._ids = batch.ids

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Check the gradients of one optimiser."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return
        norm = torch.nn.utils.get_total_norm(gradients)
        number = trainer.optimizers.index(optimizer)
        pl_module.log(f"opt/grad_norm_{number}" if number else "opt/grad_norm", norm)
        # The scaler of float16 finds and skips infinite gradients by itself.
        if trainer.precision == "16-mixed" or torch.isfinite(norm):
            return
        if self.on_nonfinite == "stop":
            raise UserError(
                f"step {trainer.global_step}: the gradient is {float(norm)} for the batch"
                f" {', '.join(self._ids)}; check these files, lower the learning rate, or set the"
                " callback GradientGuard to on_nonfinite: skip"
            )
        self.skipped += 1
        for parameter in parameters:
            parameter.grad = None
        pl_module.log("train/skipped_steps", float(self.skipped))


class ExactResume(L.Callback):
    """Saves the random state with each checkpoint and goes on from it.

    Lightning restores weights, optimisers and loops; with this and the resumable loader a run that
    was killed gives the losses of one that was not.
    """

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Collect the state of every process."""
        own = _random_state()
        states = [own]
        if trainer.world_size > 1:
            states = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(states, own)
        checkpoint["random_states"] = states

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the states until training starts."""
        self._states = checkpoint.get("random_states")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set this process' state; a run on another number of devices draws anew."""
        if self._states is not None and trainer.global_rank < len(self._states):
            _set_random_state(self._states[trainer.global_rank])
        self._states = None


def _random_state() -> dict[str, Any]:
    """State of the generators in types that ``weights_only`` loading reads."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 - other people's code uses it
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy_key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
        "numpy_pos": int(numpy_state["state"]["pos"]),
        "python": list(random.getstate()[1]),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    """Undo :func:`_random_state`; a cached second Gaussian of the old generators is dropped."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    key = state["numpy_key"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, state["numpy_pos"], 0, 0.0))  # noqa: NPY002
    random.setstate((3, tuple(state["python"]), None))
