"""What both stages check before training, and measure in validation."""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.ainn.converter import AINN
from emovc.ainn.losses import reconstruction_loss
from emovc.common.batch import Batch
from emovc.common.errors import UserError
from emovc.common.masking import masked_mean


def require_emotions(model: AINN, data: Any) -> None:
    """Refuse a corpus with categories that the model hasn't, or without labels.

    Raises:
        UserError: The manifest and the remedy are named.
    """
    found = {u.emotion for u in data.utterances}
    foreign = sorted(str(e or "unlabelled") for e in found - set(model.encoders.emotions))
    if foreign:
        known = ", ".join(model.encoders.emotions)
        raise UserError(
            f"{data.manifest}: has {foreign[0]} utterances, the model knows {known} only; set"
            f" data.emotions: [{known}], or the model's encoders.emotions"
        )


def score(module: Any, batch: Batch, stage: str) -> tuple[Tensor, Tensor]:
    """Log reconstruction, recognition and strengths of a batch of whole utterances.

    Args:
        module: The LightningModule; its ``model`` is scored.
        batch: Whole utterances, and their neutral partners if there are any.
        stage: Beginning of the keys.

    Returns:
        L_rec and L_cls.
    """
    model: AINN = module.model
    inputs = model.inputs(batch)
    category = model.encoders.category_of[batch.emotion]
    heard = model.encoders.hear(inputs.mel, inputs.mask, category)
    content = model.encoders.content(inputs.content, inputs.mask)
    mels = model.generator(content, heard.vector, inputs.speaker, inputs.mask)
    rec = reconstruction_loss(mels, inputs.mel, inputs.mask) * model.mel_sd
    error = (mels[1] - inputs.mel).abs().mean(1) * model.mel_sd
    values = {"loss_rec": rec, "mel_l1": masked_mean(error, inputs.mask)}
    log(module, stage, values, int(inputs.mask.sum()))
    cls = F.cross_entropy(heard.logits, category)
    right = (heard.logits.argmax(1) == category).float().mean()
    values = {"loss_cls": cls, "accuracy": right}
    if batch.partners:
        values |= _order(model, batch, category, heard.strength)
    log(module, stage, values, len(batch.ids))
    return rec, cls


def predictions(model: AINN, batch: Batch) -> list[dict[str, Tensor]]:
    """Content (T, d_c), emotion vector (D,), strength and reconstructed log-mel (M, T) of each.

    The cue is that of the category R_c hears.
    """
    inputs = model.inputs(batch)
    heard = model.encoders.hear(inputs.mel, inputs.mask)
    content = model.encoders.content(inputs.content, inputs.mask)
    mels = model.unscale(model.generator(content, heard.vector, inputs.speaker, inputs.mask)[1])
    frames = inputs.mask.sum(1).int().tolist()
    return [
        {
            "content": content[i, :, :n].T,
            "emotion": heard.vector[i],
            "strength": heard.strength[i],
            "log_mel": mels[i, :, :n],
        }
        for i, n in enumerate(frames)
    ]


def _order(model: AINN, batch: Batch, category: Tensor, strength: Tensor) -> dict[str, Tensor]:
    """Strengths of emotional and neutral speech, and how often they are in order."""
    neutral = model.inputs(batch.partners[-1])
    weaker = model.encoders.hear(neutral.mel, neutral.mask, category).strength
    return {
        "strength_emotional": strength.mean(),
        "strength_neutral": weaker.mean(),
        "strength_order": (weaker < strength).float().mean(),
    }


def log(module: L.LightningModule, stage: str, values: dict[str, Tensor], weight: int) -> None:
    """Log means that weigh each batch by its size."""
    named = {f"{stage}/{name}": torch.as_tensor(value) for name, value in values.items()}
    module.log_dict(named, sync_dist=True, batch_size=weight)
