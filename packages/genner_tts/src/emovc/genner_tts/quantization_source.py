"""Embeddings that the quantisation experiment is run on, and the quantisers trained on them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.embedding_data import EmbeddingDataModule
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.quantizer_training import LitEmotionQuantizer
from emovc.genner_tts.synthetic_data import SyntheticDataModule

NEUTRAL = "neutral"


class Embedded(NamedTuple):
    """Embeddings of one part of a corpus.

    Attributes:
        vectors: Embeddings, (N, D).
        emotion: Emotion of each, as an index into :attr:`Source.emotions`, (N,).
        speakers: Speaker of each.
    """

    vectors: Tensor
    emotion: Tensor
    speakers: list[str]


class Source(NamedTuple):
    """Embeddings of a corpus.

    Attributes:
        train: What quantisers, centroids and probes are made of.
        test: What is measured.
        emotions: Names of the emotions, neutral first.
        centroids: Mean of the training embeddings of each, (E, D).
        mean: Mean of those means: of a corpus in which all emotions are as many, (D,).
    """

    train: Embedded
    test: Embedded
    emotions: list[str]
    centroids: Tensor
    mean: Tensor


def open_data(
    manifest: Path | None,
    feature: str,
    emotions: list[str] | None,
    share: float = 1.0,
    weights: dict[str, float] | None = None,
    seed: int = 0,
) -> EmbeddingDataModule:
    """Stored embeddings of a manifest, or synthetic ones without a manifest."""
    if manifest is None:
        # The corpus is the same for all quantisers, whose seeds differ.
        return SyntheticDataModule(emotions=emotions, share=share, weights=weights, seed=0)
    return EmbeddingDataModule(manifest, feature, emotions, share, weights, seed=seed)


def read_source(data: EmbeddingDataModule) -> Source:
    """Training and test embeddings of a data module.

    Raises:
        UserError: There is no neutral speech.
    """
    data.setup("fit")
    found = {str(u.emotion) for u in data.of_split("train")}
    if NEUTRAL not in found:
        raise UserError(f"{data.manifest}: has no neutral speech, which drift is measured towards")
    names = [NEUTRAL, *sorted(found - {NEUTRAL})]
    parts = [_part(data, split, names) for split in ("train", "test")]
    train = parts[0]
    centroids = torch.stack([train.vectors[train.emotion == i].mean(0) for i in range(len(names))])
    return Source(train, parts[1], names, centroids, centroids.mean(0))


def _part(data: EmbeddingDataModule, split: str, names: Sequence[str]) -> Embedded:
    """One part of a corpus."""
    rows = data.of_split(split)
    emotion = torch.tensor([names.index(str(u.emotion)) for u in rows])
    return Embedded(data.embeddings(split), emotion, [u.speaker for u in rows])


def train_quantizer(
    data: EmbeddingDataModule, sizes: dict[str, Any], steps: int, seed: int, folder: Path
) -> EmotionQuantizer:
    """Train a quantiser, or load the one that an earlier call wrote to the folder.

    Args:
        data: What to train on.
        sizes: Arguments of :class:`~emovc.genner_tts.quantizer.EmotionQuantizer`.
        steps: Training steps.
        seed: Of the weights, the codebooks and the order.
        folder: Where it is kept.
    """
    if (folder / "model.safetensors").is_file():
        return EmotionQuantizer.from_pretrained(folder)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    L.seed_everything(seed, verbose=False)
    lit = LitEmotionQuantizer(EmotionQuantizer(**sizes), seed=seed)
    trainer = L.Trainer(
        max_steps=steps,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(lit, datamodule=data)
    model = lit.model.cpu().eval()
    model.save_pretrained(folder)
    return model
