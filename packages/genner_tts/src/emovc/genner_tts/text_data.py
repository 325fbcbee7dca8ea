"""Batches of speech with the phones of its texts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from emovc.common.data import SpeechDataModule
from emovc.common.errors import UserError
from emovc.common.manifest import Split, Utterance
from emovc.genner_tts.durations_file import read_durations
from emovc.genner_tts.inventory import PhoneInventory
from emovc.genner_tts.phonemes import Alphabet, Pronunciation, pronounce

Value = TypeVar("Value")
PHONES, WORDS, DURATIONS = "phones", "words", "durations"  # features of a batch


class TextDataModule(SpeechDataModule):
    """Batches of whole utterances with what is said in them.

    Beside the stored ``features`` a batch has ``phones``, numbers of :attr:`inventory`, ``words``,
    the word of each phone counted from 1, and with a file of durations ``durations``, the frames
    of each phone; all (B, L), 0 at padding.

    Utterances that can't be used are left out with a warning: those without ``text`` or
    ``language`` in the manifest, with symbols that can't be said, with more phones than frames,
    without durations, or, outside of training, with phones that no training text has.

    Args:
        manifest: Manifest with splits, texts and languages, as ``emovc prepare`` writes it.
        sample_rate: Rate of the waveforms in Hz; linked to the model's front end.
        hop_length: Samples per mel frame; linked to the model's front end.
        features: Stored features the model asks for, by name.
        speaker_means: Those of ``features`` that are replaced by their mean over the speaker's
            training utterances.
        emotions: Canonical emotions to use; by default all.
        alphabet: What phones are written in.
        durations: File of durations, as ``emovc export-durations`` writes it.
        min_seconds: Shorter utterances are left out of training.
        max_seconds: Longer utterances are left out.
        batch_size: Utterances per batch and device.
        batch_seconds: Most seconds per batch and device, padding included.
        num_workers: Loader processes.
        predict_split: Part that ``emovc predict`` runs on.
        seed: Seed of the order; linked to ``seed_everything``.

    Attributes:
        inventory: Phones of the training texts, once they are set up.
        pronunciations: Phones of each utterance by its id, once they are set up.
    """

    def __init__(
        self,
        manifest: Path,
        sample_rate: int = 22_050,
        hop_length: int = 256,
        features: list[str] | None = None,
        speaker_means: list[str] | None = None,
        emotions: list[str] | None = None,
        alphabet: Alphabet = "ipa",
        durations: Path | None = None,
        min_seconds: float = 0.3,
        max_seconds: float = 20.0,
        batch_size: int = 16,
        batch_seconds: float | None = 120.0,
        num_workers: int = 0,
        predict_split: Split = "test",
        seed: int = 0,
    ) -> None:
        super().__init__(
            manifest, sample_rate, hop_length, features, speaker_means,
            emotions=emotions, min_seconds=min_seconds, max_seconds=max_seconds,
            batch_size=batch_size, batch_seconds=batch_seconds, num_workers=num_workers,
            predict_split=predict_split, seed=seed,
        )  # fmt: skip
        self.alphabet: Alphabet = alphabet
        self.durations = None if durations is None else Path(durations)
        self._spoken: dict[tuple[str, str], Pronunciation] = {}

    def setup(self, stage: str) -> None:
        """Read the manifest, and find the phones of all texts; runs once per process.

        Raises:
            UserError: No training utterance can be used, durations are of other texts or frames,
                or as in :meth:`SpeechDataModule.setup`.
        """
        super().setup(stage)
        self._refused: list[str] = []
        self.pronunciations = self._kept(self.utterances, self._said)
        known = [u for u in self.utterances if u.split == "train"] or self.utterances
        texts = [self.pronunciations[u.id] for u in known if u.id in self.pronunciations]
        if not texts:
            raise UserError(f"{self.manifest}: no utterance can be used; {self._refused[0]}")
        self.inventory = PhoneInventory.of(texts, self.alphabet)
        spoken = [u for u in self.utterances if u.id in self.pronunciations]
        constants = {PHONES: self._kept(spoken, self._numbers)}
        if self.durations is not None:
            said = [u for u in spoken if u.id in constants[PHONES]]
            constants[DURATIONS] = self._kept(said, self._durations_of(self.durations))
        self.utterances = [u for u in spoken if all(u.id in part for part in constants.values())]
        constants[WORDS] = {
            u.id: torch.tensor(self.pronunciations[u.id].units) + 1 for u in self.utterances
        }
        self._features = replace(self._features, constants=self._features.constants | constants)
        if self._refused:
            rank_zero_warn(
                f"{self.manifest}: {len(self._refused)} utterances can't be used and are left out,"
                f" the first as {self._refused[0]}"
            )

    def _kept(
        self, utterances: list[Utterance], value: Callable[[Utterance], Value]
    ) -> dict[str, Value]:
        """Values of the utterances that have one by their ids; the others are noted."""
        values = {}
        for utterance in utterances:
            try:
                values[utterance.id] = value(utterance)
            except UserError as error:
                self._refused.append(f"{utterance.id}: {error}")
        return values

    def _said(self, utterance: Utterance) -> Pronunciation:
        """Phones of an utterance, if its text can be said in its time."""
        text, language = text_of(utterance)
        if (text, language) not in self._spoken:
            self._spoken[text, language] = pronounce(text, language, self.alphabet)
        said, frames = self._spoken[text, language], self._frames(utterance)
        if len(said.phones) > frames:
            raise UserError(
                f"has {len(said.phones)} phones in {frames} frames; correct its text or audio"
            )
        return said

    def _numbers(self, utterance: Utterance) -> Tensor:
        """Numbers of the phones, (L,)."""
        return self.inventory.numbers(self.pronunciations[utterance.id].phones)

    def _durations_of(self, path: Path) -> Callable[[Utterance], Tensor]:
        """Reads frames of the phones, (L,), in a file.

        Raises:
            UserError: The file is damaged, or of other frames or texts.
        """
        made, timed = read_durations(path)
        here = {"sample_rate": self.sample_rate, "hop_length": self.hop_length}
        if wrong := [k for k, v in here.items() if made[k] != v]:
            raise UserError(
                f"{path}: has {wrong[0]} {made[wrong[0]]}, the model's mel {here[wrong[0]]}; write"
                " durations for this mel"
            )
        said = {u.sha256: self.pronunciations.get(u.id) for u in self.utterances}
        for key, (phones, _) in timed.items():
            if (own := said.get(key)) is not None and own.phones != phones:
                raise UserError(
                    f"{path}: was made for {' '.join(phones)!r}, the text is now"
                    f" {' '.join(own.phones)!r}; write the durations anew"
                )

        def durations(utterance: Utterance) -> Tensor:
            if utterance.sha256 not in timed:
                raise UserError(f"has no durations in {path.name}; write them anew")
            return torch.tensor(timed[utterance.sha256].durations)

        return durations


def text_of(utterance: Utterance) -> tuple[str, str]:
    """What is said in an utterance, and in which language.

    Raises:
        UserError: The manifest doesn't tell.
    """
    if not utterance.text or not utterance.language:
        raise UserError("has no text or no language in the manifest; add both columns")
    return utterance.text, utterance.language
