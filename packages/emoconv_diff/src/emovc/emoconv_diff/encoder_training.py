"""How the average-voice encoder is trained, before the diffusion and apart from it."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from emovc.common.batch import Batch
from emovc.common.errors import UserError
from emovc.common.masking import masked_mean
from emovc.emoconv_diff.encoder import AverageVoiceEncoder

FEATURE = "average_mel"


class LitAverageVoice(L.LightningModule):
    """Train the encoder to give the mels that ``emovc average-mels`` wrote.

    The loss is the mean square over valid frames and bands. DiffVC's authors train on crops of 128
    frames, 128 a batch, and clip gradients at norm 1.

    Source: Popov et al., "Diffusion-based voice conversion with fast maximum likelihood sampling
    scheme", ICLR 2022, and the authors' code.

    Args:
        model: The encoder.
        lr: Learning rate of Adam.
    """

    def __init__(self, model: AverageVoiceEncoder, lr: float = 5e-4) -> None:
        super().__init__()
        # The model as class path, whoever built it: checkpoints hold plain types only.
        self.save_hyperparameters(logger=False, ignore=["model"])
        self.hparams["model"] = model.description
        self.model = model
        self.lr = lr

    def setup(self, stage: str) -> None:
        """Check that the data carries the targets.

        Raises:
            UserError: It doesn't.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if not any(name.partition("-")[0] == FEATURE for name in data.features):
            raise UserError(
                f"data.features: lacks {FEATURE}, which the encoder learns to give; write it with"
                f" emovc average-mels, and set data.features: [{FEATURE}]"
            )

    def on_train_start(self) -> None:
        """From here on the weights are more than random."""
        self.model.pretrained = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean square of one batch."""
        loss = self._errors(batch)[0]
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Mean square and mean absolute error of whole utterances."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Average-voice log-mel (M, T) of each utterance."""
        given, mask = self._given(batch)
        counts = mask.sum(1).int().tolist()
        return [{"log_mel": mel[:, :n]} for mel, n in zip(given, counts, strict=True)]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.model.parameters(), self.lr)

    def _score(self, batch: Batch, stage: str) -> None:
        loss, l1, frames = self._errors(batch)
        values = {f"{stage}/loss": loss, f"{stage}/mel_l1": l1}
        self.log_dict(values, sync_dist=True, batch_size=frames)

    def _given(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Average-voice mels (B, M, T) of the encoder, and their mask (B, T)."""
        mel = self.model.frontend(batch.wav)
        mask = self.model.frontend.mask(batch.lengths, mel.shape[2])
        return self.model(mel, mask), mask

    def _errors(self, batch: Batch) -> tuple[Tensor, Tensor, int]:
        """Mean square, mean absolute error, and the number of valid frames."""
        given, mask = self._given(batch)
        target = batch.features[FEATURE].transpose(1, 2)
        frames = min(given.shape[2], target.shape[2])  # padding to a whole crop has no target
        error, mask = given[..., :frames] - target[..., :frames], mask[:, :frames]
        square, absolute = error.square().mean(1), error.abs().mean(1)
        return masked_mean(square, mask), masked_mean(absolute, mask), int(mask.sum())
