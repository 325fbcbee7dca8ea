"""Lines of the experiments on synthesised emotion: said, judged, and kept as they are done."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.common.control import prosody
from emovc.common.conversion import Speech
from emovc.common.convert import load_vocoder, read_speech, vocode
from emovc.common.errors import UserError
from emovc.common.files import read_json, sha256_of, short_hash, without_nan, write_json
from emovc.common.judges.emotion import HeardEmotion
from emovc.common.judging import Goal
from emovc.common.manifest import Utterance
from emovc.common.metrics import DIALECT, analyse
from emovc.common.panel import Panel, read_judges
from emovc.common.pretrained import find_model
from emovc.common.progress import progress
from emovc.common.wav import write_wav
from emovc.genner_tts.embedding_data import EmbeddingDataModule
from emovc.genner_tts.pauses import SILENCES
from emovc.genner_tts.quantization_source import NEUTRAL, Source, read_source
from emovc.genner_tts.style_request import StyleRequest
from emovc.genner_tts.synthesizer import GennerTTS

Condition = Literal["full", "global", "centroid"]
CONDITIONS: dict[Condition, str] = {
    "full": "voice and local prosody of the reference",
    "global": "voice of the reference, no local prosody",
    "centroid": "voice of the speaker's neutral speech, no local prosody",
}
N_NEUTRAL = 8  # recordings of a speaker's neutral voice


class Line(NamedTuple):
    """A text to be said with an emotion vector.

    Attributes:
        grid: Table of the page that it stands in.
        row: Row of that table.
        column: Column of that table.
        reference: Recording whose voice and, in the full condition, prosody is taken.
        text: Utterance whose text is said.
        emotion: Emotion vector, (E,).
        condition: What the reference gives beside the vector.
        about: Columns of the result that the experiment adds.
    """

    grid: str
    row: str
    column: str
    reference: Utterance
    text: Utterance
    emotion: Tensor
    condition: Condition
    about: Mapping[str, str | float]

    @property
    def key(self) -> str:
        """Hash of what the line is, the name of its audio."""
        parts = [self.grid, self.row, self.column, self.reference.id, self.text.id, self.condition]
        return short_hash([*parts, dict(self.about), [round(v, 5) for v in self.emotion.tolist()]])


class Stage:
    """A synthesizer, its judges, and a folder that keeps what was said.

    Args:
        run: Run, checkpoint or exported folder of a Genner TTS.
        manifest: Manifest with texts, splits and the stored emotion vectors.
        emotions: Emotions of the experiment, neutral among them; by default all.
        judges: YAML file of judges; by default the quick panel.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        out: Folder of ``parts/`` (rows) and ``audio/``.
        noise_scale: Standard deviation of the post-net's noise.

    Attributes:
        settings: What every line depends on.

    Raises:
        UserError: Something of it can't be used, or no judge hears emotions.
    """

    def __init__(
        self,
        run: Path,
        manifest: Path,
        emotions: Sequence[str] | None,
        judges: Path | None,
        vocoder: Path | None,
        out: Path,
        noise_scale: float = 0.8,
    ) -> None:
        self.model = GennerTTS.from_pretrained(run).eval()
        self.rate = self.model.frontend.sample_rate
        chosen = list(emotions) if emotions else None
        data = EmbeddingDataModule(manifest, self.model.emotion.feature, chosen, min_utterances=1)
        self.source: Source = read_source(data)
        self.data, self.out = data, out
        spoken = {u.language for u in data.of_split("test") if u.language}
        listed, left_out = read_judges(judges, spoken or {self.model.language})
        self.panel = Panel(listed, self.rate, left_out)
        self.readers = [j for j in listed if hasattr(j, "emotions")]
        if not self.readers:
            raise UserError("judges: none of them recognises emotions; see docs/judges.md")
        self.noise_scale = noise_scale
        self.vocoder = load_vocoder(vocoder, self.model.frontend, "cpu")
        self.settings: dict[str, Any] = {
            "weights": sha256_of(find_model(run)), "manifest": sha256_of(manifest),
            "emotions": self.source.emotions, "judges": str(judges), "vocoder": str(vocoder),
            "noise_scale": noise_scale, "dialect": DIALECT,
        }  # fmt: skip
        self._heard: dict[str, dict[str, Any]] = {}
        self._voices: dict[tuple[str, ...], Tensor] = {}

    def notes(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """What every table must say of its speech and its judges."""
        corpora = sorted({u.corpus for u in self.data.of_split("test")})
        record = self.panel.record(corpora, self.model)
        n_references = len({row["reference"] for row in rows})
        n_speakers = len({row["speaker"] for row in rows})
        return [
            f"{len(rows)} lines, {n_references} references of {n_speakers} speakers;"
            " the texts are of other sentences.",
            *(f"judge {j['name']}: {'; '.join(j['marks']) or 'no marks'}" for j in record),
            *self.panel.left_out,
        ]

    def speech(self, utterance: Utterance) -> Speech:
        """A recording with its text."""
        read = read_speech(utterance.path, self.rate)
        return Speech(read.wav, text=utterance.text, language=utterance.language)

    def vector(self, utterance: Utterance) -> Tensor:
        """Emotion vector (E,) of a recording."""
        return self.model.emotion(self.speech(utterance).wav)

    def say(self, lines: Sequence[Line]) -> list[dict[str, Any]]:
        """Rows of the result, in order; those of an earlier call are read, not made again."""
        rows = []
        for line in progress(lines, "saying", len(lines)):
            part = self.out / "parts" / f"{line.key}.json"
            if not part.exists():
                write_json(part, without_nan(self._measured(line)))
            rows.append(read_json(part))
        return rows

    @torch.no_grad()
    def _measured(self, line: Line) -> dict[str, Any]:
        """Say a line and measure it."""
        style = self._style(line)
        language = line.text.language or self.model.language
        spoken = self.model.synthesise(
            str(line.text.text), language, style, noise_scale=self.noise_scale
        )
        wav = vocode(self.vocoder, spoken.mel).cpu()
        file = f"audio/{line.key}.wav"
        write_wav(self.out / file, wav.numpy(), self.rate)
        names = self.source.emotions
        row: dict[str, Any] = {
            "key": line.key, "grid": line.grid, "row": line.row, "column": line.column,
            "audio": file, "speaker": line.reference.speaker, "emotion": line.reference.emotion,
            "reference": line.reference.id, "text": line.text.id, "condition": line.condition,
            **line.about,
        }  # fmt: skip
        row |= named("cosine_", names, self.near(line.emotion))
        row |= named("heard_cosine_", names, self.near(self.model.emotion(wav)))
        said = sum(phone not in SILENCES for phone in spoken.phones)
        analysis = analyse(wav.numpy(), self.rate)
        row |= prosody(analysis)
        row |= {"phones_per_s": said / analysis.seconds}
        row |= {"energy_db": float(analysis.energy_db.mean())}
        return row | self._judged(line, wav.numpy())

    def near(self, vector: Tensor) -> list[float]:
        """Cosines of a vector (E,) with the emotions' centroids, all less the corpus' mean."""
        mean = self.source.mean
        return F.cosine_similarity((vector - mean)[None], self.source.centroids - mean).tolist()

    def _style(self, line: Line) -> StyleRequest:
        """What the reference gives."""
        if line.condition == "centroid":
            return StyleRequest(levels=(), emotion=line.emotion, speaker=self._neutral(line))
        own = [self.speech(line.reference)]
        levels = None if line.condition == "full" else ()
        return StyleRequest(own, levels=levels, emotion=line.emotion)

    def _neutral(self, line: Line) -> Tensor:
        """Vector (S,) of the neutral speech of the reference's speaker.

        Training speech is taken where there is some, else that of the test part.

        Raises:
            UserError: There is none beside the reference.
        """
        speaker = line.reference.speaker
        parts = [self.data.of_split("train"), self.data.of_split("test")]
        own = [u for part in parts for u in part if u.speaker == speaker and u != line.reference]
        rows = [u for u in own if u.emotion == NEUTRAL][:N_NEUTRAL]
        if not rows:
            raise UserError(f"speaker {speaker}: has no neutral speech to take a voice of")
        ids = tuple(u.id for u in rows)
        if ids not in self._voices:
            voice = [self.speech(u) for u in rows]
            self._voices[ids] = self.model.speaker_vector(StyleRequest(voice=voice))
        return self._voices[ids]

    def _judged(self, line: Line, wav: np.ndarray) -> dict[str, Any]:
        """Metrics of the judges, and the posteriors of those that recognise emotions."""
        reference = line.reference
        if reference.id not in self._heard:
            recording = self.speech(reference).wav.numpy()
            self._heard[reference.id] = self.panel.hear(recording, reference.language)
        heard, own = self.panel.hear(wav, line.text.language), self._heard[reference.id]
        goal = Goal(
            str(reference.emotion), line.text.text, line.text.language, reference.speaker,
            among=tuple(self.source.emotions),
        )  # fmt: skip
        verdict, _ = self.panel.judge(heard, {"source": own, "target": own}, goal)
        row: dict[str, Any] = dict(verdict.metrics)
        for judge in self.readers:
            told, names = heard[judge.name], self.source.emotions
            if isinstance(told, HeardEmotion):
                row |= named(f"p_{judge.name}_", names, self._posterior(judge, told))
            else:  # it heard no speech
                row |= dict.fromkeys(f"p_{judge.name}_{name}" for name in names)
        return row

    def _posterior(self, judge: Any, heard: HeardEmotion) -> list[float]:
        """Probabilities of the experiment's emotions among themselves, 0 where a judge has none."""
        known = dict(zip(judge.emotions, heard.posterior.tolist(), strict=True))
        own = [float(known.get(name, 0.0)) for name in self.source.emotions]
        return [p / max(sum(own), 1e-12) for p in own]


def named(prefix: str, names: Iterable[str], values: Iterable[float]) -> dict[str, float]:
    """Values by prefixed names."""
    return {f"{prefix}{name}": float(v) for name, v in zip(names, values, strict=True)}
