"""What an experiment on synthesised emotion leaves: rows, tables, figures, a page to listen to."""

import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emovc.common.csv_text import csv_of_records
from emovc.common.files import write_json, write_text
from emovc.common.markdown import markdown_table
from emovc.common.page import html_table, write_page
from emovc.common.pictures import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
Table = Sequence[Sequence[object]]  # the first line is the head


class Report(NamedTuple):
    """What was found.

    Attributes:
        title: Heading of the page.
        notes: How it came about, a line each.
        tables: Tables by caption.
        figures: Figures by file name.
        caption: Column of the rows that stands under each player, with its format.
    """

    title: str
    notes: list[str]
    tables: dict[str, Table]
    figures: "dict[str, Figure]"
    caption: tuple[str, str]


def write_spoken(out: Path, name: str, rows: Rows, report: Report, settings: Any) -> None:
    """Write ``NAME.{md,csv,json}``, figures and ``index.html``, and print the tables.

    Args:
        out: Folder, with the audio of the rows.
        name: Name of the experiment.
        rows: What was said and measured.
        report: What was found in it.
        settings: What it depends on.
    """
    parts = [f"{title}:\n\n{markdown_table(table)}" for title, table in report.tables.items()]
    text = "\n\n".join([*report.notes, *parts])
    write_text(out / f"{name}.md", text + "\n")
    tables = {title: [list(map(str, line)) for line in t] for title, t in report.tables.items()}
    write_json(out / f"{name}.json", {"settings": settings, "tables": tables, "rows": list(rows)})
    write_text(out / f"{name}.csv", csv_of_records(rows))
    for file, figure in report.figures.items():
        save_figure(figure, out / file)
    grids = dict.fromkeys(str(row["grid"]) for row in rows)
    html = [f"<h2>{escape(title)}</h2>{html_table(t)}" for title, t in report.tables.items()]
    html += [
        f'<img src="{escape(f)}" alt="{escape(f)}" style="max-width: 100%">' for f in report.figures
    ]
    html += [
        audio_grid(grid, [r for r in rows if r["grid"] == grid], report.caption) for grid in grids
    ]
    write_page(out / "index.html", report.title, report.notes, html, [])
    sys.stdout.write(f"\n{text}\n\n{out / 'index.html'}\n")


def audio_grid(title: str, rows: Rows, caption: tuple[str, str]) -> str:
    """Players in rows and columns, each with a number under it."""
    across = list(dict.fromkeys(str(row["column"]) for row in rows))
    down = list(dict.fromkeys(str(row["row"]) for row in rows))
    cells: dict[tuple[str, str], str] = {}
    for row in rows:
        value = row.get(caption[0])
        said = "" if value is None else format(value, caption[1])
        place = str(row["row"]), str(row["column"])
        cells[place] = cells.get(place, "") + (
            f'<figure><audio controls preload="none" src="{escape(str(row["audio"]))}"></audio>'
            f"<figcaption>{escape(said)}</figcaption></figure>"
        )
    lines = ["<th></th>" + "".join(f"<th>{escape(name)}</th>" for name in across)]
    for name in down:
        players = "".join(f"<td>{cells.get((name, column), '')}</td>" for column in across)
        lines.append(f"<th>{escape(name)}</th>{players}")
    inside = "\n".join(f"<tr>{line}</tr>" for line in lines)
    below = f'<p class="caption">below each: {escape(caption[0])}</p>'
    table = f'<div class="scroll"><table>{inside}</table></div>'
    return f'<section class="grid"><h2>{escape(title)}</h2>{below}{table}</section>'


def mean_of(rows: Rows, name: str) -> float:
    """Mean of a column over the rows that have it."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return float(np.mean(values)) if values else float("nan")


def two(value: float) -> str:
    """A number with two digits after the point, a dash for none."""
    return "–" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}"  # no -0.00
