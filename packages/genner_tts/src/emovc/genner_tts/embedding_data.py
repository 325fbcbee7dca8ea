"""Batches of stored embeddings, without their audio."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore, open_store
from emovc.common.loader import PlannedBatches, ResumableLoader
from emovc.common.manifest import Split, Utterance, read_manifest
from emovc.common.sampling import Request
from emovc.common.splits import require_splits, rows_of_split
from emovc.genner_tts.embedding_batch import (
    SAMPLE_RATE,
    EmbeddingRows,
    collate_embeddings,
)


class EmbeddingDataModule(L.LightningDataModule):
    """Batches of one stored feature of a manifest's utterances.

    The feature is read from the folder ``features`` beside the manifest and kept in memory. A
    feature with several rows per utterance is averaged, or cut to ``frames`` of them: those at a
    random place in training, the first ones in evaluation. Shorter utterances are then left out.

    Args:
        manifest: Manifest with splits, as ``emovc prepare`` writes it.
        feature: Stored feature, by name.
        emotions: Canonical emotions to use; by default all.
        share: Share of the training utterances, drawn at random once, to use.
        weights: How much more often utterances of an emotion are drawn in training than those of
            the emotions not named, for codebooks that lean towards it; by default every utterance
            is drawn once an epoch.
        min_utterances: Fewest training utterances of each emotion.
        frames: Rows T of each utterance; ``None`` averages them.
        batch_size: Utterances per batch and device.
        predict_split: Part that ``emovc predict`` runs on.
        seed: Seed of order and crops; linked to ``seed_everything``.

    Attributes:
        sample_rate: Rate in Hz that lengths are counted in, as other data modules' default.
        hop_length: Samples per mel frame, likewise; there are no mels here.

    Raises:
        UserError: A number is out of its range.
    """

    sample_rate = SAMPLE_RATE
    hop_length = 256

    def __init__(
        self,
        manifest: Path,
        feature: str = "emotion2vec",
        emotions: list[str] | None = None,
        share: float = 1.0,
        weights: dict[str, float] | None = None,
        min_utterances: int = 50,
        frames: int | None = None,
        batch_size: int = 512,
        predict_split: Split = "test",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.manifest = Path(manifest)
        self.feature = feature
        self.emotions = emotions
        self.share = share
        self.weights = weights or {}
        self.min_utterances = min_utterances
        self.frames = frames
        self.batch_size = batch_size
        self.predict_split = predict_split
        self.seed = seed
        if batch_size < 1 or min_utterances < 1 or (frames is not None and frames < 1):
            raise UserError("data: batch_size, min_utterances and frames must be 1 or more")
        if not 0 < share <= 1:
            raise UserError(f"data.share {share}: must be above 0, and 1 at most")
        if any(weight <= 0 for weight in self.weights.values()):
            raise UserError("data.weights: must be above 0; leave emotions out by data.emotions")

    def setup(self, stage: str) -> None:
        """Read the manifest and the feature; runs once per process.

        Raises:
            UserError: The manifest has no splits or leaks between them, the feature is absent,
                incomplete or not finite, or an emotion has too few utterances.
        """
        rows = self.read_rows()
        require_splits(rows, self.manifest)
        self.split_id = next((u.split_id for u in rows if u.split_id), None)
        wanted = [u for u in rows if self.emotions is None or u.emotion in self.emotions]
        self.utterances = [u for u in wanted if u.split not in (None, "unused")]
        self._require_enough()
        self.utterances = self._drawn_share(self.utterances)
        read = self.read_values(self.utterances)
        least = self.frames or 1
        self.utterances = [u for u in self.utterances if len(read[u.id]) >= least]
        self._values = {u.id: torch.from_numpy(np.array(read[u.id])) for u in self.utterances}
        bad = [u for u in self.utterances if not self._values[u.id].isfinite().all()]
        if bad:
            raise UserError(f"{bad[0].path}: feature {self.feature} is not finite; remove the file")

    def read_rows(self) -> list[Utterance]:
        """All utterances."""
        return read_manifest(self.manifest)

    def read_values(self, utterances: Sequence[Utterance]) -> dict[str, np.ndarray]:
        """The feature (T, D) of utterances, by id."""
        store = open_store(self.manifest.parent / "features", self.feature)
        store.require(utterances, "extract them first")
        return {u.id: self._read(store, u) for u in utterances}

    def of_split(self, split: str) -> list[Utterance]:
        """Utterances of one split.

        Raises:
            UserError: It has none.
        """
        return rows_of_split(self.utterances, split, self.manifest)

    def embeddings(self, split: str) -> Tensor:
        """Embeddings of a split in its order, (N, D), or all their frames."""
        return torch.cat([self._values[u.id] for u in self.of_split(split)])

    def training_embeddings(self) -> Tensor:
        """What the first epoch will train on, (N, D): drawn by ``weights``."""
        rows = self.of_split("train")
        return torch.cat([self._values[rows[i].id] for i in self._order(rows, 0)])

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled training batches; order and crops depend on (seed, epoch) only."""
        return self._loader("train", training=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation part."""
        return self._loader("val", training=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """The test part."""
        return self._loader("test", training=False)

    def predict_dataloader(self) -> DataLoader[Any]:
        """``predict_split``."""
        return self._loader(self.predict_split, training=False)

    def _loader(self, split: str, training: bool) -> ResumableLoader:
        """This device's share of a split's batches."""
        rows = self.of_split(split)
        rank, n_ranks = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        size = min(self.batch_size * n_ranks, len(rows))

        def plan(epoch: int) -> list[list[Request]]:
            order = self._order(rows, epoch) if training else np.arange(len(rows))
            # Training leaves out what fills no batch; every device needs something in each.
            last = len(order) - len(order) % size if training else len(order)
            starts = range(0, last, size)
            seed = epoch + 1 if training else 0
            batches = [[Request(int(i), 0, seed) for i in order[k : k + size]] for k in starts]
            return [batch for batch in batches if len(batch) >= n_ranks]

        dataset = EmbeddingRows(rows, self._values, self.frames, self.seed)
        pin = torch.cuda.is_available()
        batches, collate = PlannedBatches(plan, rank, n_ranks), cast(Any, collate_embeddings)
        return ResumableLoader(dataset, batches, collate, 0, pin)

    def _order(self, rows: Sequence[Utterance], epoch: int) -> np.ndarray:
        """Which utterances an epoch visits, in which order."""
        rng = np.random.default_rng([self.seed, epoch])
        if not self.weights:
            return rng.permutation(len(rows))
        share = np.array([self.weights.get(u.emotion or "", 1.0) for u in rows])
        return rng.choice(len(rows), len(rows), p=share / share.sum())

    def _drawn_share(self, utterances: list[Utterance]) -> list[Utterance]:
        """Utterances of which the training part is cut to ``share``."""
        train = [u for u in utterances if u.split == "train"]
        count = math.ceil(self.share * len(train))
        order = np.random.default_rng([self.seed, 1]).permutation(len(train))
        out = {train[i].id for i in order[count:]}
        return [u for u in utterances if u.id not in out]

    def _read(self, store: FeatureStore, utterance: Utterance) -> np.ndarray:
        """Rows of an utterance, or their mean."""
        rows = store.get(utterance.sha256)
        if not len(rows):
            raise UserError(f"{utterance.path}: feature {self.feature} is empty; extract it anew")
        return rows.mean(0, keepdims=True) if self.frames is None else rows

    def _require_enough(self) -> None:
        """Refuse emotions that are too rare to learn codes of."""
        train = [u.emotion for u in self.utterances if u.split == "train"]
        asked = self.emotions or sorted({e for e in train if e is not None})
        for emotion in dict.fromkeys([*asked, *self.weights]):
            if train.count(emotion) < self.min_utterances:
                raise UserError(
                    f"{self.manifest}: {train.count(emotion)} training utterances are {emotion},"
                    f" data.min_utterances asks for {self.min_utterances}; leave the emotion out,"
                    " or lower it"
                )
