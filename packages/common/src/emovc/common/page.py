"""Static pages to listen to: plain HTML beside the audio, no scripts, no outside host."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from emovc.common.files import write_text
from emovc.common.scores import Headings, Summary, cell, used_metrics

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
       color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .35rem .7rem; text-align: left; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
section { border-top: 2px solid #eee; padding: 1rem 0; }
section div { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; } figcaption { color: #666; } audio { width: 15rem; }
img { max-width: min(100%, 34rem); }
.scroll { overflow-x: auto; } .caption { color: #666; }
"""


class Sample(NamedTuple):
    """One sentence of the page.

    Attributes:
        title: Heading.
        text: What is said.
        audio: Audio files relative to the page, by name.
        pictures: Pictures relative to the page.
    """

    title: str
    text: str
    audio: Mapping[str, str]
    pictures: Sequence[str]


def score_table(rows: Mapping[str, Mapping[str, Summary]], first: str, headings: Headings) -> str:
    """Table of scores in HTML; metrics that no row has are left out."""
    used = used_metrics(rows, headings)
    lines = [[first, *(headings[m] for m in used)]]
    lines += [[name, *(cell(metrics[m]) for m in used)] for name, metrics in rows.items()]
    return html_table(lines)


def html_table(lines: Sequence[Sequence[object]], kind: str = "number") -> str:
    """A table in HTML.

    Args:
        lines: Cells of each line, the head first, and the head of each line first.
        kind: Class of the cells in the style: ``number`` or ``text``.
    """
    head, *body = [[escape(str(cell)) for cell in line] for line in lines]
    rows = ["".join(f"<th>{cell}</th>" for cell in head)]
    for first, *others in body:
        rows.append(f"<th>{first}</th>" + "".join(f'<td class="{kind}">{c}</td>' for c in others))
    inside = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table>{inside}</table></div>'


def judge_table(judges: Sequence[Mapping[str, Any]]) -> str:
    """Table of the judges of an evaluation: what they are, and how they are marked."""
    if not judges:
        return ""
    lines = [["judge", "what it is", "marks"]]
    for judge in judges:
        about = "; ".join(f"{k} {v}" for k, v in judge["about"].items() if v not in (None, [], ""))
        lines.append([judge["name"], about, "; ".join(judge["marks"])])
    return html_table(lines, "text")


def write_page(
    path: Path, title: str, notes: Sequence[str], tables: Sequence[str], samples: Sequence[Sample]
) -> None:
    """Write a page.

    Args:
        path: HTML file.
        title: Title.
        notes: How the numbers came about, a line each.
        tables: Tables in HTML.
        samples: Sentences with players and pictures.
    """
    caption = "<br>\n".join(map(escape, notes))
    parts = [f"<h1>{escape(title)}</h1>", *tables, f'<p class="caption">{caption}</p>']
    parts += map(_section, samples)
    html = (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title><style>{STYLE}</style>\n<body>\n"
    )
    write_text(path, html + "\n".join(parts) + "\n</body></html>\n")


def _section(sample: Sample) -> str:
    """One sentence: players and pictures."""
    players = "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<audio controls preload="none" src="{escape(quote(file))}"></audio></figure>\n'
        for name, file in sample.audio.items()
    )
    images = "".join(
        f'<img src="{escape(quote(file))}" alt="{escape(sample.title)}" loading="lazy">\n'
        for file in sample.pictures
    )
    return (
        f"<section><h2>{escape(sample.title)}</h2><p>{escape(sample.text)}</p>\n"
        f"<div>{players}</div><div>{images}</div></section>"
    )
