"""The data module of all models."""

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_info
from torch.utils.data import DataLoader

from emovc.common.batch import Batch, collate
from emovc.common.dataset import SpeechDataset
from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.feature_set import open_features
from emovc.common.features.store import FeatureStore
from emovc.common.loader import PlannedBatches, ResumableLoader
from emovc.common.manifest import Split, Utterance, read_manifest
from emovc.common.partners import Grouping, Match, Partners
from emovc.common.sampling import Crop, Request, bucket_batches, crop_batches, evaluation_batches
from emovc.common.splits import require_splits, rows_of_split
from emovc.common.unchanged import require_unchanged


class SpeechDataModule(L.LightningDataModule):
    """Batches of speech from one manifest, for every model.

    ``features`` are read from the folder ``features`` beside the manifest. With ``f0`` come
    ``f0_statistics``: mean and standard deviation of the speaker's ln F0, (B, 2), from
    ``speakers.json`` beside the manifest.

    Args:
        manifest: Manifest with splits, as ``emovc prepare`` writes it.
        sample_rate: Rate of the waveforms in Hz; linked to the model's front end.
        hop_length: Samples per mel frame; linked to the model's front end.
        features: Stored features the model asks for, by name.
        speaker_means: Those of ``features`` that are replaced by their mean over the speaker's
            training utterances (over all his utterances if he has none), at unit length.
        grouping: Single utterances, parallel pairs, triplets, or source and reference.
        reference_speaker: Whether a reference is of the same, another, or any speaker.
        reference_emotion: Whether a reference has the same, another, or any emotion.
        emotions: Canonical emotions to use; by default all.
        train_sentences: Sentences to train on, drawn by the seed, for curves over the amount of
            data; by default all.
        crop: Random crops in training; ``None`` trains on whole utterances in duration buckets.
        min_seconds: Shorter utterances are left out of training.
        max_seconds: Longer utterances are left out.
        batch_size: Utterances per batch and device.
        batch_seconds: Most seconds per batch of whole utterances and device, padding included.
        num_workers: Loader processes.
        val_utterances: Utterances that validation runs on, drawn evenly and the same in every run;
            by default all. For models whose validation costs as much as many steps.
        predict_split: Part that ``emovc predict`` runs on.
        seed: Seed of order, crops and partners; linked to ``seed_everything``.

    Raises:
        UserError: A number is out of its range.
    """

    def __init__(
        self,
        manifest: Path,
        sample_rate: int = 22_050,
        hop_length: int = 256,
        features: list[str] | None = None,
        speaker_means: list[str] | None = None,
        grouping: Grouping = "single",
        reference_speaker: Match = "same",
        reference_emotion: Match = "any",
        emotions: list[str] | None = None,
        train_sentences: int | None = None,
        crop: Crop | None = None,
        min_seconds: float = 0.3,
        max_seconds: float = 20.0,
        batch_size: int = 16,
        batch_seconds: float | None = 120.0,
        num_workers: int = 0,
        predict_split: Split = "test",
        seed: int = 0,
        val_utterances: int | None = None,
    ) -> None:
        super().__init__()
        self.manifest = Path(manifest)
        self.sample_rate = sample_rate
        self.hop_length = hop_length
        self.features = features or []
        self.speaker_means = speaker_means or []
        self.grouping: Grouping = grouping
        self.reference_speaker: Match = reference_speaker
        self.reference_emotion: Match = reference_emotion
        self.emotions = emotions
        self.train_sentences = train_sentences
        self.crop = crop
        self.min_seconds = min_seconds
        self.max_seconds = max_seconds
        self.batch_size = batch_size
        self.batch_seconds = batch_seconds
        self.num_workers = num_workers
        self.predict_split = predict_split
        self.seed = seed
        self.val_utterances = val_utterances
        self._told_emotions = False
        self._require_ranges()

    def _require_ranges(self) -> None:
        """Refuse numbers that would make endless or empty batches."""
        if self.batch_size < 1 or self.num_workers < 0 or self.min_seconds < 0:
            raise UserError(
                "data: batch_size must be 1 or more, num_workers and min_seconds 0 or more"
            )
        empty = self.batch_seconds is not None and self.batch_seconds <= 0
        if self.val_utterances is not None and self.val_utterances < 1:
            raise UserError(f"data.val_utterances {self.val_utterances}: give 1 or more, or null")
        if self.max_seconds <= self.min_seconds or empty:
            raise UserError("data: max_seconds must be above min_seconds, batch_seconds above 0")

    def setup(self, stage: str) -> None:
        """Read and check the manifest; runs once per process.

        Raises:
            UserError: The manifest has no splits, leaks between them, or lacks a feature; or audio
                changed after it was made.
        """
        rows = read_manifest(self.manifest)
        require_splits(rows, self.manifest)
        self._say_left_out(rows)
        self.utterances = self._fewer_sentences([u for u in rows if self._wanted(u)])
        require_unchanged(self.utterances, self.manifest)
        self.split_id = next((u.split_id for u in rows if u.split_id), None)
        self.speakers = sorted({u.speaker for u in self.utterances if u.split == "train"})
        asked = self.features, self.speaker_means
        self._features = open_features(
            self.manifest, self.utterances, *asked, self.sample_rate, self.hop_length
        )

    @property
    def stores(self) -> dict[str, FeatureStore]:
        """The stores of ``features`` by name, once they are set up."""
        return self._features.stores

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled training batches; order and crops depend on (seed, epoch) only."""
        dataset, batches = self._planned("train", training=True)
        pin = torch.cuda.is_available()
        return ResumableLoader(dataset, batches, collate, self.num_workers, pin)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Whole validation utterances, the longest first."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Whole test utterances, the longest first."""
        return self.evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Whole utterances of ``predict_split``, the longest first."""
        return self.evaluation_loader(self.predict_split)

    def evaluation_loader(self, split: str) -> DataLoader[Batch]:
        """Whole utterances of any split, the longest first; every pass begins at the first."""
        dataset, batches = self._planned(split, training=False)
        return DataLoader[Any](
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            generator=torch.Generator(),  # or each pass would move the model's random numbers
        )

    def of_split(self, split: str) -> list[Utterance]:
        """Utterances of one split.

        Raises:
            UserError: It has none.
        """
        return rows_of_split(self.utterances, split, self.manifest)

    def _planned(self, split: str, training: bool) -> tuple[SpeechDataset, PlannedBatches]:
        """Samples of a split and this device's share of its batches."""
        utterances = self.of_split(split)
        partners = Partners(
            utterances, self.grouping, self.reference_speaker, self.reference_emotion
        )
        names = {name: i for i, name in enumerate(self.speakers)}
        dataset = SpeechDataset(
            utterances, partners, names, self._features, self.sample_rate, self.hop_length
        )
        rank, n_ranks = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        frames = [self._frames(utterances[i]) for i in partners.indices]
        chosen = None if training else self._chosen(split, frames)
        taken = len(frames if chosen is None else chosen)
        if taken < n_ranks:
            raise UserError(
                f"{self.manifest}: split {split} has {taken} utterances for {n_ranks} devices;"
                " lower trainer.devices"
            )
        size = self.batch_size * n_ranks
        most = None
        if self.batch_seconds is not None:
            most = int(self.batch_seconds * n_ranks * self.sample_rate / self.hop_length)
        if not training:
            fixed = evaluation_batches(frames, size, most, n_ranks, chosen)
            plan = partial(_same, fixed)
        elif self.crop is not None:
            plan = partial(crop_batches, frames, self.crop, size, self.seed)
        else:
            plan = partial(bucket_batches, frames, size, most, self.seed, n_ranks=n_ranks)
        batches = PlannedBatches(plan, rank, n_ranks)
        if not len(batches):
            raise UserError(
                f"{self.manifest}: split {split} has {len(frames)} utterances, too few for a batch"
                f" of {size}; lower data.batch_size"
            )
        return dataset, batches

    def _chosen(self, split: str, frames: Sequence[int]) -> list[int] | None:
        """Samples of a split to evaluate on; the draw depends on their number only."""
        if split != "val" or self.val_utterances is None:
            return None
        order = np.random.default_rng(0).permutation(len(frames))
        return sorted(order[: self.val_utterances].tolist())

    def _frames(self, utterance: Utterance) -> int:
        return int(utterance.seconds * self.sample_rate) // self.hop_length

    def _fewer_sentences(self, utterances: list[Utterance]) -> list[Utterance]:
        """Leave training utterances of all but ``train_sentences`` sentences out."""
        if self.train_sentences is None:
            return utterances
        known = sorted({u.sentence for u in utterances if u.split == "train" and u.sentence})
        if not 0 < self.train_sentences <= len(known):
            raise UserError(
                f"data.train_sentences {self.train_sentences}: {self.manifest} has {len(known)}"
                " training sentences; give a number from 1 to that"
            )
        order = np.random.default_rng(self.seed).permutation(len(known))
        kept = {known[i] for i in order[: self.train_sentences]}
        return [u for u in utterances if u.split != "train" or u.sentence in kept]

    def _say_left_out(self, rows: Sequence[Utterance]) -> None:
        """Say once which emotions of the manifest ``emotions`` leaves out.

        Raises:
            UserError: It names one that no utterance has.
        """
        if self.emotions is None:
            return
        counts = Counter(str(u.emotion or "without emotion") for u in rows if u.split != "unused")
        for name in self.emotions:
            if name not in counts:
                close = [] if name in EMOTIONS else get_close_matches(name, EMOTIONS, 1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                raise UserError(
                    f"data.emotions: no utterance of {self.manifest} is {name}{hint}; there are"
                    f" {', '.join(sorted(counts))}"
                )
        out = {name: n for name, n in counts.most_common() if name not in self.emotions}
        if out and not self._told_emotions:
            told = ", ".join(f"{name} {n}" for name, n in out.items())
            rank_zero_info(
                f"data.emotions leaves out {sum(out.values())} of {counts.total()} utterances:"
                f" {told}"
            )
        self._told_emotions = True

    def _wanted(self, utterance: Utterance) -> bool:
        """Whether the utterance takes part; short ones are still evaluated."""
        if self.emotions is not None and utterance.emotion not in self.emotions:
            return False
        if utterance.split == "unused":
            return False
        too_short = utterance.split == "train" and utterance.seconds < self.min_seconds
        return not too_short and utterance.seconds <= self.max_seconds


def _same(batches: list[list[Request]], epoch: int) -> list[list[Request]]:
    """The same batches in every epoch."""
    return batches
