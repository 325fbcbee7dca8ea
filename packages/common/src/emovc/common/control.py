"""``emovc control``: convert at rising levels of arousal or strength, and measure the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emovc.common.control_report import Levels, write_report
from emovc.common.convert import parse_settings
from emovc.common.errors import UserError
from emovc.common.evaluate import choose_pairs, require_same_settings
from emovc.common.evaluating import Setup
from emovc.common.evaluator import PairEvaluator
from emovc.common.files import sha256_of, short_hash, write_json
from emovc.common.judging import Goal
from emovc.common.metrics import DIALECT, Analysis, analyse, compare
from emovc.common.pair_conversion import Clip, Reference
from emovc.common.pairs import Pair
from emovc.common.panel import Gap
from emovc.common.parsing import run_function
from emovc.common.pretrained import find_model
from emovc.common.progress import progress
from emovc.common.score_files import read_part
from emovc.common.scores import METRICS, Score
from emovc.common.wav import write_wav

Quantity = Literal["strength", "arousal"]
LEVELS: dict[str, tuple[float, ...]] = {
    "strength": (0.0, 0.25, 0.5, 0.75, 1.0),
    "arousal": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0),
}
PROSODY = {"f0_mean_hz": "mean F0 (Hz)", "f0_sd_st": "F0 deviation (semitones)"}


def control(
    run: Path,
    manifest: Path,
    out: Path,
    of: Quantity = "strength",
    levels: list[float] | None = None,
    split: str = "test",
    pairs: int = 20,
    source_emotion: str = "neutral",
    emotions: list[str] | None = None,
    vocoder: Path | None = None,
    judges: Path | None = None,
    set: list[str] | None = None,
    reference: Reference = "same_speaker",
    seed: int = 0,
) -> None:
    """Convert each source at each level and let the judges measure what was reached.

    Pairs that were done before are kept, so a run that was stopped goes on.

    Args:
        run: Run, checkpoint or exported folder.
        manifest: Manifest with parallel sentences.
        out: Folder for audio, table, figure and JSON.
        of: What is controlled.
        levels: Levels to ask for; by default 0 to 1 in quarters, or 1 to 7.
        split: Part of the manifest.
        pairs: Number of sources.
        source_emotion: Emotion of the sources.
        emotions: Target emotions; by default all others.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        judges: YAML file that lists the judges; one of them should measure what is controlled.
        set: Settings of the model to override, as NAME=VALUE.
        reference: Who speaks the reference, of models that take one.
        seed: Seed of the list of pairs and of the model.
    """
    asked = sorted(levels or LEVELS[of])
    chosen = choose_pairs(manifest, split, pairs, source_emotion, emotions, seed)
    among = tuple(sorted({str(u.emotion) for p in chosen for u in (p.source, p.target)}))
    languages = tuple(sorted({p.target.language for p in chosen if p.target.language}))
    own, nothing = parse_settings(set or []), frozenset[str]()
    setup = Setup(
        run, own, vocoder, judges, manifest, among, languages, out, seed, nothing, reference
    )
    evaluator = setup.open()
    headings = METRICS | PROSODY | evaluator.panel.headings
    if not any(metric.startswith(f"{of}_") for metric in headings):
        raise UserError(
            f"no judge measures {of}: list one in a file and give --judges FILE; see docs/judges.md"
        )
    settings = settings_of(setup, evaluator) | {"split": split, "of": of, "levels": asked}
    require_same_settings(out, settings)
    scores, gaps = Ladder(evaluator, of, asked).measure(chosen, out)
    corpora = sorted({p.target.corpus for p in chosen})
    record = evaluator.panel.record(corpora, evaluator.converter.model)
    write_report(out, Levels(of, asked), scores, gaps, headings, settings, record)


def settings_of(setup: Setup, evaluator: PairEvaluator) -> dict[str, Any]:
    """What the scores depend on, beside the list of pairs and the levels.

    Args:
        setup: What was asked for.
        evaluator: What it opened.
    """
    return {
        "model": str(setup.run),
        "weights": sha256_of(find_model(setup.run)),
        "settings": dict(setup.settings),
        "manifest": sha256_of(setup.manifest),
        "reference": evaluator.converter.reference_kind,
        "vocoder": evaluator.converter.vocoder.label,
        "seed": setup.seed,
        "dialect": DIALECT,
        "judges": {judge.name: short_hash(judge.about) for judge in evaluator.panel.judges},
    }


class Ladder:
    """Conversions of a pair at every level.

    Args:
        evaluator: Converts and judges.
        of: What is controlled.
        levels: Levels to ask for.
    """

    def __init__(self, evaluator: PairEvaluator, of: Quantity, levels: Sequence[float]) -> None:
        self.evaluator = evaluator
        self.of = of
        self.levels = levels

    def measure(self, pairs: Sequence[Pair], out: Path) -> tuple[list[Score], list[Gap]]:
        """Scores of every pair at every level, and what could not be judged.

        Args:
            pairs: The pairs; those that ``out`` has the scores of are not converted again.
            out: Folder of ``parts/`` (scores) and ``audio/``.
        """
        scores: list[Score] = []
        gaps: list[Gap] = []
        for pair in progress(pairs, "converting and scoring", len(pairs)):
            part = out / "parts" / f"{pair.id}.json"
            if not part.exists():
                self._write(pair, part, out / "audio")
            found = read_part(part)
            scores += found.scores
            gaps += found.gaps
        return scores, gaps

    def _write(self, pair: Pair, part: Path, audio: Path) -> None:
        """Convert and score a pair, and keep scores and audio.

        Args:
            pair: The pair.
            part: JSON file of the scores, written last.
            audio: Folder of the audio.
        """
        converter, panel = self.evaluator.converter, self.evaluator.panel
        real = {"source": pair.source, "target": pair.target}
        clips: dict[str, tuple[Clip, float | None]] = {
            row: (converter.recording(u), None) for row, u in real.items()
        }
        heard = {r: panel.hear(clip.wav, real[r].language) for r, (clip, _) in clips.items()}
        wanted = analyse(clips["target"][0].wav, converter.rate)
        gaps = []
        for level in self.levels:
            try:
                clips[row_of(level)] = self._convert(pair, level), level
            except UserError as error:
                gaps.append(Gap(pair.id, row_of(level), "conversion", str(error)))
        scores = []
        for row, (clip, asked) in clips.items():
            own = heard.get(row) or panel.hear(clip.wav, pair.target.language)
            verdict, missing = panel.judge(own, heard, self._goal(pair, asked))
            gaps += [Gap(pair.id, row, judge, reason) for judge, reason in missing]
            found = analyse(clip.wav, converter.rate)
            metrics = compare(found, wanted) | prosody(found) | verdict.metrics
            who = pair.target.speaker, str(pair.target.emotion)
            scores.append(Score(pair.id, row, *who, metrics, verdict.labels))
            if asked is not None:
                write_wav(audio / row / f"{pair.id}.wav", clip.wav, converter.rate)
        done = {"scores": [s._asdict() for s in scores], "gaps": [g._asdict() for g in gaps]}
        write_json(part, done)

    def _convert(self, pair: Pair, level: float) -> Clip:
        """One conversion."""
        arousal, strength = (level, None) if self.of == "arousal" else (None, level)
        return self.evaluator.converter.convert(pair, arousal, strength)[0]

    def _goal(self, pair: Pair, level: float | None) -> Goal:
        """What a row should be."""
        target = pair.target
        return Goal(
            str(target.emotion),
            target.text,
            target.language,
            target.speaker,
            arousal=level if self.of == "arousal" else None,
            strength=level if self.of == "strength" else None,
            among=self.evaluator.among,
        )


def row_of(level: float) -> str:
    """Name of a level's row."""
    return f"{level:g}"


def prosody(analysis: Analysis) -> dict[str, float]:
    """Mean F0 in Hz and its standard deviation in semitones over voiced frames."""
    voiced = analysis.f0_hz[analysis.f0_hz > 0]
    if len(voiced) < 10:
        return dict.fromkeys(PROSODY, float("nan"))
    semitones = 12 * np.log2(voiced)
    return {"f0_mean_hz": float(voiced.mean()), "f0_sd_st": float(semitones.std())}


def main(command: str, args: list[str]) -> None:
    """Run ``emovc control``."""
    run_function(control, args, command, out=True)
