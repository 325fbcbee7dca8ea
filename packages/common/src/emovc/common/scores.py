"""From scores per utterance to a table with intervals."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emovc.common.csv_text import csv_text
from emovc.common.markdown import markdown_table
from emovc.common.metrics import bootstrap_interval

METRICS = {  # of the signal; judges announce theirs
    "mcd_db": "MCD (dB)",
    "f0_rmse_st": "F0 RMSE (semitones)",
    "f0_corr": "F0 correlation",
    "f0_gpe": "gross pitch error",
    "voicing_error": "voicing error",
    "energy_rmse_db": "energy RMSE (dB)",
    "duration_error_s": "duration error (s, absolute)",
}
ABSOLUTE = ("duration_error_s",)  # signed per utterance, averaged by their size
ROOT_MEAN_SQUARE = ("strength_rmse", "arousal_rmse")  # signed per utterance; beginnings of names
Headings = Mapping[str, str]  # column heading of each metric, in the order of the columns
Confusion = dict[str, dict[str, int]]  # by the emotion wanted and the one recognised


class Score(NamedTuple):
    """Metrics of one utterance.

    Attributes:
        pair: Id of the pair.
        row: ``model``, ``source``, ``copy-synthesis`` or ``target``.
        speaker: Speaker of the target.
        emotion: Emotion of the target.
        metrics: Values by name.
        labels: Decisions of judges by name, such as the emotion recognised.
    """

    pair: str
    row: str
    speaker: str
    emotion: str
    metrics: dict[str, float]
    labels: dict[str, str] = {}


class Summary(NamedTuple):
    """Mean of a metric with its 95 % interval, and the number of utterances that have a value."""

    mean: float
    low: float
    high: float
    n: int


Table = dict[str, dict[str, Summary]]  # by row or emotion, and by metric


def summarise(scores: Sequence[Score], metric: str) -> Summary:
    """Mean over utterances with its interval by bootstrap over speakers.

    Durations count by their size; errors of strength and arousal give a root mean square.
    """
    values = np.array([s.metrics.get(metric, np.nan) for s in scores], dtype=float)
    root = metric.startswith(ROOT_MEAN_SQUARE)
    if metric in ABSOLUTE:
        values = np.abs(values)
    if root:
        values = np.square(values)
    n = int(np.isfinite(values).sum())
    if n == 0:
        return Summary(np.nan, np.nan, np.nan, 0)
    low, high = bootstrap_interval(values, [s.speaker for s in scores])
    found = np.array([np.nanmean(values), low, high])
    mean, low, high = (float(v) for v in (np.sqrt(found) if root else found))
    return Summary(mean, low, high, n)


def table(scores: Sequence[Score], headings: Headings) -> Table:
    """Summaries by row and metric, the rows in the order of the scores."""
    rows = dict.fromkeys(s.row for s in scores)
    return {
        row: {m: summarise([s for s in scores if s.row == row], m) for m in headings}
        for row in rows
    }


def by_emotion(scores: Sequence[Score], row: str, headings: Headings) -> Table:
    """Summaries of one row by target emotion and metric."""
    names = sorted({s.emotion for s in scores})
    own = [s for s in scores if s.row == row]
    return {
        e: {m: summarise([s for s in own if s.emotion == e], m) for m in headings} for e in names
    }


def confusions(scores: Sequence[Score]) -> dict[str, dict[str, Confusion]]:
    """Counts of what judges recognised, by label, row, emotion wanted and emotion recognised."""
    counts: dict[str, dict[str, Confusion]] = {}
    for s in scores:
        for name, label in s.labels.items():
            rows = counts.setdefault(name, {})
            wanted = rows.setdefault(s.row, {}).setdefault(s.emotion, defaultdict(int))
            wanted[label] += 1
    return counts


def log_keys(model: dict[str, Summary], emotions: Table, dataset: str) -> dict[str, float]:
    """The model's means under their logging keys, ``eval/<set>/<metric>[/<emotion>]``."""
    found = {f"eval/{dataset}/{m}": s.mean for m, s in model.items()}
    for emotion, metrics in emotions.items():
        found |= {f"eval/{dataset}/{m}/{emotion}": s.mean for m, s in metrics.items()}
    return {key: value for key, value in found.items() if np.isfinite(value)}


def to_markdown(rows: Table, first: str, headings: Headings) -> str:
    """Table in Markdown: mean and interval; metrics that no row has are left out."""
    used = used_metrics(rows, headings)
    lines: list[list[str]] = [[first, *(headings[m] for m in used)]]
    lines += [[name, *(cell(metrics[m]) for m in used)] for name, metrics in rows.items()]
    return markdown_table(lines)


def used_metrics(rows: Mapping[str, Mapping[str, Summary]], headings: Headings) -> list[str]:
    """Metrics that at least one row has a value of."""
    return [m for m in headings if any(metrics[m].n for metrics in rows.values())]


def to_csv(scores: Sequence[Score], headings: Headings) -> str:
    """One line per utterance and row."""
    labels = sorted({name for s in scores for name in s.labels})
    fields = ["pair", "row", "speaker", "emotion", *headings, *labels]
    lines = [
        [
            s.pair,
            s.row,
            s.speaker,
            s.emotion,
            *map(s.metrics.get, headings),
            *map(s.labels.get, labels),
        ]
        for s in scores
    ]
    return csv_text(fields, lines)


def cell(s: Summary) -> str:
    """Mean and interval as text."""
    if s.n == 0:
        return "-"
    return f"{s.mean:.3g} [{s.low:.3g}, {s.high:.3g}]"
