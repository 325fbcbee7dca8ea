"""How the aligner is trained, before the synthesizer and apart from it."""

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from emovc.common.batch import Batch
from emovc.genner_tts.aligner import Aligner
from emovc.genner_tts.alignment import diagonal_prior, forward_sum_loss
from emovc.genner_tts.inventory import PAD
from emovc.genner_tts.text_data import PHONES, TextDataModule


class LitAligner(L.LightningModule):
    """Train the aligner: the likelihood of all ways to share the frames among the phones.

    Source: Badlani et al., "One TTS alignment to rule them all", ICASSP 2022.

    Args:
        model: The aligner.
        prior_steps: First steps, in which alignments near the diagonal count more.
        optimizer: Builds the optimiser from the parameters.
    """

    def __init__(
        self,
        model: Aligner,
        prior_steps: int = 30,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=5e-3),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.model = model
        self.prior_steps = prior_steps
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
        loss = self._loss(batch, self.global_step < self.prior_steps)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss without the prior."""
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

    @property
    def _data(self) -> TextDataModule:
        """The data module."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def _phones(self, batch: Batch) -> Tensor:
        """Numbers of the phones in the model's table, (B, L)."""
        if self._rows is None:
            self._rows = self.model.phones.rows_of(self._data.inventory)
        return self._rows.to(self.device)[batch.features[PHONES]]

    def _loss(self, batch: Batch, prior: bool = False) -> Tensor:
        """Loss of a batch, with the prior near the diagonal or without."""
        phones = self._phones(batch)
        mel = self.model.frontend(batch.wav)
        mask = self.model.frontend.mask(batch.lengths, mel.shape[2])
        sizes = (phones > PAD).sum(1), mask.sum(1).long()
        scores = self.model(mel, mask, phones)
        if prior:
            scores = scores + diagonal_prior(*sizes)
        return forward_sum_loss(scores, *sizes)

    def _score(self, batch: Batch, stage: str) -> None:
        self.log(f"{stage}/loss", self._loss(batch), sync_dist=True, batch_size=len(batch.ids))
