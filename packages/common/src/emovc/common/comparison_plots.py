"""Pictures of a comparison: bars by metric and by emotion, what was heard, a scatter."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emovc.common.comparison import Comparison
from emovc.common.comparison_reading import COPY, REFERENCES
from emovc.common.comparison_statistics import Confusion
from emovc.common.comparison_tables import by_emotion, confusions
from emovc.common.files import atomic_path
from emovc.common.scores import Summary, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREYS = ("#8c8c8c", "#404040", "#c4c4c4")  # source, target, copy-synthesis
# Colours that the colour-blind can tell apart (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
PANELS_A_ROW = 3
LETTERS_AN_INCH, LETTERS_OF_A_HANDLE = 12, 7


def write_plots(comparison: Comparison, table: Table, folder: Path) -> list[Path]:
    """Draw everything that there are scores for.

    Returns:
        The pictures, in the order a reader wants them.
    """
    figures = {"metrics": draw_bars(comparison, table)}
    emotion, speaker = emotion_metrics(comparison.metrics), speaker_metrics(comparison.metrics)
    if emotion and speaker:
        figures["emotion_and_speaker"] = draw_scatter(comparison, table, emotion, speaker)
    for judge, columns in confusions(comparison).items():
        figures[f"confusion_{judge}"] = draw_confusions(judge, columns)
    figures["emotions"] = draw_emotions(comparison)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name.replace('/', '_')}.png")
        with atomic_path(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=100)
    return paths


def emotion_metrics(metrics: Iterable[str]) -> list[str]:
    """How often judges heard the wanted emotion."""
    return [m for m in metrics if m.startswith("emotion_accuracy")]


def speaker_metrics(metrics: Iterable[str]) -> list[str]:
    """Similarities with the target's voice, without their controls."""
    controls = ("speaker_similarity_same_speaker", "speaker_similarity_other_speaker")
    found = [m for m in metrics if m.startswith("speaker_similarity")]
    return [m for m in found if not m.startswith(controls)]


def colours(comparison: Comparison) -> dict[str, str]:
    """Greys for source, target and copy-synthesis, a colour for each model."""
    found = dict(zip(REFERENCES, GREYS, strict=True))
    found |= dict.fromkeys(comparison.copy_of.values(), found[COPY])
    for i, model in enumerate(comparison.models):
        found[model.name] = COLOURS[i % len(COLOURS)]
    return {column: found[column] for column in comparison.columns}


def draw_bars(comparison: Comparison, table: Table) -> "Figure":
    """One panel per metric, one bar with its interval per column."""
    shown = [m for m in comparison.metrics if any(row[m].n for row in table.values())]
    colour, names = colours(comparison), list(table)
    figure, axes = _panels(len(shown), height=0.7 + 0.28 * len(names), share_y=True)
    for axis, metric in zip(axes, shown, strict=True):
        for place, name in enumerate(names):
            summary = table[name][metric]
            if summary.n:
                axis.barh(place, summary.mean, 0.75, color=colour[name])
                _interval(axis, summary, y=place)
        axis.set_title(comparison.metrics[metric], fontsize="medium")
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.grid(axis="x", color="#dddddd")
    return figure


def draw_emotions(comparison: Comparison) -> "Figure":
    """One panel per metric, grouped bars with intervals per target emotion."""
    tables = {m: by_emotion(comparison, m) for m in comparison.metrics}
    shown = {
        m: t for m, t in tables.items() if any(s.n for row in t.values() for s in row.values())
    }
    colour = colours(comparison)
    figure, axes = _panels(len(shown), height=2.3)
    width = 0.84 / len(colour)
    for axis, (metric, table) in zip(axes, shown.items(), strict=True):
        for i, (name, row) in enumerate(table.items()):
            for place, summary in enumerate(row.values()):
                if summary.n:
                    x = place + (i - (len(table) - 1) / 2) * width
                    axis.bar(x, summary.mean, 0.9 * width, color=colour[name])
                    _interval(axis, summary, x=x)
        emotions = list(next(iter(table.values())))
        axis.set_xticks(range(len(emotions)), emotions, rotation=30 if len(emotions) > 4 else 0)
        axis.set_title(comparison.metrics[metric], fontsize="medium")
        axis.grid(axis="y", color="#dddddd")
    _legend(figure, colour, "s")
    return figure


