"""``emovc evaluate``: convert a fixed list of pairs and score the result."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emovc.common.convert import load_vocoder, parse_settings
from emovc.common.errors import UserError
from emovc.common.evaluator import PairConverter, PairScorer, draw_pair
from emovc.common.files import read_json, sha256_of, write_json, write_text
from emovc.common.loggers import log_to_run
from emovc.common.manifest import read_manifest
from emovc.common.metrics import DIALECT
from emovc.common.page import Sample, score_table, write_page
from emovc.common.pairs import Pair, conversion_pairs
from emovc.common.parsing import run_function
from emovc.common.pretrained import find_model, load_converter
from emovc.common.progress import progress
from emovc.common.scores import Score, Table, by_emotion, log_keys, table, to_csv, to_markdown
from emovc.common.wav import write_wav

ON_PAGE = 12  # pairs with pictures and players


def evaluate(
    run: Path,
    manifest: Path,
    out: Path,
    split: str = "test",
    pairs: int = 50,
    source_emotion: str = "neutral",
    emotions: list[str] | None = None,
    vocoder: Path | None = None,
    set: list[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Convert pairs of a split and score them beside source, target and copy-synthesis.

    Utterances that were scored before are kept, so a run that was stopped goes on.

    Args:
        run: Run, checkpoint or exported folder.
        manifest: Manifest with parallel sentences.
        out: Folder to write scores, audio, pictures and a page to.
        split: Part of the manifest.
        pairs: Number of conversions.
        source_emotion: Emotion of the sources.
        emotions: Target emotions; by default all others.
        vocoder: Folder of a HiFi-GAN; without it Griffin-Lim is used.
        set: Settings of the model to override, as NAME=VALUE.
        seed: Seed of the list of pairs and of the model.
        device: Device of the model and the vocoder.
    """
    converter = load_converter(run, parse_settings(set or [])).to(device)
    voice = load_vocoder(vocoder, converter, device)
    pair_converter = PairConverter(converter, voice, manifest, seed, device)
    utterances = [u for u in read_manifest(manifest) if u.split == split]
    if not utterances:
        raise UserError(f"{manifest}: split {split} is empty; give --split train, val or test")
    chosen = conversion_pairs(utterances, pairs, source_emotion, emotions, seed)
    settings = {
        "model": str(run),
        "weights": sha256_of(find_model(run)),
        "manifest": sha256_of(manifest),
        "split": split,
        "set": set or [],
        "vocoder": str(vocoder) if vocoder else "Griffin-Lim",
        "seed": seed,
        "dialect": DIALECT,
        "reference": pair_converter.reference_kind,
    }
    _same_settings(out, settings)
    scores = _score_all(pair_converter, chosen, out)
    dataset = f"{'+'.join(sorted({u.corpus for u in utterances}))}_{split}"
    rows, keys = _write(out, scores, chosen, settings, dataset)
    if (run / "run.json").exists():
        log_to_run(run, keys)
    sys.stdout.write(to_markdown(rows, "") + "\n")
    sys.stdout.write(f"\n{len(chosen)} pairs of split {split}; {DIALECT}; reference:")
    sys.stdout.write(f" {pair_converter.reference_kind}\n{out / 'index.html'}\n")


def _score_all(converter: PairConverter, pairs: Sequence[Pair], out: Path) -> list[Score]:
    """Score what isn't in ``scores.jsonl`` yet, a line per pair as soon as it is done."""
    path = out / "scores.jsonl"
    done = _read_scores(path)
    scorer = PairScorer(converter.rate)
    shown = progress(pairs, "converting and scoring", len(pairs))
    for number, pair in enumerate(shown):
        if pair.id in done:
            continue
        clips = converter.clips(pair)
        for row, clip in clips.items():
            write_wav(out / "audio" / row / f"{pair.id}.wav", clip.wav, converter.rate)
        if number < ON_PAGE:
            draw_pair(pair, clips, converter.converter.frontend, out / "pictures")
        done[pair.id] = scorer.score(pair, clips)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([s._asdict() for s in done[pair.id]]) + "\n")
    return [score for pair in pairs for score in done[pair.id]]


def _read_scores(path: Path) -> dict[str, list[Score]]:
    """Scores of the pairs done before; a line cut off by a kill is dropped from the file."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_text(path, whole)
    groups = [[Score(**row) for row in json.loads(line)] for line in whole.splitlines()]
    return {group[0].pair: group for group in groups}


def _same_settings(out: Path, settings: dict[str, Any]) -> None:
    """Refuse to mix the scores of two evaluations in one folder."""
    path = out / "settings.json"
    if path.exists():
        old = read_json(path)
        changed = [k for k in settings if old.get(k) != settings[k]]
        if changed:
            raise UserError(
                f"{out}: holds an evaluation with another {changed[0]} ({old.get(changed[0])});"
                " give another OUT"
            )
    write_json(path, settings)


def _write(
    out: Path,
    scores: Sequence[Score],
    pairs: Sequence[Pair],
    settings: dict[str, Any],
    dataset: str,
) -> tuple[Table, dict[str, float]]:
    """Write tables, summary and page; give the table by row, and the model's means by key."""
    write_text(out / "scores.csv", to_csv(scores))
    rows, emotions = table(scores), by_emotion(scores, "model")
    keys = log_keys(rows["model"], emotions, dataset)
    summary = {
        "settings": settings,
        "rows": {r: {m: s._asdict() for m, s in ms.items()} for r, ms in rows.items()},
        "emotions": {e: {m: s._asdict() for m, s in ms.items()} for e, ms in emotions.items()},
        "keys": keys,
    }
    write_json(out / "summary.json", summary)
    text = f"{to_markdown(rows, 'row')}\n\n{to_markdown(emotions, 'emotion (model)')}\n"
    write_text(out / "summary.md", text)
    samples = [
        Sample(
            f"{p.source.speaker}: {p.source.emotion} to {p.target.emotion}",
            p.source.text or p.source.sentence or "",
            {row: f"audio/{row}/{p.id}.wav" for row in rows},
            [f"pictures/{p.id}.{kind}.png" for kind in ("mel", "f0")],
        )
        for p in pairs[:ON_PAGE]
    ]
    caption = "; ".join(f"{k} {v}" for k, v in settings.items() if v)
    tables = [score_table(rows, "row"), score_table(emotions, "model, by emotion")]
    write_page(out / "index.html", "Conversion", caption, tables, samples)
    return rows, keys


def main(command: str, args: list[str]) -> None:
    """Run ``emovc evaluate``."""
    run_function(evaluate, args, command, out=True)
