"""``emovc reproduce vocoder``: what vocoders make of the mels of real recordings, side by side."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch

from emovc.common.audio import LogMel
from emovc.common.checked_values import read_checked
from emovc.common.conversion import Vocoder
from emovc.common.convert import load_vocoder, vocode
from emovc.common.errors import UserError
from emovc.common.evaluate import require_same_settings
from emovc.common.files import sha256_of, short_hash, without_nan, write_json, write_text
from emovc.common.judging import Goal
from emovc.common.manifest import Split, Utterance, read_manifest
from emovc.common.markdown import markdown_table
from emovc.common.metrics import DIALECT, Analysis, analyse, bootstrap_interval, compare
from emovc.common.panel import Panel, read_judges
from emovc.common.progress import progress
from emovc.common.score_files import ANEW
from emovc.common.scores import METRICS, Score, cell, summarise, to_csv, used_metrics
from emovc.common.spread import choose_spread
from emovc.common.wav import read_wav, write_wav

RECORDING = "recording"
MEL_L1, COST = "mel_l1", "cpu_s_per_s"
OWN = {MEL_L1: "log-mel L1", **METRICS}
PARTS = "parts"


class Row(NamedTuple):
    """One thing that is compared: a vocoder, or the recordings themselves.

    Attributes:
        name: Its name in the table.
        vocoder: The vocoder; ``None``: the recordings.
    """

    name: str
    vocoder: Vocoder | None


class Heard(NamedTuple):
    """What is measured of the recording once for all rows."""

    wav: np.ndarray
    mel: torch.Tensor
    analysis: Analysis
    judged: dict[str, Any]


def vocoder(
    manifests: list[Path],
    vocoders: list[str] | None = None,
    judges: Path | None = None,
    out: Path = Path("runs/vocoder"),
    split: Split = "test",
    files: int = 60,
    seed: int = 0,
    audio: int = 4,
) -> None:
    """Score copy-synthesis by several vocoders on the same recordings.

    The first vocoder is what the others are compared with, recording by recording. What was
    finished before is kept, so vocoders can be added.

    Args:
        manifests: Manifests of recordings that no vocoder was trained on.
        vocoders: ``griffin-lim``, ``shipped``, folders, runs or checkpoints, each perhaps with a
            name before it as in ``ours=runs/hifigan_acted``.
        judges: List of judges in YAML, see docs/judges.md; by default the quick panel.
        out: Folder of the results.
        split: Part of the manifests.
        files: Recordings of each manifest, drawn evenly over speakers and emotions.
        seed: Seed of that draw.
        audio: Recordings of each manifest whose copies are written to OUT/audio.
    """
    frontend = LogMel()
    asked = [_named(text, frontend) for text in vocoders or ["griffin-lim", "shipped"]]
    rows = [Row(RECORDING, None), *asked]
    twice = [row.name for row in rows if [r.name for r in rows].count(row.name) > 1]
    if twice:
        raise UserError(f"vocoders: {twice[0]} stands twice; give one another name, NAME=FOLDER")
    drawn = [choose_spread(_of(path, split), files, seed) for path in manifests]
    every = [u for own in drawn for u in own]
    panel = _panel(judges, every, frontend.sample_rate)
    settings = {
        "manifests": [sha256_of(path) for path in manifests],
        "draw": [split, files, seed],
        "dialect": DIALECT,
        "judges": {j.name: short_hash(j.about) for j in panel.judges},
    }
    require_same_settings(out, settings)
    shown = {u.id for own in drawn for u in own[:audio]}
    for u in progress(every, "copying and scoring", len(every)):
        _measure(u, rows, panel, out, frontend.sample_rate, u.id in shown)
    _report(out, rows, every, panel)


def _named(text: str, frontend: LogMel) -> Row:
    """A vocoder of the command line."""
    name, equals, place = text.partition("=")
    place = place if equals else text
    made = load_vocoder(None if place == "shipped" else Path(place), frontend, "cpu")
    return Row(name if equals else Path(text).name, made)


def _of(manifest: Path, split: Split) -> list[Utterance]:
    """Labelled utterances of a part."""
    rows = [u for u in read_manifest(manifest) if u.split == split]
    if not rows:
        raise UserError(f"{manifest}: split {split} is empty; give --split train, val or test")
    return rows


def _panel(judges: Path | None, utterances: Sequence[Utterance], rate: int) -> Panel:
    """The judges, with a note of those that are left out."""
    found, left_out = read_judges(judges, {u.language for u in utterances if u.language})
    for line in left_out:
        sys.stdout.write(f"left out: {line}\n")
    return Panel(found, rate, left_out)


def _measure(
    u: Utterance, rows: Sequence[Row], panel: Panel, out: Path, rate: int, keep: bool
) -> None:
    """Score what isn't scored yet of an utterance."""
    places = {row.name: out / PARTS / _key(row) / f"{u.id}.json" for row in rows}
    missing = [row for row in rows if not places[row.name].exists()]
    if not missing:
        return
    wav, _ = read_wav(u.path, rate)
    mel = LogMel()(torch.from_numpy(wav)[None])[0]
    real = Heard(wav, mel, analyse(wav, rate), panel.hear(wav))
    for row in missing:
        copy, seconds = wav, 0.0
        if row.vocoder is not None:
            start = time.process_time()
            copy = vocode(row.vocoder, mel).numpy()
            seconds = time.process_time() - start
        metrics, labels, gaps = _scores(copy, real, panel, _goal(u), row.vocoder is None)
        metrics[COST] = seconds / (len(wav) / rate)
        if keep:
            write_wav(out / "audio" / row.name / f"{u.id}.wav", copy, rate)
        record = {"metrics": metrics, "labels": labels, "gaps": gaps}
        write_json(places[row.name], without_nan(record))


