"""How the aligner is trained, before the synthesizer and apart from it."""

from typing import NamedTuple

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from emovc.common.batch import Batch
from emovc.genner_tts.aligner import Aligner
from emovc.genner_tts.alignment import binarisation_loss, forward_sum_loss, monotonic_durations
from emovc.genner_tts.inventory import PAD
from emovc.genner_tts.text_data import PHONES, TextDataModule
from emovc.genner_tts.timeline import phones_of_frames


class AlignmentLosses(NamedTuple):
    """Losses of a batch, each a scalar.

    Attributes:
        forward_sum: Of all monotonic paths.
        binarisation: Of the best path.
    """

    forward_sum: Tensor
    binarisation: Tensor


class LitAligner(L.LightningModule):
    """Train the aligner: forward-sum loss, and after a while the binarisation loss beside it.

    Source: Badlani et al., "One TTS alignment to rule them all", ICASSP 2022.

    Args:
        model: The aligner.
        binarise_from: Step from which the binarisation loss counts.
        binarise_ramp: Steps in which its weight rises to 1.
        optimizer: Builds the optimiser from the parameters.
    """

    def __init__(
        self,
        model: Aligner,
        binarise_from: int = 18_000,
        binarise_ramp: int = 6_000,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.model = model
        self.binarise_from = binarise_from
        self.binarise_ramp = binarise_ramp
        self.optimizer = optimizer
        self._rows: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Number the phones anew, as data may have changed."""
        self._rows = None

    def on_fit_start(self) -> None:
        """Take the phones of the training texts; a run that goes on has them.

        Raises:
            UserError: They don't fit the model.
        """
        if not self.model.phones.filled:
            self.model.phones.fill(self._data.inventory)

    def on_train_start(self) -> None:
        """From here on the weights are more than random."""
        self.model.pretrained = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        losses = self._losses(batch)
        weight = self.binarisation_weight(self.global_step)
        loss = losses.forward_sum + weight * losses.binarisation
        self.log("train/loss_forward_sum", losses.forward_sum.detach())
        self.log("train/loss_binarisation", losses.binarisation.detach())
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Both losses at full weight."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Frames of the phones of each utterance, (L,)."""
        phones = self._phones(batch)
        durations = self.model.durations(batch.wav, batch.lengths, phones)
        counts = (phones > PAD).sum(1).tolist()
        return [{"durations": row[:n]} for row, n in zip(durations, counts, strict=True)]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Optimiser of all weights."""
        return self.optimizer(list(self.parameters()))

    def binarisation_weight(self, step: int) -> float:
        """Weight of the binarisation loss at a step, from 0 to 1."""
        return min(1.0, max(0.0, (step - self.binarise_from) / max(1, self.binarise_ramp)))

    @property
    def _data(self) -> TextDataModule:
        """The data module."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def _phones(self, batch: Batch) -> Tensor:
        """Numbers of the phones in the model's table, (B, L)."""
        if self._rows is None:
            self._rows = self.model.phones.rows_of(self._data.inventory)
        return self._rows.to(self.device)[batch.features[PHONES]]

    def _losses(self, batch: Batch) -> AlignmentLosses:
        """Losses of a batch."""
        phones = self._phones(batch)
        mel = self.model.frontend(batch.wav)
        mask = self.model.frontend.mask(batch.lengths, mel.shape[2])
        sizes = (phones > PAD).sum(1), mask.sum(1).long()
        scores = self.model(mel, mask, phones)
        path = phones_of_frames(monotonic_durations(scores, *sizes))
        return AlignmentLosses(forward_sum_loss(scores, *sizes), binarisation_loss(scores, path))

    def _score(self, batch: Batch, stage: str) -> None:
        losses = self._losses(batch)
        values = {
            f"{stage}/loss_forward_sum": losses.forward_sum,
            f"{stage}/loss_binarisation": losses.binarisation,
            f"{stage}/loss": losses.forward_sum + losses.binarisation,
        }
        self.log_dict(values, sync_dist=True, batch_size=len(batch.ids))
