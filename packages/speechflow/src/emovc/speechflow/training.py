"""How SpeechFlow is trained."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from emovc.common.batch import Batch
from emovc.common.errors import UserError
from emovc.common.features.extractors import F0Feature
from emovc.common.masking import masked_mean
from emovc.common.pretrained import build
from emovc.common.speaker import SpeakerTable
from emovc.speechflow.converter import Inputs, SpeechFlow
from emovc.speechflow.cycle import CycleLoss, code_mask
from emovc.speechflow.losses import F0Loss, code_deviation, f0_loss, masked_mse
from emovc.speechflow.model import Codes
from emovc.speechflow.pitch import f0_bins, f0_input
from emovc.speechflow.resampling import RandomResampling, apply_warp


class LitSpeechFlow(L.LightningModule):
    """Train SpeechFlow, with the cycle loss or without.

    Args:
        model: The converter whose autoencoder is trained.
        resampling: Random resampling of what the content and pitch encoders hear; ``None`` turns
            it off, which lets the rhythm into their codes.
        cycle: The cycle loss; it needs a network with an F0 head.
        mel_weight: Weight of the reconstruction (authors: 1, with the cycle loss 0.2).
        f0_weight: Weight of the F0 head's loss (authors: 1 with the cycle loss).
        f0_kind: Loss of the F0 head.
        optimizer: Builds the optimiser from the parameters.

    Raises:
        UserError: The cycle loss or ``f0_weight`` is asked for without an F0 head.
    """

    def __init__(
        self,
        model: SpeechFlow,
        resampling: RandomResampling | None = None,
        cycle: CycleLoss | None = None,
        mel_weight: float = 1.0,
        f0_weight: float = 0.0,
        f0_kind: F0Loss = "mse_onehot",
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-4),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if (cycle is not None or f0_weight > 0) and model.net.f0_head is None:
            raise UserError(
                "model: the cycle loss and f0_weight need net.f0_head_dim above 0; set it, as"
                " configs/ablations/speechflow_cycle.yaml does"
            )
        self.model = model
        self.resampling = resampling
        self.cycle = cycle
        self.mel_weight = mel_weight
        self.f0_weight = f0_weight
        self.f0_kind: F0Loss = f0_kind
        self.optimizer = optimizer

    def setup(self, stage: str) -> None:
        """Load what isn't learned here, and name the rows of a table of speakers."""
        self.model.load_encoders()
        if stage != "fit":
            return
        take_stored_tracker(self, self.model)
        if isinstance(self.model.speaker, SpeakerTable):
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self.model.speaker.set_names(data.speakers)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        inputs = self.model.inputs(batch)
        mel, f0 = resampled_inputs(inputs, self.resampling)
        net = self.model.net
        pitch = f0_input(f0, net.n_f0_bins)
        codes = net.encode(mel, pitch, inputs.mel, resampling=self.resampling)
        pred = net.decode(codes, inputs.speaker)
        terms = {"mel": self.mel_weight * masked_mse(pred, inputs.mel, inputs.mask)}
        if self.f0_weight > 0:
            output, bins = net.decode_f0(codes), f0_bins(inputs.f0, net.n_f0_bins)
            terms["f0"] = self.f0_weight * f0_loss(output, bins, inputs.mask, self.f0_kind)
        if self.cycle is not None:
            terms |= self.cycle(
                net,
                inputs,
                batch.speaker,
                codes,
                self.resampling,
                self.f0_kind,
                self.global_step,
            )
        loss = torch.stack([v for k, v in terms.items() if not k.endswith("_raw")]).sum()
        self._log_codes(codes, inputs.mask, "train")
        self.log_dict({f"train/loss_{k}": v.detach() for k, v in terms.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Reconstruction of whole utterances without resampling; every frame weighs the same."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Codes (N, C) and reconstructed log-mel (M, T) of each utterance of a batch."""
        inputs = self.model.inputs(batch)
        codes, pred = self.model.reconstruct(inputs)
        log_mel, steps = self.model.unscale(pred), code_mask(inputs.mask, codes).sum(1).int()
        return [
            {name: code[i, : steps[i]] for name, code in codes._asdict().items()}
            | {"log_mel": log_mel[i, :, : inputs.frames[i]]}
            for i in range(len(batch.ids))
        ]

    def _score(self, batch: Batch, stage: str) -> None:
        """Log reconstruction errors and the codes' deviations of a batch of whole utterances."""
        inputs = self.model.inputs(batch)
        net, mask = self.model.net, inputs.mask
        codes, pred = self.model.reconstruct(inputs)
        log_mel = self.model.frontend(batch.wav)
        n = log_mel.shape[2]
        error = (self.model.unscale(pred[..., :n]) - log_mel).abs().mean(1)
        mel_l1 = masked_mean(error, mask[:, :n])
        values = {"loss": masked_mse(pred, inputs.mel, mask), "mel_l1": mel_l1}
        if net.f0_head is not None:
            output, bins = net.decode_f0(codes, mask), f0_bins(inputs.f0, net.n_f0_bins)
            values["loss_f0"] = f0_loss(output, bins, mask, self.f0_kind)
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self.log_dict(named, sync_dist=True, batch_size=int(mask.sum()))
        self._log_codes(codes, mask, stage)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Optimiser of the autoencoder and, if there is one, the speaker table."""
        return self.optimizer([p for p in self.parameters() if p.requires_grad])

    def _log_codes(self, codes: Codes, mask: Tensor, stage: str) -> None:
        """Standard deviation of each code: the cycle loss as published lets them shrink."""
        valid = code_mask(mask, codes)
        for name, code in codes._asdict().items():
            value = code_deviation(code.detach().float(), valid)
            self.log(f"{stage}/code_sd_{name}", value, sync_dist=stage != "train", batch_size=1)


def take_stored_tracker(recipe: L.LightningModule, model: SpeechFlow) -> None:
    """Convert by the tracker that found the F0 trained on, unless the config names one.

    Checkpoints name it from then on, so that a run keeps its tracker whatever the default becomes.

    Args:
        recipe: A recipe within a fit, whose hyper-parameters describe the model.
        model: The model.
    """
    config = recipe.hparams.get("model")
    if not isinstance(config, dict) or config["init_args"].get("f0") is not None:
        return
    data: Any = recipe.trainer.datamodule  # type: ignore[attr-defined]
    tracker = F0Feature.description(data.stores["f0"].settings)
    if not tracker["class_path"].startswith("emovc."):
        return  # a checkpoint that names other classes can be loaded by few
    model.f0 = build(tracker, str(data.stores["f0"].folder))
    config["init_args"]["f0"] = tracker


def resampled_inputs(inputs: Inputs, resampling: RandomResampling | None) -> tuple[Tensor, Tensor]:
    """Warp mel and F0 alike, before the F0 is quantised.

    An F0 interpolated between a voiced and an unvoiced frame is unvoiced.

    Args:
        inputs: A batch.
        resampling: Draws the warp; ``None`` leaves the batch as it is.

    Returns:
        Warped mel (B, M, T) and normalised F0 (B, T), -1 where unvoiced.
    """
    if resampling is None:
        return inputs.mel, inputs.f0
    warp = resampling(inputs.frames, inputs.mel.shape[2])
    unvoiced = (inputs.f0 < 0).float()
    both = torch.stack([inputs.f0.clamp(min=0), unvoiced], dim=1)  # (B, 2, T)
    f0, any_unvoiced = apply_warp(both, warp).unbind(1)
    silent = (any_unvoiced > 0) | (warp.mask == 0)
    return apply_warp(inputs.mel, warp), torch.where(silent, -1.0, f0)