def _key(row: Row) -> str:
    """Folder of a row: other weights or settings under one name are measured anew."""
    return row.name if row.vocoder is None else f"{row.name}-{short_hash(row.vocoder.label)}"


def _goal(u: Utterance) -> Goal:
    return Goal(str(u.emotion), u.text, u.language, u.speaker)


def _scores(
    copy: np.ndarray, real: Heard, panel: Panel, goal: Goal, itself: bool
) -> tuple[dict[str, float], dict[str, str], list[tuple[str, str]]]:
    """Metrics, labels and gaps of one copy."""
    frontend = LogMel()
    mel = frontend(torch.from_numpy(copy)[None])[0]
    n_frames = min(mel.shape[1], real.mel.shape[1])
    metrics = {MEL_L1: float((mel[:, :n_frames] - real.mel[:, :n_frames]).abs().mean())}
    metrics |= compare(analyse(copy, frontend.sample_rate), real.analysis)
    heard = real.judged if itself else panel.hear(copy)
    recordings = {"source": real.judged, "target": real.judged}
    verdict, gaps = panel.judge(heard, recordings, goal)
    return metrics | verdict.metrics, verdict.labels, gaps


def _report(out: Path, rows: Sequence[Row], every: Sequence[Utterance], panel: Panel) -> None:
    """Write scores.csv, summary.json and table.md."""
    headings = OWN | panel.headings | {COST: "CPU s per s"}
    scores, gaps = _read(out, rows, every)
    corpora = {u.id: u.corpus for u in every}
    groups = {name: [s for s in scores if corpora[s.pair] == name] for name in corpora.values()}
    if len(groups) > 1:
        groups = {"all": scores, **groups}
    texts, summary = [], {}
    for group, own in groups.items():
        by_row = {row.name: [s for s in own if s.row == row.name] for row in rows}
        means = {n: {m: summarise(s, m) for m in headings} for n, s in by_row.items()}
        used = used_metrics(means, headings)
        lines: list[Sequence[object]] = [("vocoder", *(headings[m] for m in used))]
        lines += [(name, *(cell(v[m]) for m in used)) for name, v in means.items()]
        n_files, n_speakers = len(by_row[RECORDING]), len({s.speaker for s in own})
        texts.append(f"### {group}: {n_files} recordings of {n_speakers} speakers\n")
        texts.append(markdown_table(lines) + "\n")
        texts.append(_against(by_row, [row.name for row in rows], used, headings))
        summary[group] = {n: {m: v[m]._asdict() for m in used} for n, v in means.items()}
    labels = {r.name: r.vocoder.label for r in rows if r.vocoder is not None}
    write_json(
        out / "summary.json", without_nan({"scores": summary, "vocoders": labels, "gaps": gaps})
    )
    write_text(out / "scores.csv", to_csv(scores, headings))
    write_text(out / "table.md", "\n".join(texts))
    sys.stdout.write("\n".join(texts) + f"\n{out}\n")


def _against(
    by_row: dict[str, list[Score]], names: list[str], used: list[str], headings: dict[str, str]
) -> str:
    """Mean differences from the first vocoder with their intervals, recording by recording."""
    first = names[1]
    lines: list[Sequence[object]] = [(f"minus {first}", *(headings[m] for m in used))]
    for name in names[2:]:
        pairs = list(zip(by_row[name], by_row[first], strict=True))
        speakers = [s.speaker for s, _ in pairs]
        cells = []
        for m in used:
            gap = [a.metrics.get(m, np.nan) - b.metrics.get(m, np.nan) for a, b in pairs]
            values = np.array(gap, dtype=float)
            if not np.isfinite(values).any():
                cells.append("-")
                continue
            low, high = bootstrap_interval(values, speakers)
            cells.append(f"{np.nanmean(values):+.3f} [{low:+.3f}, {high:+.3f}]")
        lines.append((name, *cells))
    return markdown_table(lines) + "\n" if len(lines) > 1 else ""


class _Part(TypedDict):
    metrics: dict[str, float | None]
    labels: dict[str, str]
    gaps: list[tuple[str, str]]


def _read(
    out: Path, rows: Sequence[Row], every: Sequence[Utterance]
) -> tuple[list[Score], dict[str, int]]:
    """Scores of all rows and utterances, and how often each thing could not be judged."""
    scores, gaps = [], dict[str, int]()
    for row in rows:
        for u in every:
            part: _Part = read_checked(out / PARTS / _key(row) / f"{u.id}.json", _Part, ANEW)
            metrics = {m: np.nan if v is None else v for m, v in part["metrics"].items()}
            scores.append(Score(u.id, row.name, u.speaker, str(u.emotion), metrics, part["labels"]))
            for judge, reason in part["gaps"]:
                gaps[f"{judge}: {reason}"] = gaps.get(f"{judge}: {reason}", 0) + 1
    return scores, gaps
