"""Tables of a comparison: Markdown, CSV and JSON."""

from collections.abc import Sequence
from typing import Any

from emovc.common.comparison import Comparison
from emovc.common.comparison_statistics import Confusion, Difference, confusion
from emovc.common.csv_text import csv_text
from emovc.common.files import without_nan
from emovc.common.markdown import markdown_table
from emovc.common.scores import ROOT_MEAN_SQUARE, Summary, Table, cell, summarise

Confusions = dict[str, dict[str, Confusion]]  # by judge and column


def by_emotion(comparison: Comparison, metric: str) -> Table:
    """Summaries of a metric by column and target emotion."""
    emotions = sorted({comparison.about(pair).emotion for pair in comparison.pairs})
    return {
        column: {
            e: summarise([s for s in scores.values() if s.emotion == e], metric) for e in emotions
        }
        for column, scores in comparison.columns.items()
    }


def confusions(comparison: Comparison) -> Confusions:
    """What each judge of emotions heard, by judge and column, all among the same emotions."""
    found: Confusions = {}
    for judge in (j["name"] for j in comparison.judges):
        label = f"emotion_{judge}"
        heard = {
            column: [s for s in scores.values() if label in s.labels]
            for column, scores in comparison.columns.items()
        }
        among = sorted({s.labels[label] for scores in heard.values() for s in scores})
        for column, scores in heard.items():
            if scores:
                names = [s.labels[label] for s in scores]
                counts = confusion([s.emotion for s in scores], names, among)
                found.setdefault(judge, {})[column] = counts
    return found


def score_rows(comparison: Comparison, table: Table) -> list[list[str]]:
    """Head and rows of the score table as text."""
    rows = [["", *comparison.metrics.values()]]
    for column, metrics in table.items():
        rows.append([column, *(cell(metrics[m]) for m in comparison.metrics)])
    return rows


def difference_rows(comparison: Comparison, found: Sequence[Difference]) -> list[list[str]]:
    """Head and rows of the paired tests as text."""
    rows = [["metric", "difference", "mean [95 %]", "p", "p (Holm)", "sentences", "speakers"]]
    for d in found:
        squared = " squared" if d.metric.startswith(ROOT_MEAN_SQUARE) else ""
        what = [comparison.metrics[d.metric] + squared, f"{d.first} − {d.second}"]
        mean = cell(Summary(d.mean, d.low, d.high, d.n))
        drawn = "" if d.exact else " (drawn)"
        p = [f"{d.p:.3g}{drawn}", f"{d.p_holm:.3g}"]
        rows.append([*what, mean, *p, str(d.n), str(d.speakers)])
    return rows


def judge_rows(comparison: Comparison) -> list[list[str]]:
    """Head and rows of the list of judges, with their marks, as text."""
    rows = [["judge", "trained on", "marks"]]
    for judge in comparison.judges:
        trained = ", ".join(judge["about"].get("trained_on") or []) or "not stated"
        marks = "; ".join(f"{m}: {', '.join(lines)}" for m, lines in judge["marks"].items())
        rows.append([judge["name"], trained, marks or "none"])
    return rows


def model_rows(comparison: Comparison) -> list[list[str]]:
    """Head and rows of how each model was evaluated, and what it costs, as text."""
    costs = ["real_time_factor", "parameters", "function_evaluations"]
    names = [cost.replace("_", " ") for cost in costs]
    rows = [["model", "evaluation", "vocoder", "reference given", "settings", *names]]
    for model in comparison.models:
        told = model.settings
        settings = ", ".join(told.get("set") or []) or "none"
        given = [str(told.get(key, "not stated")) for key in ("vocoder", "reference")]
        known = [model.cost.get(cost) for cost in costs]
        numbers = ["-" if v is None else f"{v:,.3g}" if v < 10 else f"{v:,.0f}" for v in known]
        rows.append([model.name, str(model.folder), *given, settings, *numbers])
    return rows


def caption(comparison: Comparison, found: Sequence[Difference]) -> str:
    """What the numbers are, in a sentence or two."""
    told = comparison.models[0].settings
    text = f"{len(comparison.pairs)} sentences of split {told.get('split')}; {told.get('dialect')}."
    text += " Means with 95 % intervals by bootstrap over speakers."
    if found:
        fewest = min(d.speakers for d in found)
        text += (
            " Paired test: signs of whole speakers flipped; with"
            f" {fewest} speakers no p can be below {2.0 ** (1 - fewest):.3g}."
            " Holm's correction is over the metrics of two models."
        )
    return text


def to_markdown(comparison: Comparison, table: Table, found: Sequence[Difference]) -> str:
    """Scores, tests, judges and notes."""
    parts = [markdown_table(score_rows(comparison, table)), caption(comparison, found)]
    if found:
        parts.append(markdown_table(difference_rows(comparison, found)))
    if comparison.judges:
        parts.append(markdown_table(judge_rows(comparison)))
    parts.append(markdown_table(model_rows(comparison)))
    parts += ["\n".join(f"- {note}" for note in comparison.notes)] if comparison.notes else []
    return "\n\n".join(parts) + "\n"


def to_csv(table: Table) -> str:
    """One line per row and metric."""
    rows = [[row, metric, *summary] for row, ms in table.items() for metric, summary in ms.items()]
    return csv_text(["row", "metric", *Summary._fields], rows)


def differences_csv(found: Sequence[Difference]) -> str:
    """One line per two models and metric."""
    return csv_text(Difference._fields, found)


def pairs_csv(comparison: Comparison) -> str:
    """One line per sentence and metric: the value of each column."""
    columns = list(comparison.columns)
    values = {(c, m): comparison.values(c, m) for c in columns for m in comparison.metrics}
    rows = []
    for i, pair in enumerate(comparison.pairs):
        who = comparison.about(pair)
        for m in comparison.metrics:
            rows.append([pair, who.speaker, who.emotion, m, *(values[c, m][i] for c in columns)])
    return csv_text(["pair", "speaker", "emotion", "metric", *columns], rows)


def to_json(comparison: Comparison, table: Table, found: Sequence[Difference]) -> dict[str, Any]:
    """Everything that the page shows, and scores by emotion."""
    emotions = {m: by_emotion(comparison, m) for m in comparison.metrics}
    return {
        "models": {m.name: {"folder": str(m.folder), **m.settings} for m in comparison.models},
        "pairs": comparison.pairs,
        "metrics": comparison.metrics,
        "rows": _plain(table),
        "differences": [without_nan(d._asdict()) for d in found],
        "emotions": {metric: _plain(one) for metric, one in emotions.items()},
        "confusion": {
            judge: {
                column: {"wanted": c.wanted, "heard": c.heard, "counts": c.counts.tolist()}
                for column, c in columns.items()
            }
            for judge, columns in confusions(comparison).items()
        },
        "judges": comparison.judges,
        "notes": comparison.notes,
    }


def _plain(table: Table) -> dict[str, dict[str, dict[str, Any]]]:
    """A table for JSON."""
    return {r: {c: without_nan(s._asdict()) for c, s in cs.items()} for r, cs in table.items()}
