"""How the F0 converter P is trained, which nobody else ships."""

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from emovc.common.batch import Batch
from emovc.common.errors import UserError
from emovc.common.masking import masked_mean
from emovc.common.pretrained import load_converter
from emovc.speechflow.converter import Inputs, SpeechFlow
from emovc.speechflow.losses import f0_loss
from emovc.speechflow.pitch import f0_bins, f0_input
from emovc.speechflow.resampling import RandomResampling
from emovc.speechflow.training import resampled_inputs, take_stored_tracker


class LitF0Converter(L.LightningModule):
    """Train the F0 converter of a trained SpeechFlow.

    The converter hears the mel as it is and the F0 warped, and must give the F0 as it is: the
    target is **not** resampled, or validation loss would rise while training loss falls.

    Args:
        model: A converter with an ``f0_converter``; the rest of it is loaded from ``init_from``.
        init_from: Run, checkpoint or exported folder of the SpeechFlow it belongs to.
        resampling: Random resampling of the F0.
        optimizer: Builds the optimiser from the parameters.

    Raises:
        UserError: The model has no F0 converter.
    """

    def __init__(
        self,
        model: SpeechFlow,
        init_from: str | None = None,
        resampling: RandomResampling | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-4),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if model.f0_converter is None:
            raise UserError(
                "model.f0_converter: is what this trains; configure one, as"
                " configs/model/speechflow_f0.yaml does"
            )
        self.model = model
        self.init_from = init_from
        self.resampling = resampling
        self.optimizer = optimizer
        for part in (model.net, model.speaker):
            part.requires_grad_(False)

    def setup(self, stage: str) -> None:
        """Load the trained SpeechFlow; a checkpoint of this recipe holds it already.

        Raises:
            UserError: None is named, or it has other sizes.
        """
        if stage != "fit":
            return
        take_stored_tracker(self, self.model)
        if self.init_from is None:
            raise UserError(
                "model.init_from: names no SpeechFlow to train the F0 converter for; train one with"
                " emovc fit -c configs/speechflow_nemo.yaml and give --model.init_from RUN"
            )
        trained = load_converter(Path(self.init_from))
        weights = {
            k: v for k, v in trained.state_dict().items() if not k.startswith("f0_converter.")
        }
        own = self.model.state_dict()
        wrong = [k for k, v in weights.items() if k not in own or own[k].shape != v.shape]
        if wrong:
            raise UserError(
                f"{self.init_from}: {wrong[0]} does not fit this config's model; use the same net"
                " and speaker settings as that run"
            )
        self.model.load_state_dict(weights, strict=False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of one batch."""
        inputs = self.model.inputs(batch)
        _, f0 = resampled_inputs(inputs, self.resampling)
        loss, _ = self._loss(inputs, f0, self.resampling)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Cross-entropy and voicing error of whole utterances, nothing warped."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """F0 bin (T,) of each frame of each utterance, 0 where unvoiced."""
        inputs = self.model.inputs(batch)
        bins = self._loss(inputs, inputs.f0, None)[1].argmax(1)
        return [{"f0_bin": row[:n]} for row, n in zip(bins, inputs.frames, strict=True)]

    def _score(self, batch: Batch, stage: str) -> None:
        inputs = self.model.inputs(batch)
        loss, logits = self._loss(inputs, inputs.f0, None)
        voiced = logits.argmax(1) > 0
        wrong = masked_mean(voiced != (f0_bins(inputs.f0) > 0), inputs.mask)
        values = {f"{stage}/loss": loss, f"{stage}/voicing_error": wrong}
        self.log_dict(values, sync_dist=True, batch_size=int(inputs.mask.sum()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Optimiser of the F0 converter alone."""
        assert self.model.f0_converter is not None
        return self.optimizer(self.model.f0_converter.parameters())

    def _loss(
        self, inputs: Inputs, f0: Tensor, resampling: RandomResampling | None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy against the F0 of ``inputs``, and the logits (B, K, T)."""
        converter = self.model.f0_converter
        assert converter is not None
        n_bins = converter.n_f0_bins
        mask = None if resampling is not None else inputs.mask
        logits = converter(inputs.mel, f0_input(f0, n_bins), mask, resampling)
        return f0_loss(logits, f0_bins(inputs.f0, n_bins), inputs.mask, "ce"), logits
