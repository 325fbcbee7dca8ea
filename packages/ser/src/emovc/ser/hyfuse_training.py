"""How HYFuse is trained by ``emovc fit``: on stored representations of one vector per utterance."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from emovc.common.batch import Batch
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.ser.hyfuse import HYFuse
from emovc.ser.recognition import measures
from emovc.ser.stored_vectors import read_vectors
from emovc.ser.vector_training import adamw, recognition_loss, warmup_cosine


class LitHYFuse(L.LightningModule):
    """Train HYFuse; the gradient is clipped by ``trainer.gradient_clip_val``.

    Args:
        model: The network; its classes are the canonical emotions.
        features: Stored features that are its representations, in the order of ``model.dims``.
        lr: Highest learning rate; it rises over a tenth of ``trainer.max_steps`` and then falls to
            0 by a cosine.
    """

    def __init__(self, model: HYFuse, features: list[str], lr: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.model = model
        self.features = features
        self.lr = lr
        self.confusion: Tensor
        n = model.n_classes
        self.register_buffer("confusion", torch.zeros(n, n), persistent=False)

    def setup(self, stage: str) -> None:
        """Check what is to be learned, and take the training part's means and deviations.

        Raises:
            UserError: An utterance has no emotion, a representation has another size or values that
                are not finite, or the number of steps is open.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        unlabelled = [u.id for u in data.utterances if u.emotion is None]
        if unlabelled:
            raise UserError(
                f"{data.manifest}: {len(unlabelled)} utterances have no emotion ({unlabelled[0]}"
                " ...); set data.emotions to those to recognise"
            )
        if len(self.features) != len(self.model.dims):
            raise UserError(
                f"model.features: names {len(self.features)} features for {len(self.model.dims)}"
                " sizes in model.dims; give one for each"
            )
        if stage == "fit" and self.trainer.max_steps < 1:
            raise UserError("trainer.max_steps: must be set, as the learning rate falls with it")
        if stage == "fit":
            rows = data.of_split("train")
            self.model.fit_statistics(
                [
                    self._representation(data.manifest, name, rows, dim)
                    for name, dim in zip(self.features, self.model.dims, strict=True)
                ]
            )

    def _representation(self, manifest: Path, name: str, rows: list[Utterance], dim: int) -> Tensor:
        """All training vectors of a representation, (N, dim), checked."""
        found = read_vectors(manifest, name, rows)
        if found.per_frame or found.values.shape[1] != dim:
            what = "a row per frame" if found.per_frame else f"{found.values.shape[1]} values"
            raise UserError(f"{found.store}: has {what}, but model.dims says {dim} per utterance")
        if not found.finite.all():
            bad = rows[int(np.flatnonzero(~found.finite)[0])]
            raise UserError(f"{bad.path}: feature {name} is not finite; remove the file")
        return torch.from_numpy(found.values).to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = recognition_loss(self._logits(batch), batch.emotion)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch.ids))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss, and what was taken for what."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the unweighted average recall."""
        self._log_recall("val")

    def on_test_epoch_end(self) -> None:
        """Log the unweighted average recall."""
        self._log_recall("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Logarithm of the posterior (C,) of each utterance of a batch."""
        return [{"log_posterior": row} for row in self._logits(batch).log_softmax(1)]

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and a cosine, by step."""
        optimizer = adamw(self.parameters(), self.lr)
        schedule = LambdaLR(optimizer, self._share_of_lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _share_of_lr(self, step: int) -> float:
        """Of the step; without a trainer there is none."""
        steps = self._trainer.max_steps if self._trainer is not None else 1
        return warmup_cosine(step, steps)

    def _logits(self, batch: Batch) -> Tensor:
        return self.model([batch.features[name] for name in self.features])

    def _score(self, batch: Batch, stage: str) -> None:
        """Log the loss of a batch and count its decisions."""
        logits = self._logits(batch)
        loss = recognition_loss(logits, batch.emotion)
        self.log(f"{stage}/loss", loss, sync_dist=True, batch_size=len(batch.ids))
        one = torch.ones_like(loss, dtype=self.confusion.dtype).expand(len(batch.ids))
        self.confusion.index_put_((batch.emotion, logits.argmax(1)), one, accumulate=True)

    def _log_recall(self, stage: str) -> None:
        """Log the recall of all devices' counts, and start counting anew."""
        total = self.trainer.strategy.reduce(self.confusion.clone(), reduce_op="sum")
        self.confusion.zero_()
        recall = measures(torch.as_tensor(total).cpu().numpy())["uar"]
        self.log(f"{stage}/uar", float(recall), prog_bar=True)
