"""A data module that needs no corpus: its embeddings are drawn, not extracted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emovc.common.manifest import Utterance
from emovc.genner_tts.embedding_batch import SAMPLE_RATE
from emovc.genner_tts.embedding_data import EmbeddingDataModule
from emovc.genner_tts.synthetic_embeddings import EMOTIONS, SyntheticSource

PARTS = ("train", "val", "test")


class SyntheticDataModule(EmbeddingDataModule):
    """Synthetic embeddings of five emotions and ten speakers, one per utterance.

    Args:
        dim: Size D of the embeddings.
        per_emotion: Training utterances of each emotion.
        held_out: Validation utterances of each emotion, and test utterances.
        emotions: Emotions to use; by default all.
        share: Share of the training utterances, drawn at random once, to use.
        weights: See :class:`~emovc.genner_tts.embedding_data.EmbeddingDataModule`.
        batch_size: Utterances per batch and device.
        seed: Seed of embeddings and order; linked to ``seed_everything``.
    """

    def __init__(
        self,
        dim: int = 256,
        per_emotion: int = 1500,
        held_out: int = 200,
        emotions: list[str] | None = None,
        share: float = 1.0,
        weights: dict[str, float] | None = None,
        batch_size: int = 512,
        seed: int = 0,
    ) -> None:
        super().__init__(
            Path("synthetic"), "synthetic", emotions, share, weights,
            batch_size=batch_size, seed=seed,
        )  # fmt: skip
        self.dim = dim
        self.per_emotion = per_emotion
        self.held_out = held_out

    def read_rows(self) -> list[Utterance]:
        """Draw the embeddings, and say what they are of."""
        source = SyntheticSource(self.dim, self.seed)
        self._drawn: dict[str, np.ndarray] = {}
        rows = []
        for part in PARTS:
            drawn = source.draw(self.per_emotion if part == "train" else self.held_out)
            labels = zip(drawn.vectors, drawn.emotion.tolist(), drawn.speaker.tolist(), strict=True)
            for k, (vector, emotion, speaker) in enumerate(labels):
                row = _utterance(part, k, EMOTIONS[emotion], f"synthetic_{speaker}")
                self._drawn[row.id] = vector.numpy()[None]
                rows.append(row)
        return rows

    def read_values(self, utterances: Sequence[Utterance]) -> dict[str, np.ndarray]:
        """The embeddings that were drawn."""
        return self._drawn


def _utterance(part: str, number: int, emotion: str, speaker: str) -> Utterance:
    """An utterance of one second that was never spoken."""
    name = f"synthetic/{part}_{number}"
    return Utterance(
        name, Path(name), name, SAMPLE_RATE, SAMPLE_RATE,
        speaker, "synthetic", emotion=emotion, split=part, split_id="synthetic",  # type: ignore[arg-type]
    )  # fmt: skip
