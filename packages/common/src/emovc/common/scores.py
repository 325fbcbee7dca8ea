"""From scores per utterance to a table with intervals."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from emovc.common.metrics import bootstrap_interval

METRICS = {
    "mcd_db": "MCD (dB)",
    "f0_rmse_st": "F0 RMSE (semitones)",
    "f0_corr": "F0 correlation",
    "voicing_error": "voicing error",
    "energy_rmse_db": "energy RMSE (dB)",
    "duration_error_s": "duration error (s, absolute)",
    "speaker_similarity": "speaker similarity",
    "rtf": "real-time factor",
}


class Score(NamedTuple):
    """Metrics of one utterance.

    Attributes:
        pair: Id of the pair.
        row: ``model``, ``source``, ``copy-synthesis`` or ``target``.
        speaker: Speaker of the target.
        emotion: Emotion of the target.
        metrics: Values by name.
    """

    pair: str
    row: str
    speaker: str
    emotion: str
    metrics: dict[str, float]


class Summary(NamedTuple):
    """Mean of a metric with its 95 % interval, and the number of utterances that have a value."""

    mean: float
    low: float
    high: float
    n: int


Table = dict[str, dict[str, Summary]]  # by row or emotion, and by metric


def summarise(scores: Sequence[Score], metric: str) -> Summary:
    """Mean over utterances, interval by bootstrap over speakers; durations by their size."""
    values = np.array([s.metrics.get(metric, np.nan) for s in scores], dtype=float)
    if metric == "duration_error_s":
        values = np.abs(values)
    n = int(np.isfinite(values).sum())
    if n == 0:
        return Summary(np.nan, np.nan, np.nan, 0)
    low, high = bootstrap_interval(values, [s.speaker for s in scores])
    return Summary(float(np.nanmean(values)), low, high, n)


def table(scores: Sequence[Score]) -> Table:
    """Summaries by row and metric, the rows in the order of the scores."""
    rows = dict.fromkeys(s.row for s in scores)
    return {
        row: {m: summarise([s for s in scores if s.row == row], m) for m in METRICS} for row in rows
    }


def by_emotion(scores: Sequence[Score], row: str) -> Table:
    """Summaries of one row by target emotion and metric."""
    names = sorted({s.emotion for s in scores})
    own = [s for s in scores if s.row == row]
    return {
        e: {m: summarise([s for s in own if s.emotion == e], m) for m in METRICS} for e in names
    }


def log_keys(model: dict[str, Summary], emotions: Table, dataset: str) -> dict[str, float]:
    """The model's means under their logging keys, ``eval/<set>/<metric>[/<emotion>]``."""
    found = {f"eval/{dataset}/{m}": s.mean for m, s in model.items()}
    for emotion, metrics in emotions.items():
        found |= {f"eval/{dataset}/{m}/{emotion}": s.mean for m, s in metrics.items()}
    return {key: value for key, value in found.items() if np.isfinite(value)}


def to_markdown(rows: Table, first: str) -> str:
    """Table in Markdown: mean and interval."""
    lines = [f"| {first} | " + " | ".join(METRICS.values()) + " |"]
    lines.append("|---" * (len(METRICS) + 1) + "|")
    for name, metrics in rows.items():
        lines.append(f"| {name} | " + " | ".join(cell(metrics[m]) for m in METRICS) + " |")
    return "\n".join(lines)


def to_csv(scores: Sequence[Score]) -> str:
    """One line per utterance and row."""
    buffer = io.StringIO()
    fields = ["pair", "row", "speaker", "emotion", *METRICS]
    writer = csv.DictWriter(buffer, fields, lineterminator="\n")
    writer.writeheader()
    for s in scores:
        record: dict[str, Any] = {m: s.metrics.get(m) for m in METRICS}
        who = {"pair": s.pair, "row": s.row, "speaker": s.speaker, "emotion": s.emotion}
        writer.writerow({**record, **who})
    return buffer.getvalue()


def cell(s: Summary) -> str:
    """Mean and interval as text."""
    if s.n == 0:
        return "-"
    return f"{s.mean:.3g} [{s.low:.3g}, {s.high:.3g}]"
