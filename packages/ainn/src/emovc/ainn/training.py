"""How AINN is trained, Stage I: features of content and emotion, kept apart."""

from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from emovc.ainn.converter import AINN, Inputs
from emovc.ainn.disentanglement import Adversary, CueCorrelation
from emovc.ainn.encoders import Emotion
from emovc.ainn.losses import rank_mixup_loss, reconstruction_loss, triplet_loss
from emovc.ainn.schedule import warmed_up
from emovc.ainn.validation import log, predictions, require_emotions, score
from emovc.common.batch import Batch, concatenate, first
from emovc.common.errors import UserError
from emovc.common.speaker import SpeakerTable

StrengthLoss = Literal["rank_mixup", "triplet_feat"]


class LitAINN(L.LightningModule):
    """Train encoders, heads and generator: L_rec + L_cls + strength + disentanglement.

    Each batch holds emotional utterances and neutral ones of the same speakers (the last partner of
    ``grouping: parallel`` or ``triplet``); of the neutral ones as many are reconstructed and
    classified as make the categories alike in number. ``grouping: single`` gives the losses without
    partners.

    Args:
        model: The converter.
        disentanglement: The intra-speech loss; ``None`` for none.
        strength_loss: ``rank_mixup`` orders neutral, mixed and emotional speech by strength;
            ``triplet_feat`` (for ``grouping: triplet``) brings emotion vectors of one category
            together, away from neutral, and orders neutral and emotional speech.
        rec_weight: Weight of L_rec.
        strength_weight: lambda_str; 0 leaves the strength loss out.
        disentanglement_weight: lambda_dis.
        rank_margin: Difference d of strengths between neutral and emotional speech asked for.
        triplet_margin: Margin of ``triplet_feat``.
        warmup_steps: Steps over which the learning rate rises.
        optimizer: Builds the optimiser from the parameters.

    Raises:
        UserError: A disentanglement loss doesn't fit the model.
    """

    def __init__(
        self,
        model: AINN,
        disentanglement: CueCorrelation | Adversary | None = None,
        strength_loss: StrengthLoss = "rank_mixup",
        rec_weight: float = 10.0,
        strength_weight: float = 1.0,
        disentanglement_weight: float = 0.1,
        rank_margin: float = 0.6,
        triplet_margin: float = 0.2,
        warmup_steps: int = 2000,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(
            params, lr=2e-4, betas=(0.9, 0.98)
        ),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.model = model
        self.disentanglement = disentanglement
        self.strength_loss: StrengthLoss = strength_loss
        self.rec_weight = rec_weight
        self.strength_weight = strength_weight
        self.disentanglement_weight = disentanglement_weight
        self.rank_margin = rank_margin
        self.triplet_margin = triplet_margin
        self.warmup_steps = warmup_steps
        self.optimizer = optimizer
        if not strength_weight:  # several processes refuse weights that no loss uses
            model.encoders.strength.requires_grad_(False)

    def setup(self, stage: str) -> None:
        """Load what isn't learned here, and check that the data has what the losses need."""
        self.model.load_encoders()
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        require_emotions(self.model, data)
        if stage != "fit":
            return
        if isinstance(self.model.speaker, SpeakerTable):
            self.model.speaker.set_names(data.speakers)
        needed = ("triplet",) if self.strength_loss == "triplet_feat" else ("parallel", "triplet")
        if self.strength_weight and data.grouping not in needed:
            raise UserError(
                f"data.grouping {data.grouping}: the strength loss {self.strength_loss} needs"
                f" {' or '.join(needed)}; set it, or model.strength_weight: 0"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        count = len(batch.ids)
        inputs, category = self._inputs(batch)
        encoders = self.model.encoders
        features = encoders.emotion(inputs.mel, inputs.mask)
        heard = self._heard(features, inputs, category)
        kept = count + (count // (len(encoders.emotions) - 1) if batch.partners else 0)
        terms = self._terms(_rows(inputs, kept), _rows(heard, kept), category[:kept])
        if self.strength_weight:
            terms["strength"] = self.strength_weight * self._strength(heard, inputs, count)
        loss = torch.stack(list(terms.values())).sum()
        encoders.remember(heard.vector[:kept].detach(), category[:kept])
        self.log_dict({f"train/loss_{k}": v.detach() for k, v in terms.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Reconstruction, recognition and order of strengths of whole utterances."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """What :func:`~emovc.ainn.validation.predictions` gives."""
        return predictions(self.model, batch)

    def configure_optimizers(self) -> Any:
        """Optimiser of all networks, with a rising learning rate at first."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return warmed_up(self.optimizer(parameters), self.warmup_steps)

    def _score(self, batch: Batch, stage: str) -> None:
        rec, cls = score(self, batch, stage)
        log(self, stage, {"loss": self.rec_weight * rec + cls}, len(batch.ids))

    def _inputs(self, batch: Batch) -> tuple[Inputs, Tensor]:
        """Utterances, then neutral partners, then other partners, and the category of each."""
        partners = list(reversed(batch.partners))
        inputs = self.model.inputs(concatenate([first(batch, len(batch.ids)), *partners]))
        emotion = torch.cat([b.emotion for b in (batch, *partners)])
        return inputs, self.model.encoders.category_of[emotion]

    def _heard(self, features: Tensor, inputs: Inputs, category: Tensor) -> Emotion:
        """Emotion of all utterances, each with the cue of its own category."""
        encoders = self.model.encoders
        cue, vector = encoders.calibrated(features, category, inputs.mel, inputs.mask)
        pooled = (features * inputs.mask[:, None]).sum(2) / inputs.mask.sum(1, keepdim=True)
        strength = encoders.strength(vector)
        return Emotion(features, encoders.category(pooled), category, cue, vector, strength)

    def _terms(self, inputs: Inputs, heard: Emotion, category: Tensor) -> dict[str, Tensor]:
        """Weighted losses of single utterances."""
        encoders = self.model.encoders
        content = encoders.content(inputs.content, inputs.mask)
        mels = self.model.generator(content, heard.vector, inputs.speaker, inputs.mask)
        # The model's mels are scaled; L_rec is in nats, as the notes count it.
        rec = reconstruction_loss(mels, inputs.mel, inputs.mask) * self.model.mel_sd
        terms = {"rec": self.rec_weight * rec, "cls": F.cross_entropy(heard.logits, category)}
        if self.disentanglement is not None:
            loss = self.disentanglement(
                content,
                heard.features,
                heard.cue,
                inputs.mask,
                encoders.category,
                category,
                self.global_step,
            )
            terms["dis"] = self.disentanglement_weight * loss
        return terms

    def _strength(self, heard: Emotion, inputs: Inputs, count: int) -> Tensor:
        """Strength loss of utterances and their neutral partners, for the emotional category."""
        encoders = self.model.encoders
        wanted, neutral = heard.category[:count], slice(count, 2 * count)
        calm = encoders.calibrated(
            heard.features[neutral], wanted, inputs.mel[neutral], inputs.mask[neutral]
        )[1]
        s_n, s_a = encoders.strength(calm), heard.strength[:count]
        if self.strength_loss == "triplet_feat":
            positive = heard.vector[2 * count :]
            order = rank_mixup_loss(s_n, s_a, s_a, torch.ones_like(s_a), self.rank_margin)
            return order + triplet_loss(heard.vector[:count], positive, calm, self.triplet_margin)
        alpha = inputs.mel.new_empty(count).uniform_(0.2, 0.8)
        mixed = torch.lerp(inputs.mel[neutral], inputs.mel[:count], alpha[:, None, None])
        both = inputs.mask[:count] * inputs.mask[neutral]
        s_m = encoders.hear(mixed * both[:, None], both, wanted).strength
        return rank_mixup_loss(s_n, s_m, s_a, alpha, self.rank_margin)


def _rows(parts: Any, count: int) -> Any:
    """The first utterances of inputs or of what was heard."""
    return type(parts)(*(part if part is None else part[:count] for part in parts))
