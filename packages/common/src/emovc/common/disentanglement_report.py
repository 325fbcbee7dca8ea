"""The disentanglement report: JSON, CSV, Markdown, a heat map and a page."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emovc.common.code_measures import Found
from emovc.common.csv_text import csv_text
from emovc.common.disentanglement_tables import (
    READER_NAMES,
    Report,
    Table,
    label,
    moved,
    tables,
)
from emovc.common.files import without_nan, write_json, write_text
from emovc.common.markdown import markdown_table
from emovc.common.page import Sample, html_table, write_page
from emovc.common.pictures import save_figure
from emovc.common.probes import READERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(out: Path, report: Report, samples: Sequence[Sample] = ()) -> None:
    """Write ``disentanglement.json``, ``.csv``, ``.md``, ``probes.png`` and ``index.html``.

    Args:
        out: Folder.
        report: What was measured.
        samples: Swaps to listen to.
    """
    write_json(out / "disentanglement.json", to_json(report))
    write_text(out / "disentanglement.csv", to_csv(report))
    write_text(out / "disentanglement.md", to_markdown(report) + "\n")
    save_figure(draw_probes(report.probes), out / "probes.png")
    parts = [_to_html(table) for table in tables(report)]
    gaps = "".join(f"<li>{escape(gap)}</li>" for gap in report.gaps)
    parts.append(f"<h2>What is missing</h2><ul>{gaps or '<li>nothing</li>'}</ul>")
    caption = "; ".join(f"{k} {v}" for k, v in report.settings.items())
    picture = Sample("Probes", "0 is chance, 1 is all.", {}, ["probes.png"])
    write_page(out / "index.html", "Disentanglement", caption, parts, [picture, *samples])


def to_json(report: Report) -> dict[str, Any]:
    """The report in plain values, NaN as null."""
    probes = [{**f._asdict(), "reading": f.reading._asdict()} for f in report.probes]
    swaps = [s._asdict() for s in report.swaps]
    record = {**report._asdict(), "probes": probes, "swaps": swaps, "moved": moved(report)}
    return without_nan(record)


def to_csv(report: Report) -> str:
    """One line per number: part, network, code, what it was compared with, measure, value."""
    lines: list[list[Any]] = []
    for network, found in report.information.items():
        for pair, measures in found["pairs"].items():
            lines += [["mi", network, pair, "", m, mean, sd] for m, (mean, sd) in measures.items()]
    for f in report.probes:
        place = ["probe", f.network, f.code, f.target]
        values = {"score": f.reading.score, "shuffled": f.reading.shuffled}
        values["chance"] = f.reading.chance
        lines += [[*place, f"{f.reader} {m}", value, ""] for m, value in values.items()]
    for s in report.swaps:
        for side, values in (("host", s.host), ("donor", s.donor)):
            lines += [
                ["swap", s.kind, s.code, f"{side} of {s.pair}", m, v, ""] for m, v in values.items()
            ]
    return csv_text(["part", "group", "code", "with", "measure", "value", "sd"], lines)


def to_markdown(report: Report) -> str:
    """All tables, and what is missing."""
    parts = []
    for table in tables(report):
        text = markdown_table([table.head, *table.rows])
        parts.append(f"## {table.title}\n\n{text}\n\n{table.note}")
    gaps = "\n".join(f"* {gap}" for gap in report.gaps) or "* nothing"
    parts.append(f"## What is missing\n\n{gaps}")
    parts.append("; ".join(f"{k} {v}" for k, v in report.settings.items()))
    return "\n\n".join(parts)


def draw_probes(probes: Sequence[Found]) -> "Figure":
    """Heat map of code and target for each reader, from chance (0) to all (1)."""
    from matplotlib.figure import Figure

    codes = list(dict.fromkeys((f.network, f.code) for f in probes))
    targets = list(dict.fromkeys(f.target for f in probes))
    size = (2 + 1.1 * len(targets) * len(READERS), 1 + 0.4 * len(codes))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(READERS), sharey=True, squeeze=False)[0]
    for axis, reader in zip(axes, READERS, strict=True):
        grid = np.full((len(codes), len(targets)), np.nan)
        for f in (f for f in probes if f.reader == reader):
            y, x = codes.index((f.network, f.code)), targets.index(f.target)
            score, _, chance, _, _ = f.reading
            grid[y, x] = np.clip((score - chance) / (1 - chance), 0, 1)
            colour = "white" if grid[y, x] < 0.6 else "black"
            axis.text(x, y, f"{score:.2f}", ha="center", va="center", color=colour)
        axis.imshow(grid, vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(targets)), targets, rotation=30)
        axis.set_yticks(range(len(codes)), [label(*c) for c in codes])
        axis.set_title(READER_NAMES[reader], fontsize="medium")
    return figure


def _to_html(table: Table) -> str:
    """A table with its title and note."""
    return (
        f"<h2>{escape(table.title)}</h2>{html_table([table.head, *table.rows])}"
        f'<p class="caption">{escape(table.note)}</p>'
    )
