"""Small quantisers for the tests."""

import logging
from functools import cache
from typing import NamedTuple

import lightning as L
import torch
from torch import Tensor

from emovc.genner_tts.embedding_space import Rotation
from emovc.genner_tts.prior import CodePrior, Context
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.quantizer_training import LitEmotionQuantizer
from emovc.genner_tts.synthetic_data import SyntheticDataModule
from emovc.genner_tts.synthetic_embeddings import SyntheticSource

DIM = 16
LAMBDAS = (0.0, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3)


class Trained(NamedTuple):
    model: EmotionQuantizer
    train: Tensor
    test: Tensor


def embeddings(per_emotion: int = 40, seed: int = 0, dim: int = DIM) -> Tensor:
    return SyntheticSource(dim, seed).draw(per_emotion).vectors


def fitted(
    context: Context = "group",
    n_groups: int = 2,
    n_stages: int = 2,
    size: int = 8,
    recurrent: bool = False,
    opinionated: bool = True,
) -> EmotionQuantizer:
    """Codebooks of k-means, and a prior that is uniform or of random but firm opinions."""
    torch.manual_seed(0)
    model = EmotionQuantizer(
        DIM, n_groups, n_stages, size, context=context, hidden=16, recurrent=recurrent
    )
    model.fit_codebooks(embeddings())
    prior = model.prior
    assert isinstance(prior, CodePrior)
    if opinionated:
        torch.nn.init.normal_(prior.head_weight, std=0.7)
        torch.nn.init.normal_(prior.head_bias)
    return model.eval()


@cache
def trained(
    context: Context = "group", rotation: Rotation = "pca_balanced", steps: int = 240
) -> Trained:
    """A quantiser of 32 dimensions, 4 groups, 3 stages and 16 codes, trained for seconds."""
    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = SyntheticDataModule(32, per_emotion=400, held_out=100, batch_size=250, seed=1)
    model = EmotionQuantizer(32, 4, 3, 16, rotation=rotation, context=context, hidden=48)
    trainer = L.Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(LitEmotionQuantizer(model, lr=5e-3), data)
    return Trained(model.eval(), data.embeddings("train"), data.embeddings("test"))
