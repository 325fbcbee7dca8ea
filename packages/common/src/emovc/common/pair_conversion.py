"""Converts pairs of utterances, and gives the recordings that belong beside the result."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import torch

from emovc.common.audio import LogMel
from emovc.common.conversion import Converter, EmotionTarget, Speech, Vocoder
from emovc.common.convert import synthesise
from emovc.common.converted import ConvertedFiles
from emovc.common.errors import UserError
from emovc.common.f0 import Dio
from emovc.common.manifest import Utterance
from emovc.common.pairs import Pair
from emovc.common.pictures import draw_f0, draw_mels, save_figure
from emovc.common.unchanged import read_utterance

Value = TypeVar("Value")
Reference = Literal["same_speaker", "other_speaker"]


class Recent(Generic[Value]):
    """Values by key, made once and kept while they are in use.

    Args:
        size: Most values kept; the one that was not asked for the longest goes first.
    """

    def __init__(self, size: int = 256) -> None:
        self.size = size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it isn't there."""
        if key not in self._values:
            self._values[key] = make()
            if len(self._values) > self.size:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]


class Clip(NamedTuple):
    """One row of a pair.

    Attributes:
        wav: Waveform, (N,).
        mel: Its log-mel, (M, T).
    """

    wav: np.ndarray
    mel: np.ndarray


class PairConverter:
    """Converts pairs; each recording is read once.

    Args:
        converter: The model, or a folder of files converted before.
        vocoder: Its vocoder.
        speakers: ln F0 statistics of speakers where they are known.
        seed: Seed of the conversions.
        device: Device of model and vocoder.
        reference: Who speaks the references of models that take any words.

    Raises:
        UserError: References of another speaker are asked for, but must have the source's words.
    """

    def __init__(
        self,
        converter: Converter | ConvertedFiles,
        vocoder: Vocoder,
        speakers: Mapping[str, Any],
        seed: int = 0,
        device: str | torch.device = "cpu",
        reference: Reference = "same_speaker",
    ) -> None:
        if reference == "other_speaker" and converter.needs.parallel:
            raise UserError(
                "reference other_speaker: this model needs the same words; leave it out"
            )
        self.model = converter
        self.vocoder = vocoder
        self.speakers = speakers
        self.seed = seed
        self.device = device
        self.reference: Reference = reference
        self.frontend: LogMel = converter.frontend
        self.rate = self.frontend.sample_rate
        self._recent: Recent[Clip] = Recent()

    @property
    def reference_kind(self) -> str:
        """What is given as the reference, for the record."""
        if self.model.needs.parallel:
            return "the target recording (same words)"
        if self.reference == "other_speaker":
            return "another sentence of the target's emotion by another speaker"
        return "another sentence of the target's speaker and emotion"

    @torch.inference_mode()
    def convert(
        self, pair: Pair, arousal: float | None = None, strength: float | None = None
    ) -> tuple[Clip, float]:
        """The conversion of a pair and its real-time factor, NaN where a file was read.

        Args:
            pair: The pair.
            arousal: Arousal to ask for, 1 to 7.
            strength: Strength to ask for, 0 to 1.

        Raises:
            UserError: The conversion is missing, or its samples are no numbers.
        """
        if isinstance(self.model, ConvertedFiles):
            return self._clip(self.model.read(pair.id)), float("nan")
        source = self._speech(pair.source)
        request = EmotionTarget(
            [self._speech(self._reference(pair))], pair.target.emotion, arousal, strength
        )
        start = time.perf_counter()
        wav = synthesise(self.model, self.vocoder, source, request, self.seed).cpu().numpy()
        rtf = (time.perf_counter() - start) / (len(wav) / self.rate)
        if not np.isfinite(wav).all():
            raise UserError("the model gave NaN or infinity; train it further or anew")
        return self._clip(wav), rtf

    @torch.inference_mode()
    def recording(self, utterance: Utterance) -> Clip:
        """A real recording."""
        return self._recent.get(
            utterance.id, lambda: self._clip(read_utterance(utterance, self.rate))
        )

    @torch.inference_mode()
    def copy_synthesis(self, utterance: Utterance) -> Clip:
        """What the vocoder makes of a real recording's mel."""
        mel = torch.from_numpy(self.recording(utterance).mel).to(self.device)
        return self._clip(self.vocoder(mel[None])[0].clamp(-1, 1).cpu().numpy())

    def _reference(self, pair: Pair) -> Utterance:
        """What a model hears of the emotion wanted."""
        if self.model.needs.parallel:
            return pair.target
        if self.reference == "same_speaker":
            return pair.other or pair.target
        if pair.stranger is None:
            raise UserError(
                f"{pair.id}: nobody else speaks so; leave out --reference other_speaker"
            )
        return pair.stranger

    def _speech(self, utterance: Utterance) -> Speech:
        """An utterance with all that the manifest knows of it."""
        known = self.speakers.get(utterance.speaker)
        log_f0 = (known["log_f0_mean"], known["log_f0_std"]) if known else None
        wav = torch.from_numpy(self.recording(utterance).wav).to(self.device)
        return Speech(wav, utterance.speaker, utterance.text, log_f0, utterance.language)

    def _clip(self, wav: np.ndarray) -> Clip:
        """A waveform (N,) with its log-mel."""
        mel = self.frontend(torch.from_numpy(wav).to(self.device)[None])[0]
        return Clip(wav, mel.cpu().numpy())


def draw_pair(pair: Pair, clips: Mapping[str, Clip], frontend: LogMel, folder: Path) -> None:
    """Pictures ``<pair>.mel.png`` and ``<pair>.f0.png`` of source, model and target."""
    shown = {row: clips[row] for row in ("source", "model", "target") if row in clips}
    mels = draw_mels({row: clip.mel for row, clip in shown.items()}, frontend)
    save_figure(mels, folder / f"{pair.id}.mel.png")
    tracker = Dio(frontend.sample_rate, frontend.hop_length, frontend.frame_centre)
    f0 = draw_f0({row: tracker(c.wav) for row, c in shown.items()}, frontend.frame_rate)
    save_figure(f0, folder / f"{pair.id}.f0.png")
