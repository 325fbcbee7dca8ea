"""What is drawn or heard after every few validations of a training."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L

from emovc.common.loggers import WandbCurves


class AfterValidations(L.Callback, ABC):
    """Calls :meth:`look` after the first validation and after every few from there on.

    The count is in the checkpoint, so that a resumed run looks when an uninterrupted one would.

    Args:
        every_n_validations: Validations from one look to the next.
    """

    def __init__(self, every_n_validations: int) -> None:
        self.every_n_validations = every_n_validations
        self._validations = 0

    @abstractmethod
    def look(self, trainer: L.Trainer, pl_module: L.LightningModule, folder: Path) -> None:
        """Write what is to be seen of the module to a folder ``<run>/media/<step>``."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look, if it is time."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._validations += 1
        if (self._validations - 1) % self.every_n_validations == 0:
            folder = Path(trainer.default_root_dir) / "media" / f"{trainer.global_step:08d}"
            self.look(trainer, pl_module, folder)

    def state_dict(self) -> dict[str, Any]:
        """Validations so far."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._validations = state_dict["validations"]


def samples_so_far(trainer: L.Trainer) -> float:
    """Utterances trained on: the horizontal axis of W&B's curves."""
    return float(trainer.callback_metrics.get("progress/samples") or 0)


def log_images(trainer: L.Trainer, key: str, files: Sequence[Path]) -> None:
    """Send pictures to the trainer's W&B loggers.

    Args:
        trainer: The running trainer.
        key: Name there, such as ``media/attention``.
        files: PNG files.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbCurves):
            logger.log_images(key, list(files), samples_so_far(trainer))
