"""Table and figure of what a model reaches at each level it is asked for."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from emovc.common.evaluation_report import count_gaps
from emovc.common.files import write_json, write_text
from emovc.common.panel import Gap
from emovc.common.pictures import save_figure
from emovc.common.scores import Headings, Score, Table, table, to_csv, to_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Levels(NamedTuple):
    """What was asked for.

    Attributes:
        of: ``strength`` or ``arousal``.
        values: The levels, rising.
    """

    of: str
    values: list[float]

    def measured(self, headings: Headings) -> list[str]:
        """Metrics that measure it."""
        beginning = f"{self.of}_"
        return [m for m in headings if m.startswith(beginning) and "rmse" not in m]


class Order(NamedTuple):
    """How well measured values follow the levels.

    Attributes:
        spearman: Mean over pairs of the rank correlation of level and value.
        rising: Share of all steps from a level to the next in which the value rises.
        monotone: Share of pairs whose values rise in every step.
        pairs: Pairs with a value at every level.
    """

    spearman: float
    rising: float
    monotone: float
    pairs: int


def order_of(scores: Sequence[Score], levels: Sequence[float], metric: str) -> Order:
    """How well a metric follows the levels within each pair."""
    names = [f"{level:g}" for level in levels]
    found: dict[str, dict[str, float]] = {}
    for score in scores:
        found.setdefault(score.pair, {})[score.row] = score.metrics.get(metric, float("nan"))
    rows = [[values.get(name, float("nan")) for name in names] for values in found.values()]
    values = np.array([row for row in rows if np.isfinite(row).all()]).reshape(-1, len(names))
    if not len(values) or len(names) < 2:
        nan = float("nan")
        return Order(nan, nan, nan, len(values))
    steps = np.diff(values, axis=1) > 0
    ranks = [_rank_correlation(np.array(levels), row) for row in values]
    return Order(
        float(np.mean(ranks)), float(steps.mean()), float(steps.all(1).mean()), len(values)
    )


def _rank_correlation(levels: np.ndarray, values: np.ndarray) -> float:
    """Spearman's correlation; 0 where the values don't differ."""
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(levels), rankdata(values))[0, 1])


def write_report(
    out: Path,
    levels: Levels,
    scores: Sequence[Score],
    gaps: Sequence[Gap],
    headings: Headings,
    settings: dict[str, Any],
    judges: list[dict[str, Any]],
) -> None:
    """Write ``control.csv``, ``control.json``, ``control.md`` and ``control.png``, and print."""
    rows = table(scores, headings)
    measured = levels.measured(headings)
    orders = {m: order_of(scores, levels.values, m) for m in measured}
    summary = {
        "settings": settings,
        "rows": {r: {m: s._asdict() for m, s in found.items() if s.n} for r, found in rows.items()},
        "order": {metric: order._asdict() for metric, order in orders.items()},
        "judges": judges,
        "gaps": count_gaps(gaps),
    }
    text = "\n\n".join([to_markdown(rows, levels.of, headings), *_notes(orders, judges, gaps)])
    write_json(out / "control.json", summary)
    write_text(out / "control.csv", to_csv(scores, headings))
    write_text(out / "control.md", text + "\n")
    save_figure(draw(levels, rows, measured, headings), out / "control.png")
    sys.stdout.write(f"{text}\n\n{out}\n")


def _notes(
    orders: dict[str, Order], judges: list[dict[str, Any]], gaps: Sequence[Gap]
) -> list[str]:
    """How the measured values follow the levels, marks of the judges, gaps."""
    lines = [
        f"{metric}: rank correlation with the level {o.spearman:.2f}, {100 * o.rising:.0f} % of"
        f" steps and {100 * o.monotone:.0f} % of {o.pairs} whole series rise"
        for metric, o in orders.items()
    ]
    lines += [f"{judge['name']}: {mark}" for judge in judges for mark in judge["marks"]]
    lines += [f"{g['judge']}: {g['rows']} rows missing, {g['reason']}" for g in count_gaps(gaps)]
    return lines


def draw(levels: Levels, rows: Table, measured: Sequence[str], headings: Headings) -> "Figure":
    """Measured against requested levels with intervals, beside the real recordings' means."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(measured), 3.4), layout="constrained")
    axes = figure.subplots(1, len(measured), squeeze=False)[0]
    for axis, metric in zip(axes, measured, strict=True):
        found = [(v, rows[f"{v:g}"][metric]) for v in levels.values if f"{v:g}" in rows]
        shown = [(v, s) for v, s in found if s.n]
        x = [v for v, _ in shown]
        axis.plot(x, [s.mean for _, s in shown], "o-", color="#1f5fa8", label="converted")
        low, high = [s.low for _, s in shown], [s.high for _, s in shown]
        axis.fill_between(x, low, high, color="#1f5fa8", alpha=0.18, linewidth=0)
        for row, style in (("source", ":"), ("target", "--")):
            if row in rows and rows[row][metric].n:
                axis.axhline(rows[row][metric].mean, color="#555555", linestyle=style, label=row)
        axis.set_xlabel(f"{levels.of} asked for")
        axis.set_ylabel(headings[metric])
        axis.grid(color="#dddddd")
        axis.legend(fontsize="small")
    return figure
