"""A page to listen to: every row a sentence, every column a model. Plain HTML, no scripts."""

import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from emovc.common.comparison import Comparison
from emovc.common.comparison_statistics import Difference
from emovc.common.comparison_tables import (
    caption,
    difference_rows,
    judge_rows,
    model_rows,
    score_rows,
)
from emovc.common.files import atomic_path, write_text
from emovc.common.page import STYLE
from emovc.common.scores import Table

OWN_STYLE = """
body { max-width: 96rem; }
.listening { max-height: 90vh; overflow: auto; border: 1px solid #ddd; }
.listening table { margin: 0; }
.listening thead th { position: sticky; top: 0; background: #f4f4f4; z-index: 2; }
.listening tbody th { position: sticky; left: 0; background: #fff; z-index: 1; min-width: 13rem;
                      max-width: 18rem; font-weight: normal; }
.listening td { min-width: 12.5rem; vertical-align: top; }
.listening audio { width: 12rem; height: 2.2rem; display: block; }
.listening small, .words { color: #555; display: block; }
.missing { color: #8a1c1c; }
.plots img { max-width: 100%; display: block; margin: 1.5rem 0; }
"""


def copy_audio(comparison: Comparison, folder: Path) -> dict[str, dict[str, str]]:
    """Copy the recordings beside the page, so that its folder can be moved.

    Args:
        comparison: What is compared.
        folder: Folder of the page.

    Returns:
        Files relative to the page, by column and pair.
    """
    found: dict[str, dict[str, str]] = {}
    for column, files in comparison.audio.items():
        found[column] = {}
        for pair, file in files.items():
            name = f"audio/{column.replace('/', '_')}/{pair}.wav"
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(file, temporary)
            found[column][pair] = name
    return found


def write_comparison_page(
    path: Path,
    comparison: Comparison,
    table: Table,
    found: Sequence[Difference],
    plots: Sequence[Path],
) -> None:
    """Write the page, and copy the recordings beside it.

    Args:
        path: HTML file.
        comparison: What is compared.
        table: Its scores.
        found: Its paired tests.
        plots: Pictures below the folder of the page.
    """
    audio = copy_audio(comparison, path.parent)
    names = [model.name for model in comparison.models]
    parts = [
        f"<h1>{escape(' and '.join(names))}</h1>",
        _table("scores", score_rows(comparison, table)),
        f'<p class="caption">{escape(caption(comparison, found))}</p>',
        *_notes(comparison.notes),
        "<h2>Listen</h2>",
        listening_table(comparison, audio),
    ]
    if found:
        parts += ["<h2>Differences</h2>", _table("differences", difference_rows(comparison, found))]
    parts += ["<h2>Pictures</h2>", _pictures(plots, path.parent)]
    if comparison.judges:
        parts += ["<h2>Judges</h2>", _table("judges", judge_rows(comparison))]
    parts += ["<h2>How they were made</h2>", _table("models", model_rows(comparison))]
    title = escape(" and ".join(names))
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">\n'
        f"<title>{title}</title><style>{STYLE}{OWN_STYLE}</style></head>\n<body>\n"
    )
    write_text(path, head + "\n".join(parts) + "\n</body></html>\n")


def listening_table(comparison: Comparison, audio: dict[str, dict[str, str]]) -> str:
    """Players: a row per sentence; source and target first, then copy-synthesis and the models.

    Args:
        comparison: What is compared.
        audio: Files by column and pair.
    """
    columns = list(comparison.columns)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ["sentence", *columns])
    body = ""
    for pair in comparison.pairs:
        cells = "".join(_cell(comparison, audio, column, pair) for column in columns)
        body += f'<tr data-pair="{escape(pair)}">{_sentence(comparison, pair)}{cells}</tr>\n'
    return (
        f'<div class="listening"><table><thead><tr>{head}</tr></thead>\n<tbody>\n'
        f"{body}</tbody></table></div>"
    )


def _sentence(comparison: Comparison, pair: str) -> str:
    """First cell of a row: speaker, emotion and words."""
    who = comparison.about(pair)
    text = next((m.texts[pair] for m in comparison.models if m.texts.get(pair)), pair)
    return (
        f'<th scope="row">{escape(who.speaker)}, {escape(who.emotion)}'
        f'<span class="words">{escape(text)}</span></th>'
    )


def _cell(comparison: Comparison, audio: dict[str, dict[str, str]], column: str, pair: str) -> str:
    """A player and what the judges heard, or that there is nothing to hear."""
    file = audio[column].get(pair)
    if file is None:
        return '<td class="missing">no recording</td>'
    score = comparison.columns[column].get(pair)
    judges = [j["name"] for j in comparison.judges]
    heard = [(j, score.labels.get(f"emotion_{j}")) for j in judges] if score else []
    said = "".join(f"<small>{escape(j)}: {escape(label)}</small>" for j, label in heard if label)
    name = escape(f"{column}: {pair}")
    address = escape(quote(file))
    player = f'<audio controls preload="none" aria-label="{name}" src="{address}"></audio>'
    return f'<td data-column="{escape(column)}">{player}{said}</td>'


def _table(name: str, rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head, the first cell of each row its name."""
    head = "".join(f"<th>{escape(text)}</th>" for text in rows[0])
    body = ""
    for row in rows[1:]:
        cells = "".join(f'<td class="number">{escape(text)}</td>' for text in row[1:])
        body += f"<tr><th>{escape(row[0])}</th>{cells}</tr>\n"
    return f'<div class="scroll"><table id="{name}"><tr>{head}</tr>\n{body}</table></div>'


def _notes(notes: Sequence[str]) -> list[str]:
    """What is missing."""
    items = "".join(f"<li>{escape(note)}</li>\n" for note in notes)
    return [f'<ul id="notes">{items}</ul>'] if notes else []


def _pictures(plots: Sequence[Path], folder: Path) -> str:
    """The pictures below each other."""
    files = [(plot.relative_to(folder).as_posix(), plot.stem) for plot in plots]
    images = "".join(f'<img src="{escape(quote(f))}" alt="{escape(name)}">\n' for f, name in files)
    return f'<div class="plots">{images}</div>'
