"""Evaluations of several models beside each other, on the sentences that all of them share."""

from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emovc.common.comparison_reading import COPY, Evaluation
from emovc.common.comparison_statistics import Difference, holm, paired_difference
from emovc.common.errors import UserError
from emovc.common.scores import ABSOLUTE, METRICS, ROOT_MEAN_SQUARE, Score, Table, summarise

COPY_TOLERANCE_DB = 1e-3


class Comparison(NamedTuple):
    """Models beside each other.

    Attributes:
        models: Their evaluations.
        pairs: Ids of the pairs they share.
        metrics: Headings of the metrics by name.
        judges: Judges whose scores can be compared, with their marks by model.
        columns: Scores by column (source, target, copy-synthesis, models) and pair.
        audio: Recordings by column and pair.
        copy_of: Column of copy-synthesis of each model.
        notes: What is missing or to be borne in mind, a line each.
    """

    models: list[Evaluation]
    pairs: list[str]
    metrics: dict[str, str]
    judges: list[dict[str, Any]]
    columns: dict[str, dict[str, Score]]
    audio: dict[str, dict[str, Path]]
    copy_of: dict[str, str]
    notes: list[str]

    def values(self, column: str, metric: str) -> np.ndarray:
        """Values of a metric by pair, NaN where there is none, (P,).

        What the table averages: durations by their size, errors of strength and arousal squared.
        """
        scores = self.columns[column]
        found = [scores[p].metrics.get(metric) if p in scores else None for p in self.pairs]
        values = np.array(found, dtype=float)
        if metric.startswith(ROOT_MEAN_SQUARE):
            return np.square(values)
        return np.abs(values) if metric in ABSOLUTE else values

    def table(self) -> Table:
        """Means and intervals by column and metric."""
        return {
            column: {m: summarise(list(scores.values()), m) for m in self.metrics}
            for column, scores in self.columns.items()
        }

    def about(self, pair: str) -> Score:
        """A score of the pair: its speaker and emotion."""
        return next(scores[pair] for scores in self.columns.values() if pair in scores)


def align(models: list[Evaluation]) -> Comparison:
    """Put evaluations side by side, on the pairs that all of them scored.

    Raises:
        UserError: They share no pair.
    """
    shared = set(models[0].pairs).intersection(*(set(m.pairs) for m in models[1:]))
    pairs = [pair for pair in models[0].pairs if pair in shared]
    if not pairs:
        raise UserError(f"{models[-1].folder}: shares no sentence with {models[0].folder}")
    notes = [f"{m.name}: {line}" for m in models for line in m.gaps]
    notes += [
        f"{m.name}: {len(m.pairs)} sentences were scored, of which the {len(pairs)} shared by all"
        " are compared"
        for m in models
        if len(m.pairs) > len(pairs)
    ]
    judges, metrics = _judges(models, notes)
    columns: dict[str, dict[str, Score]] = {}
    audio: dict[str, dict[str, Path]] = {}
    copies = _copies(models, pairs)
    layout = [("source", "source", models), ("target", "target", models)]
    layout += [(column, COPY, group) for column, group in copies.items()]
    layout += [(m.name, "model", [m]) for m in models]
    for column, row, sources in layout:
        merged = {p: s for p in pairs if (s := _merged([m.rows.get(row, {}) for m in sources], p))}
        files = {p: f for p in pairs for m in sources[::-1] if (f := m.audio(row, p))}
        columns[column], audio[column] = merged, files
        for what, there in (("scores", merged), ("audio", files)):
            absent = [p for p in pairs if p not in there]
            if absent:
                notes.append(f"{column}: no {what} of {len(absent)} sentences, as of {absent[0]}")
    every = [s.metrics for scores in columns.values() for s in scores.values()]
    used = {name for one in every for name, value in one.items() if np.isfinite(value)}
    metrics = {name: heading for name, heading in metrics.items() if name in used}
    copy_of = {m.name: column for column, group in copies.items() for m in group}
    return Comparison(models, pairs, metrics, judges, columns, audio, copy_of, notes)


def differences(comparison: Comparison) -> list[Difference]:
    """Every model against every other by metric; Holm's correction is over the metrics."""
    speakers = [comparison.about(pair).speaker for pair in comparison.pairs]
    found = []
    for a, b in combinations([m.name for m in comparison.models], 2):
        rows = [
            paired_difference(a, b, m, comparison.values(a, m), comparison.values(b, m), speakers)
            for m in comparison.metrics
        ]
        corrected = holm([row.p for row in rows])
        found += [row._replace(p_holm=p) for row, p in zip(rows, corrected, strict=True)]
    return [row for row in found if row.n]


def _copies(models: list[Evaluation], pairs: list[str]) -> dict[str, list[Evaluation]]:
    """Columns of copy-synthesis, and the evaluations that each is taken from.

    There is one column for all models if they have the same vocoder and front end, else one for
    each that differs: a model can't be better than its own copy-synthesis.
    """
    groups: list[tuple[list[float], list[Evaluation]]] = []
    for model in models:
        scores = model.rows.get(COPY, {})
        level = [scores[p].metrics["mcd_db"] if p in scores else np.nan for p in pairs]
        for known, group in groups:
            if np.allclose(known, level, atol=COPY_TOLERANCE_DB, equal_nan=True):
                group.append(model)
                break
        else:
            groups.append((level, [model]))
    if len(groups) == 1:
        return {COPY: models}
    return {f"{COPY} ({', '.join(m.name for m in group)})": group for _, group in groups}


def _merged(rows: list[dict[str, Score]], pair: str) -> Score | None:
    """A pair's score with the metrics and labels of all evaluations; the first one's win."""
    scores = [row[pair] for row in rows if pair in row]
    if not scores:
        return None
    metrics = {name: v for s in scores[::-1] for name, v in s.metrics.items()}
    labels = {name: v for s in scores[::-1] for name, v in s.labels.items()}
    return scores[0]._replace(metrics=metrics, labels=labels)


def _judges(
    models: list[Evaluation], notes: list[str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Judges whose scores can be set side by side, and the headings of all metrics.

    A judge that isn't the same in all evaluations (other weights or settings) is left out with a
    note; one that some evaluations lack stays, with a note too.
    """
    by_name: dict[str, dict[str, dict[str, Any]]] = {}
    for model in models:
        for judge in model.judges:
            by_name.setdefault(judge["name"], {})[model.name] = judge
    kept: list[dict[str, Any]] = []
    metrics = dict(METRICS) | _unannounced(models)
    for name, judge_of in by_name.items():
        first = next(iter(judge_of.values()))
        other = [m for m, judge in judge_of.items() if judge["about"] != first["about"]]
        if other:
            notes.append(
                f"{name}: another judge in {other[0]} than in {next(iter(judge_of))} (settings or"
                " weights differ); its scores are left out"
            )
            continue
        absent = [m.name for m in models if m.name not in judge_of]
        if absent:
            notes.append(f"{name}: this judge didn't hear {', '.join(absent)}")
        marks = {m: judge["marks"] for m, judge in judge_of.items() if judge["marks"]}
        kept.append({**first, "marks": marks})
        metrics |= first["metrics"]
    return kept, metrics


def _unannounced(models: list[Evaluation]) -> dict[str, str]:
    """Headings of metrics that no judge of any evaluation announces, as of older versions."""
    announced = {name for model in models for judge in model.judges for name in judge["metrics"]}
    names = {
        name: name.replace("_", " ")
        for model in models
        for row in model.rows.values()
        for score in row.values()
        for name in score.metrics
    }
    return {n: text for n, text in names.items() if n not in announced and n not in METRICS}
