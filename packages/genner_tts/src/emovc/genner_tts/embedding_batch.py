"""A batch of stored embeddings, and the data set it is made of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from emovc.common.emotions import emotion_index
from emovc.common.manifest import Utterance
from emovc.common.sampling import Request

SAMPLE_RATE = 22_050  # in Hz, that lengths are counted in, as the default of other data modules


class EmbeddingBatch(NamedTuple):
    """A batch of embeddings.

    Attributes:
        ids: Manifest ids, for messages.
        embedding: One per utterance, (B, D), or frames of it, (B, T, D).
        emotion: Index into :data:`emovc.common.emotions.EMOTIONS`, -1 if unlabelled, (B,).
        lengths: Samples of the utterance at :data:`SAMPLE_RATE`, (B,).
    """

    ids: list[str]
    embedding: Tensor
    emotion: Tensor
    lengths: Tensor


class EmbeddingRows(Dataset[Any]):
    """Utterances by request.

    Args:
        rows: Utterances.
        values: Feature (T, D) of each, by id.
        frames: Rows to cut out; ``None`` where there is one only.
        seed: Of where.
    """

    def __init__(
        self,
        rows: Sequence[Utterance],
        values: dict[str, Tensor],
        frames: int | None,
        seed: int,
    ) -> None:
        self.rows = rows
        self.values = values
        self.frames = frames
        self.seed = seed

    def __getitem__(self, request: Request) -> tuple[Utterance, Tensor]:
        """An utterance and its embedding (D,), or a crop of its frames (T, D)."""
        row = self.rows[request.item]
        value = self.values[row.id]
        if self.frames is None:
            return row, value[0]
        room = len(value) - self.frames
        seeds = [self.seed, request.seed, request.item]
        start = int(np.random.default_rng(seeds).integers(room + 1)) if request.seed else 0
        return row, value[start : start + self.frames]


def collate_embeddings(samples: Sequence[tuple[Utterance, Tensor]]) -> EmbeddingBatch:
    """One batch of utterances and their embeddings."""
    rows = [row for row, _ in samples]
    return EmbeddingBatch(
        [row.id for row in rows],
        torch.stack([value for _, value in samples]),
        torch.tensor([emotion_index(row.emotion) for row in rows]),
        torch.tensor([int(row.seconds * SAMPLE_RATE) for row in rows]),
    )
