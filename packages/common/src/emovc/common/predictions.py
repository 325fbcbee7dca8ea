"""What ``emovc predict`` leaves behind: one file of tensors per utterance."""

import sys
from collections.abc import Sequence
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from safetensors.torch import save_file
from torch import Tensor

from emovc.common.batch import Batch
from emovc.common.files import atomic_path


class PredictionFiles(BasePredictionWriter):
    """Writes what ``predict_step`` returns to ``<folder>/<manifest id>.safetensors``.

    Args:
        folder: Folder for the files.
    """

    def __init__(self, folder: str) -> None:
        super().__init__("batch")
        self.folder = Path(folder)

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Sequence[dict[str, Tensor]],
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the tensors of a batch, a dictionary per utterance."""
        for name, tensors in zip(batch.ids, prediction, strict=True):
            with atomic_path(self.folder / f"{name}.safetensors") as temporary:
                save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, temporary)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say where they are."""
        if trainer.is_global_zero:
            sys.stdout.write(f"{self.folder}\n")
