"""Tables and figure of the ablation experiment."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emovc.common.csv_text import csv_text
from emovc.common.files import write_json, write_text
from emovc.common.markdown import markdown_table
from emovc.common.pictures import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The paper's full model on English ESD with judges we don't know; second-hand, see the README.
PRINTED = {"mcd_db": 4.596, "accuracy": 0.830, "strength_rmse": 0.117}
PRINTED_NAME = "printed: Stage I & II (ESD)"
REFERENCES = ("source", "copy-synthesis", "target")
HEADINGS = {
    "cue_in_silence": "cue in silence / speech",
    "shift_by_pause": "shift by 0.5 s pause",
    "shift_by_pause_pooled": "of a plain mean",
    "strength_order": "strengths in order",
    "emotion_in_content": "emotion in content",
    "emotion_in_vector": "emotion in vector",
}


class Row(NamedTuple):
    """One model of the table.

    Attributes:
        name: Name of the row.
        run: Its run.
        summary: ``summary.json`` of its evaluation.
        properties: What :func:`~emovc.ainn.properties.look_at` found.
    """

    name: str
    run: str
    summary: dict[str, Any]
    properties: dict[str, float]


def columns_of(summary: dict[str, Any]) -> dict[str, str]:
    """Metrics of the table with their headings: the paper's three, then what else there is."""
    known = {m: heading for judge in summary["judges"] for m, heading in judge["metrics"].items()}
    first = {"mcd_db": "MCD (dB)"}
    first |= {m: h for m, h in known.items() if m.startswith("emotion_accuracy")}
    first |= {m: h for m, h in known.items() if m.startswith("strength_rmse")}
    rest = {"f0_rmse_st": "F0 RMSE (semitones)", "f0_corr": "F0 correlation"} | known
    shown = summary["rows"]["target"]
    return {m: h for m, h in (first | rest).items() if m in shown}


def write_report(out: Path, rows: Sequence[Row], manifest: Path, split: str) -> None:
    """Write ``ainn.{md,csv,json,png}`` and print the tables."""
    text = "\n\n".join([_table(rows), _property_table(rows), *_notes(rows, manifest, split)])
    write_json(
        out / "ainn.json",
        {"printed": PRINTED, "rows": {r.name: r.summary["rows"]["model"] for r in rows}}
        | {"properties": {r.name: r.properties for r in rows}},
    )
    write_text(out / "ainn.csv", _csv(rows))
    write_text(out / "ainn.md", text + "\n")
    save_figure(draw(rows), out / "ainn.png")
    sys.stdout.write(f"\n{text}\n\n{out}\n")


def _table(rows: Sequence[Row]) -> str:
    """Measures of conversion, with intervals."""
    columns = columns_of(rows[0].summary)
    printed = [str(PRINTED.get(_printed_key(m) or "", "-")) for m in columns]
    lines = [["row", *columns.values()], [PRINTED_NAME, *printed]]
    for name in REFERENCES:
        lines.append([name, *_cells(rows[0].summary["rows"].get(name, {}), columns)])
    lines += [[r.name, *_cells(r.summary["rows"].get("model", {}), columns)] for r in rows]
    return markdown_table(lines)


def _printed_key(metric: str) -> str | None:
    """Which printed number belongs to a metric."""
    if metric == "mcd_db":
        return metric
    if metric.startswith("emotion_accuracy"):
        return "accuracy"
    return "strength_rmse" if metric.startswith("strength_rmse") else None


def _cells(found: dict[str, Any], columns: dict[str, str]) -> list[str]:
    """Mean and interval of each metric."""
    cells = []
    for metric in columns:
        s = found.get(metric)
        cells.append(f"{s['mean']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" if s and s["n"] else "-")
    return cells


def _property_table(rows: Sequence[Row]) -> str:
    """What the models look like inside."""
    lines = [["inside", *HEADINGS.values()]]
    lines += [[r.name, *(f"{r.properties[k]:.3f}" for k in HEADINGS)] for r in rows]
    return markdown_table(lines)


def _notes(rows: Sequence[Row], manifest: Path, split: str) -> list[str]:
    """What the numbers are of."""
    summary = rows[0].summary
    notes = [
        f"{manifest}, split {split}, {summary['pairs']} pairs from neutral; reference:"
        f" {summary['settings']['reference']}; vocoder {summary['settings']['vocoder']}; intervals"
        " by bootstrap over speakers. Strength is the ranker's, never R_s; probes are linear, five"
        " folds over utterances, chance is one over the number of categories."
    ]
    notes += [f"{j['name']}: {mark}" for j in summary["judges"] for mark in j["marks"]]
    return [*notes, *(f"{r.name}: {r.run}" for r in rows)]


def _csv(rows: Sequence[Row]) -> str:
    """One line per row and measure."""
    lines: list[list[Any]] = [
        [PRINTED_NAME, measure, value, "", "", ""] for measure, value in PRINTED.items()
    ]
    for row in rows:
        for metric, s in row.summary["rows"].get("model", {}).items():
            if s["n"]:
                lines.append([row.name, metric, s["mean"], s["low"], s["high"], s["n"]])
        for measure, value in row.properties.items():
            lines.append([row.name, measure, value, "", "", ""])
    return csv_text(["row", "measure", "mean", "low", "high", "n"], lines)


def draw(rows: Sequence[Row]) -> "Figure":
    """The paper's three measures as bars with intervals, and its number as a line."""
    from matplotlib.figure import Figure

    columns = {m: h for m, h in columns_of(rows[0].summary).items() if _printed_key(m)}
    figure = Figure(figsize=(3.4 * len(columns), 0.9 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for axis, (metric, heading) in zip(axes, columns.items(), strict=True):
        for place, row in enumerate(rows):
            s = row.summary["rows"].get("model", {}).get(metric)
            if s and s["n"]:
                axis.barh(place, s["mean"], 0.7, color="#1f5fa8")
                axis.plot([s["low"], s["high"]], [place, place], color="#222222", linewidth=1.2)
        printed = PRINTED[_printed_key(metric) or ""]
        axis.axvline(printed, color="#c04a2b", linestyle="--", label="printed")
        axis.set_title(heading, fontsize="medium")
        axis.set_yticks(range(len(rows)), [r.name for r in rows])
        axis.grid(axis="x", color="#dddddd")
    axes[0].invert_yaxis()
    axes[0].legend(fontsize="small")
    return figure
