"""How AINN is trained, Stage II: the generator learns to convert."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.ainn.converter import AINN
from emovc.ainn.encoders import Emotion
from emovc.ainn.losses import content_consistency, reconstruction_loss, strength_consistency
from emovc.ainn.schedule import warmed_up
from emovc.ainn.validation import log, predictions, require_emotions, score
from emovc.common.batch import Batch, concatenate, first
from emovc.common.errors import UserError
from emovc.common.pretrained import find_checkpoint
from emovc.common.speaker import SpeakerTable
from emovc.common.weights import load_exactly


class LitAINNAdaptation(L.LightningModule):
    """Train the generator on real conversions, judged by the frozen networks of Stage I.

    Half of each batch is reconstructed, the other half converted towards its references
    (``grouping: reference``).

    Args:
        model: The converter, as in Stage I.
        stage1: Run or checkpoint of Stage I to begin from.
        rec_weight: Weight of L_rec.
        content_weight: lambda_c, of the content consistency.
        category_weight: Weight of the category consistency.
        strength_weight: lambda_str, of the strength consistency.
        warmup_steps: Steps over which the learning rate rises.
        optimizer: Builds the optimiser from the generator's parameters.

    Raises:
        UserError: The content consistency is asked for with self-supervised features.
    """

    def __init__(
        self,
        model: AINN,
        stage1: str | None = None,
        rec_weight: float = 10.0,
        content_weight: float = 5.0,
        category_weight: float = 0.5,
        strength_weight: float = 1.0,
        warmup_steps: int = 2000,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(
            params, lr=1e-4, betas=(0.9, 0.98)
        ),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if model.ssl is not None and content_weight:
            raise UserError(
                "model.content_weight: self-supervised features can't be heard in a converted mel;"
                " set it to 0, or train with the mel as content"
            )
        self.model = model
        self.stage1 = stage1
        self.rec_weight = rec_weight
        self.content_weight = content_weight
        self.category_weight = category_weight
        self.strength_weight = strength_weight
        self.warmup_steps = warmup_steps
        self.optimizer = optimizer
        model.encoders.requires_grad_(False)
        self.train()  # Lightning keeps the modes it finds

    def setup(self, stage: str) -> None:
        """Load Stage I, and check that the data has references.

        Raises:
            UserError: There is no Stage I, or it is of another size or of other speakers.
        """
        self.model.load_encoders()
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        require_emotions(self.model, data)
        if stage != "fit":
            return
        if data.grouping != "reference":
            raise UserError(f"data.grouping {data.grouping}: Stage II needs reference")
        if data.batch_size < 2:
            raise UserError(f"data.batch_size {data.batch_size}: half of each is converted; give 2")
        load_stage1(self.model, self.stage1)
        table = self.model.speaker
        if isinstance(table, SpeakerTable) and table.names != data.speakers:
            raise UserError(
                f"{data.manifest}: its speakers are not those of {self.stage1}; use its manifest"
            )

    def train(self, mode: bool = True) -> "LitAINNAdaptation":
        """Keep the frozen networks in evaluation, where batch statistics don't move."""
        super().train(mode)
        self.model.encoders.eval()
        for module in self.model.encoders.modules():
            if isinstance(module, nn.GRU):  # has no statistics; cuDNN gives no gradient in eval
                module.train(mode)
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        half = len(batch.ids) // 2
        count = len(batch.ids)
        inputs = self.model.inputs(concatenate([first(batch, count), *batch.partners]))
        encoders = self.model.encoders
        emotion = torch.cat([batch.emotion, batch.partners[0].emotion])
        category = encoders.category_of[emotion]
        with torch.no_grad():
            heard = encoders.hear(inputs.mel, inputs.mask, category)
            content = encoders.content(inputs.content[:count], inputs.mask[:count])
        # The first half hears itself, the second half its references.
        vector = torch.cat([heard.vector[:half], heard.vector[count + half :]])
        mask = inputs.mask[:count]
        speaker = None if inputs.speaker is None else inputs.speaker[:count]
        coarse, fine = self.model.generator(content, vector, speaker, mask)
        own = (coarse[:half], fine[:half])
        rec = reconstruction_loss(own, inputs.mel[:half], mask[:half]) * self.model.mel_sd
        reference = _rows(heard, count + half)
        terms = {"rec": self.rec_weight * rec}
        terms |= self._consistency(fine[half:], mask[half:], content[half:], reference)
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({f"train/loss_{k}": v.detach() for k, v in terms.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def _consistency(
        self, converted: Tensor, mask: Tensor, content: Tensor, reference: Emotion
    ) -> dict[str, Tensor]:
        """Weighted losses of conversions, through the frozen networks.

        Args:
            converted: Converted mels, scaled, (B, M, T).
            mask: 1 at valid frames, (B, T).
            content: Content of the sources, (B, d_c, T).
            reference: What was heard of the references.
        """
        encoders = self.model.encoders
        heard = encoders.hear(converted, mask, reference.category)
        category = F.cross_entropy(heard.logits, reference.category)
        strength = strength_consistency(heard.strength, reference.strength)
        terms = {
            "category": self.category_weight * category,
            "strength": self.strength_weight * strength,
        }
        if self.content_weight:
            found = encoders.content(converted, mask)
            terms["content"] = self.content_weight * content_consistency(found, content, mask)
        return terms

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Reconstruction of whole utterances, as in Stage I, and consistency of conversions."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """What :func:`~emovc.ainn.validation.predictions` gives."""
        return predictions(self.model, batch)

    def configure_optimizers(self) -> Any:
        """Optimiser of the generator."""
        return warmed_up(self.optimizer(list(self.model.generator.parameters())), self.warmup_steps)

    def _score(self, batch: Batch, stage: str) -> None:
        """Log reconstruction, and the consistency of conversions towards the references."""
        count = len(batch.ids)
        encoders = self.model.encoders
        source, reference = self.model.inputs(batch), self.model.inputs(batch.partners[0])
        rec, _ = score(self, first(batch, count), stage)
        category = encoders.category_of[batch.partners[0].emotion]
        wanted = encoders.hear(reference.mel, reference.mask, category)
        content = encoders.content(source.content, source.mask)
        mel = self.model.generator(content, wanted.vector, source.speaker, source.mask)[1]
        terms = self._consistency(mel, source.mask, content, wanted)
        values = {f"loss_{name}": value for name, value in terms.items()}
        values["loss"] = self.rec_weight * rec + torch.stack(list(terms.values())).sum()
        log(self, stage, values, count)


def _rows(heard: Emotion, start: int) -> Emotion:
    """What was heard of a batch from one utterance on."""
    return Emotion(*(part[start:] for part in heard))


def load_stage1(model: AINN, stage1: str | None) -> None:
    """Take over all weights of a Stage I run.

    Args:
        model: The model to load.
        stage1: Run or checkpoint.

    Raises:
        UserError: There is none, or it holds a model of other sizes.
    """
    remedy = (
        "train Stage I first, for instance emovc fit -c configs/ainn_toy.yaml, and name its run in"
        " model.stage1"
    )
    if stage1 is None:
        raise UserError(f"model.stage1: is not set; {remedy}")
    try:
        path = find_checkpoint(Path(stage1))
    except UserError:
        raise UserError(f"model.stage1: {stage1} holds no run; {remedy}") from None
    load_exactly(model, AINN.from_checkpoint(path).state_dict(), path)
