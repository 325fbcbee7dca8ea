"""Converts pairs of utterances and scores them beside source, target and copy-synthesis."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from emovc.common.audio import LogMel
from emovc.common.conversion import Converter, EmotionTarget, Speech, Vocoder
from emovc.common.convert import synthesise
from emovc.common.f0 import Dio
from emovc.common.files import read_json
from emovc.common.manifest import Utterance
from emovc.common.metrics import analyse, compare
from emovc.common.pairs import Pair
from emovc.common.pictures import draw_f0, draw_mels, save_figure
from emovc.common.scores import Score
from emovc.common.speaker import SpeakerEncoder
from emovc.common.wav import read_wav


class Clip(NamedTuple):
    """One row of a pair.

    Attributes:
        wav: Waveform, (N,).
        mel: Its log-mel, (M, T).
        rtf: Seconds the conversion took per second of result; NaN for what isn't converted.
    """

    wav: np.ndarray
    mel: np.ndarray
    rtf: float


class PairConverter:
    """Converts pairs, and gives the recordings beside the result.

    Args:
        converter: The model.
        vocoder: Its vocoder.
        manifest: Manifest; ``speakers.json`` beside it tells F0 statistics, if it is there.
        seed: Seed of the conversions.
        device: Device of model and vocoder.
    """

    def __init__(
        self,
        converter: Converter,
        vocoder: Vocoder,
        manifest: Path,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.converter = converter
        self.vocoder = vocoder
        self.seed = seed
        self.device = device
        self.rate = converter.frontend.sample_rate
        path = manifest.parent / "speakers.json"
        self.speakers: dict[str, Any] = read_json(path) if path.exists() else {}

    @property
    def reference_kind(self) -> str:
        """What is given as the reference, for the record."""
        if self.converter.needs.parallel:
            return "the target recording (same words)"
        return "another sentence of the target's speaker and emotion"

    def speech(self, utterance: Utterance) -> Speech:
        """An utterance with all that the manifest knows of it."""
        wav, _ = read_wav(utterance.path, self.rate)
        known = self.speakers.get(utterance.speaker)
        log_f0 = (known["log_f0_mean"], known["log_f0_std"]) if known else None
        on_device = torch.from_numpy(wav).to(self.device)
        return Speech(on_device, utterance.speaker, utterance.text, log_f0)

    @torch.inference_mode()
    def clips(self, pair: Pair) -> dict[str, Clip]:
        """Rows ``source``, ``model``, ``copy-synthesis`` and ``target`` of a pair."""
        source, target = self.speech(pair.source), self.speech(pair.target)
        wanted = target
        if not self.converter.needs.parallel and pair.other is not None:
            wanted = self.speech(pair.other)
        request = EmotionTarget([wanted], pair.target.emotion)
        start = time.perf_counter()
        wav = synthesise(self.converter, self.vocoder, source, request, self.seed)
        rtf = (time.perf_counter() - start) / (len(wav) / self.rate)
        frontend = self.converter.frontend
        copy = self.vocoder(frontend(target.wav[None]))[0].clamp(-1, 1)
        waves = {"source": source.wav, "model": wav, "copy-synthesis": copy, "target": target.wav}
        return {
            row: Clip(
                w.cpu().numpy(),
                frontend(w[None])[0].cpu().numpy(),
                rtf if row == "model" else float("nan"),
            )
            for row, w in waves.items()
        }


class PairScorer:
    """Metrics of the rows of a pair against the target recording.

    Args:
        sample_rate: Rate of the waveforms in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.rate = sample_rate
        self.encoder = SpeakerEncoder.from_pretrained(sample_rate=sample_rate)

    @torch.inference_mode()
    def score(self, pair: Pair, clips: dict[str, Clip]) -> list[Score]:
        """Metrics of each row."""
        analyses = {row: analyse(clip.wav, self.rate) for row, clip in clips.items()}
        voices = {
            row: self.encoder(torch.from_numpy(clip.wav)[None], None)[0]
            for row, clip in clips.items()
        }
        scores = []
        for row, clip in clips.items():
            metrics = compare(analyses[row], analyses["target"])
            metrics["speaker_similarity"] = float(voices[row] @ voices["target"])
            metrics["rtf"] = clip.rtf
            scores.append(
                Score(pair.id, row, pair.target.speaker, str(pair.target.emotion), metrics)
            )
        return scores


def draw_pair(pair: Pair, clips: dict[str, Clip], frontend: LogMel, folder: Path) -> None:
    """Pictures ``<pair>.mel.png`` and ``<pair>.f0.png`` of source, model and target."""
    shown = {row: clips[row] for row in ("source", "model", "target")}
    mels = draw_mels({row: clip.mel for row, clip in shown.items()}, frontend)
    save_figure(mels, folder / f"{pair.id}.mel.png")
    tracker = Dio(frontend.sample_rate, frontend.hop_length, frontend.frame_centre)
    f0 = draw_f0({row: tracker(c.wav) for row, c in shown.items()}, frontend.frame_rate)
    save_figure(f0, folder / f"{pair.id}.f0.png")