def draw_scatter(
    comparison: Comparison, table: Table, emotion: Sequence[str], speaker: Sequence[str]
) -> "Figure":
    """Emotion scores against speaker similarities, with both intervals: the two pull apart."""
    couples = [(s, e) for e in emotion for s in speaker]
    colour = colours(comparison)
    figure, axes = _panels(len(couples), height=3.0)
    for axis, (across, upward) in zip(axes, couples, strict=True):
        for name, row in table.items():
            x, y = row[across], row[upward]
            if x.n and y.n:
                _interval(axis, x, y=y.mean, colour=colour[name])
                _interval(axis, y, x=x.mean, colour=colour[name])
                axis.plot(x.mean, y.mean, "o", color=colour[name], markersize=7)
        axis.set_xlabel(comparison.metrics[across])
        axis.set_ylabel(comparison.metrics[upward])
        axis.grid(color="#dddddd")
        axis.margins(0.1)
    _legend(figure, colour, "o")
    return figure


def draw_confusions(judge: str, columns: Mapping[str, Confusion]) -> "Figure":
    """What a judge heard of each column, in percent of the sentences of the wanted emotion."""
    rows = len(next(iter(columns.values())).wanted)
    figure, axes = _panels(len(columns), height=1.1 + 0.42 * rows)
    for axis, (name, found) in zip(axes, columns.items(), strict=True):
        percent = 100 * found.counts / found.counts.sum(1, keepdims=True)
        axis.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for (i, j), value in np.ndenumerate(percent):
            shade = "white" if value > 55 else "#222222"
            axis.text(j, i, f"{value:.0f}", ha="center", va="center", color=shade)
        axis.set_xticks(range(len(found.heard)), found.heard, rotation=40, ha="right")
        axis.set_yticks(range(len(found.wanted)), found.wanted)
        axis.set_title(name, fontsize="medium")
    figure.supxlabel(f"heard by {judge}, % of the sentences of a row", fontsize="medium")
    figure.supylabel("wanted", fontsize="medium")
    return figure


def _panels(count: int, height: float, share_y: bool = False) -> tuple["Figure", list[Any]]:
    """A figure of panels in rows of three, the last row cut short."""
    from matplotlib.figure import Figure

    columns = min(count, PANELS_A_ROW)
    rows = ceil(count / columns)
    figure = Figure(figsize=(1.2 + 3.6 * columns, 0.6 + height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).flat)
    for axis in axes[count:]:
        axis.remove()
    for axis in axes[:count]:
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[:count]


def _interval(
    axis: Any,
    summary: Summary,
    x: float | None = None,
    y: float | None = None,
    colour: str = "#111111",
) -> None:
    """A line over an interval: upright at ``x``, or level at ``y``."""
    if x is not None:
        axis.plot([x, x], [summary.low, summary.high], color=colour, linewidth=1.4)
    else:
        axis.plot([summary.low, summary.high], [y, y], color=colour, linewidth=1.4)


def _legend(figure: "Figure", colour: Mapping[str, str], marker: str) -> None:
    """One legend for all panels, below them, as wide as fits."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, marker=marker, linestyle="") for c in colour.values()]
    letters = figure.get_figwidth() * LETTERS_AN_INCH
    fitting = int(letters / (max(map(len, colour)) + LETTERS_OF_A_HANDLE))
    ncols = max(1, min(len(colour), fitting))
    figure.legend(handles, list(colour), loc="outside lower center", ncols=ncols, frameon=False)
