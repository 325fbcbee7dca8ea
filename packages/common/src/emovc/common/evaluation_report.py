"""Puts the pairs of an evaluation together: scores, tables, gaps, costs, and a page."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from emovc.common.evaluating import part_of
from emovc.common.evaluator import PairEvaluator
from emovc.common.files import without_nan, write_json, write_text
from emovc.common.page import Sample, judge_table, score_table, write_page
from emovc.common.pairs import Pair
from emovc.common.panel import Gap
from emovc.common.score_files import read_part
from emovc.common.scores import (
    METRICS,
    Headings,
    Table,
    by_emotion,
    confusions,
    log_keys,
    table,
    to_csv,
    to_markdown,
)

ON_PAGE = 12  # pairs with pictures and players


class Record(NamedTuple):
    """What an evaluation says of itself.

    Attributes:
        settings: Everything the numbers depend on.
        judges: The judges with their marks.
        left_out: Judges that could not be had, a line each.
        dataset: Name of corpus and split in logging keys.
    """

    settings: dict[str, Any]
    judges: list[dict[str, Any]]
    left_out: list[str]
    dataset: str


def write_results(
    out: Path, pairs: Sequence[Pair], evaluator: PairEvaluator, record: Record
) -> dict[str, float]:
    """Write ``scores.jsonl``, ``scores.csv``, ``summary.json``, ``summary.md`` and the page.

    Args:
        out: Folder that holds the finished pairs.
        pairs: The pairs, in the order of the list.
        evaluator: What made them.
        record: What is said of the evaluation.

    Returns:
        The model's means by logging key.
    """
    parts = [read_part(part_of(out, pair)) for pair in pairs]
    scores = [score for part in parts for score in part.scores]
    headings = METRICS | evaluator.panel.headings
    lines = [json.dumps(without_nan([s._asdict() for s in part.scores])) for part in parts]
    write_text(out / "scores.jsonl", "\n".join(lines) + "\n")
    write_text(out / "scores.csv", to_csv(scores, headings))
    rows = table(scores, headings)
    emotions = by_emotion(scores, "model", headings)
    keys = log_keys(rows["model"], emotions, record.dataset) if "model" in rows else {}
    summary = {
        "settings": record.settings,
        "pairs": len(pairs),
        "texts": {p.id: p.source.text or p.source.sentence or "" for p in pairs},
        "rows": _plain(rows),
        "emotions": _plain(emotions),
        "confusions": confusions(scores),
        "judges": record.judges,
        "left_out": record.left_out,
        "gaps": count_gaps([gap for part in parts for gap in part.gaps]),
        "cost": cost(evaluator, [part.rtf for part in parts if part.rtf is not None]),
        "keys": keys,
    }
    write_json(out / "summary.json", summary)
    tables = [to_markdown(rows, "row", headings), to_markdown(emotions, "emotion", headings)]
    notes = notes_of(summary)
    write_text(out / "summary.md", "\n\n".join([*tables, *notes]) + "\n")
    _write_page(out, pairs, rows, emotions, headings, summary)
    text = [tables[0], "", *notes, str(out / "index.html")]
    sys.stdout.write("\n".join(text) + "\n")
    return keys


def count_gaps(gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    """How often each judge gave each reason, and the pairs where it did."""
    counts = Counter((gap.judge, gap.reason) for gap in gaps)
    return [
        {
            "judge": judge,
            "reason": reason,
            "rows": n,
            "pairs": sorted({g.pair for g in gaps if (g.judge, g.reason) == (judge, reason)}),
        }
        for (judge, reason), n in counts.most_common()
    ]


def cost(evaluator: PairEvaluator, rtf: Sequence[float]) -> dict[str, Any]:
    """What a conversion costs: real-time factor, parameters, evaluations of the network.

    Args:
        evaluator: Holds the model; it may count its ``function_evaluations``.
        rtf: Real-time factor of each conversion, the vocoder included.
    """
    model = evaluator.converter.model
    known = np.array([value for value in rtf if np.isfinite(value)])
    return {
        "real_time_factor": float(np.median(known)) if len(known) else None,
        "parameters": sum(p.numel() for p in model.parameters())
        if isinstance(model, nn.Module)
        else None,
        "function_evaluations": getattr(model, "function_evaluations", 1)
        if isinstance(model, nn.Module)
        else None,
    }


def notes_of(summary: dict[str, Any]) -> list[str]:
    """Lines that belong below every table: how it came about, marks, gaps, costs."""
    settings, judges = summary["settings"], summary["judges"]
    lines = [
        f"{summary['pairs']} pairs of split {settings['split']}; {settings['dialect']};"
        f" reference: {settings['reference']}; vocoder: {settings['vocoder']}"
    ]
    lines += [f"judge {j['name']}: {mark}" for j in judges for mark in j["marks"]]
    lines += [f"left out: {line}" for line in summary["left_out"]]
    lines += [f"gap: {g['judge']}: {g['reason']} ({g['rows']} rows)" for g in summary["gaps"]]
    costs = {k.replace("_", " "): v for k, v in summary["cost"].items() if v is not None}
    if costs:
        lines.append(
            ", ".join(f"{k} {v:,.4g}" if v < 10 else f"{k} {v:,}" for k, v in costs.items())
        )
    return lines


def _plain(rows: Table) -> dict[str, dict[str, dict[str, float]]]:
    """A table as JSON takes it."""
    return {r: {m: s._asdict() for m, s in metrics.items()} for r, metrics in rows.items()}


def _write_page(
    out: Path,
    pairs: Sequence[Pair],
    rows: Table,
    emotions: Table,
    headings: Headings,
    summary: dict[str, Any],
) -> None:
    """The page with tables, players and pictures."""
    samples = [
        Sample(
            f"{p.source.speaker}: {p.source.emotion} to {p.target.emotion}",
            p.source.text or p.source.sentence or "",
            {r: f"audio/{r}/{p.id}.wav" for r in rows if _has(out, r, p)},
            [f"pictures/{p.id}.{kind}.png" for kind in ("mel", "f0")],
        )
        for p in pairs[:ON_PAGE]
    ]
    tables = [
        score_table(rows, "row", headings),
        score_table(emotions, "model, by emotion", headings),
        judge_table(summary["judges"]),
    ]
    write_page(out / "index.html", "Conversion", notes_of(summary), tables, samples)


def _has(out: Path, row: str, pair: Pair) -> bool:
    """Whether a row of a pair has audio."""
    return (out / "audio" / row / f"{pair.id}.wav").exists()
