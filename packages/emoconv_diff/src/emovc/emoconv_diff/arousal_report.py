"""Tables and figure of the arousal experiment."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emovc.common.control import PROSODY
from emovc.common.control_report import Order, order_of
from emovc.common.evaluation_report import count_gaps
from emovc.common.files import write_json, write_text
from emovc.common.markdown import markdown_table
from emovc.common.panel import Gap
from emovc.common.pictures import save_figure
from emovc.common.scores import Headings, Score, Summary, summarise, table, to_csv, to_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MSE = "arousal_mse_"
ABSOLUTE = "arousal_abs_"
# MSP-Podcast's Test1, judged by audEERING's network; second-hand, see the README.
PRINTED_MSE = (0.1644, 0.0905, 0.0469, 0.0129, 0.0253, 0.0638, 0.1102)
PRINTED_ALL = 0.072, 21.0
SHOWN = {"mcd_db": "MCD to the source (dB)"}


class Sweep(NamedTuple):
    """What was measured.

    Attributes:
        levels: Levels asked for.
        labels: Arousal of each recording, by the id of its row, where it is known.
        scores: Scores of conversions, one row per level, and of the sources.
        gaps: What could not be judged.
    """

    levels: list[float]
    labels: dict[str, float | None]
    scores: list[Score]
    gaps: list[Gap]


def judges_of(headings: Headings) -> list[str]:
    """Judges of arousal, by the metrics that they announce."""
    return [m.removeprefix(MSE) for m in headings if m.startswith(MSE)]


def write_report(
    out: Path,
    sweep: Sweep,
    headings: Headings,
    judges: list[dict[str, Any]],
    settings: dict[str, Any],
    labels: dict[str, Any] | None,
) -> None:
    """Write ``emoconv_arousal.{md,csv,json,png}`` and print the tables.

    Args:
        out: Folder.
        sweep: What was measured.
        headings: Metrics of the judges.
        judges: Their records, with marks.
        settings: What the scores depend on.
        labels: Where the labels of arousal are from, if nobody rated them.
    """
    names = judges_of(headings)
    found = {name: look_at(sweep, name) for name in names}
    shown = SHOWN | PROSODY
    shown |= {m: h for m, h in headings.items() if not m.startswith((MSE, ABSOLUTE))}
    rows = table(sweep.scores, shown)
    text = "\n\n".join(
        [
            *(_error_table(sweep.levels, name, own.errors) for name, own in found.items()),
            to_markdown(rows, "arousal asked for", shown),
            *_notes(sweep, found, judges, settings, labels),
        ]
    )
    summary = {
        "settings": settings,
        "errors": {name: _plain(own.errors) for name, own in found.items()},
        "rows": {r: {m: s._asdict() for m, s in own.items() if s.n} for r, own in rows.items()},
        "order": {name: own.order._asdict() for name, own in found.items()},
        "floor": {name: own.floor for name, own in found.items()},
        "judges": judges,
        "labels": labels,
        "gaps": count_gaps(sweep.gaps),
    }
    write_json(out / "emoconv_arousal.json", summary)
    write_text(out / "emoconv_arousal.csv", to_csv(sweep.scores, shown | dict(headings)))
    write_text(out / "emoconv_arousal.md", text + "\n")
    save_figure(draw(sweep, names), out / "emoconv_arousal.png")
    sys.stdout.write(f"\n{text}\n\n{out}\n")


class Errors(NamedTuple):
    """L_mse and L_abs in percent, with intervals."""

    mse: Summary
    absolute: Summary


class Reached(NamedTuple):
    """What a judge heard of a sweep.

    Attributes:
        errors: Errors by level, and of all.
        order: How well the measured arousal follows the level.
        floor: L_abs in percent of the recordings against their labels, if they have any.
    """

    errors: dict[str, Errors]
    order: Order
    floor: float | None


def look_at(sweep: Sweep, judge: str) -> Reached:
    """What a judge heard of a sweep, each interval drawn once."""
    order = order_of(sweep.scores, sweep.levels, f"arousal_{judge}")
    return Reached(level_rows(sweep, judge), order, floor_of(sweep, judge))


def _plain(rows: Mapping[str, Errors]) -> dict[str, Any]:
    """Errors by level as JSON takes them."""
    return {
        level: {"mse": own.mse._asdict(), "abs": own.absolute._asdict()}
        for level, own in rows.items()
        if own.mse.n
    }


def level_rows(sweep: Sweep, judge: str) -> dict[str, Errors]:
    """Errors by level, and of all levels."""
    asked = [s for s in sweep.scores if s.row != "source"]
    groups = {f"{level:g}": [s for s in asked if s.row == f"{level:g}"] for level in sweep.levels}
    groups["all"] = asked
    return {
        name: Errors(summarise(own, MSE + judge), summarise(own, ABSOLUTE + judge))
        for name, own in groups.items()
    }


def constant_row(levels: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Errors of a system that reaches the middle whatever is asked for, by level and of all."""
    errors = {f"{level:g}": abs(0.5 - (level - 1) / 6) for level in levels}
    found = {name: (error**2, 100 * error) for name, error in errors.items()}
    means = np.mean(list(found.values()), axis=0)
    return found | {"all": (float(means[0]), float(means[1]))}


def floor_of(sweep: Sweep, judge: str) -> float | None:
    """L_abs in percent of the real recordings against their own labels, if they have any."""
    errors = [
        abs(s.metrics[f"arousal_{judge}"] - (label - 1) / 6)
        for s in sweep.scores
        if s.row == "source"
        and (label := sweep.labels[s.pair]) is not None
        and np.isfinite(s.metrics.get(f"arousal_{judge}", np.nan))
    ]
    return 100 * float(np.mean(errors)) if errors else None


def _error_table(levels: Sequence[float], judge: str, rows: Mapping[str, Errors]) -> str:
    """L_mse and L_abs of a judge beside those of no control and of the paper."""
    names = list(rows)
    constant = constant_row(levels)
    lines: list[list[str]] = [
        [judge, *names],
        ["L_mse", *(f"{rows[n].mse.mean:.4f}" for n in names)],
        ["L_mse, always 0.5", *(f"{constant[n][0]:.4f}" for n in names)],
        ["L_abs (%)", *(f"{rows[n].absolute.mean:.2f}" for n in names)],
        ["L_abs (%), always 0.5", *(f"{constant[n][1]:.2f}" for n in names)],
    ]
    if list(levels) == [1, 2, 3, 4, 5, 6, 7]:
        printed = [*(f"{value:.4f}" for value in PRINTED_MSE), f"{PRINTED_ALL[0]:.3f}"]
        lines.append(["printed L_mse (MSP-Podcast, other judge)", *printed])
        lines.append(["printed L_abs (%)", *["-"] * 7, f"{PRINTED_ALL[1]:.0f}"])
    return markdown_table(lines)


def _notes(
    sweep: Sweep,
    found: Mapping[str, Reached],
    judges: list[dict[str, Any]],
    settings: dict[str, Any],
    labels: dict[str, Any] | None,
) -> list[str]:
    """What the tables are of, and what to think of them."""
    corpora = ", ".join(settings["corpora"])
    lines = [
        f"{settings['utterances']} utterances of {corpora} ({settings['split']}),"
        f" {settings['steps']} steps of {settings['solver']}, seed {settings['seed']},"
        f" {settings['vocoder']}"
    ]
    if labels is not None:
        lines.append(f"arousal is pseudo-labelled: {labels['labels']} ({labels['weights']})")
    for name, own in found.items():
        if own.floor is not None:
            lines.append(f"{name}: L_abs of the recordings against their labels {own.floor:.2f} %")
        lines.append(
            f"{name}: rank correlation of level and measured arousal {own.order.spearman:.2f} per"
            f" utterance, {100 * own.order.rising:.0f} % of steps rise"
        )
        lines.append(f"{name}: extremes: {_extremes(sweep.levels, own.errors)}")
    lines += [f"{judge['name']}: {mark}" for judge in judges for mark in judge["marks"]]
    lines += [
        f"{g['judge']}: {g['rows']} rows missing, {g['reason']}" for g in count_gaps(sweep.gaps)
    ]
    return lines


def _extremes(levels: Sequence[float], rows: Mapping[str, Errors]) -> str:
    """The lowest and the highest level, where the paper claims most."""
    constant = constant_row(levels)
    return "; ".join(
        f"level {n}: L_mse {rows[n].mse.mean:.4f} against {constant[n][0]:.4f} of no control"
        for n in (f"{levels[0]:g}", f"{levels[-1]:g}")
    )


def draw(sweep: Sweep, judges: Sequence[str]) -> "Figure":
    """Measured against requested arousal, beside real recordings against their labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(judges), 3.6), layout="constrained")
    axes = figure.subplots(1, len(judges), squeeze=False)[0]
    for axis, judge in zip(axes, judges, strict=True):
        metric = f"arousal_{judge}"
        rows = [[s for s in sweep.scores if s.row == f"{level:g}"] for level in sweep.levels]
        found = [summarise(own, metric) for own in rows]
        axis.plot([1, 7], [0, 1], color="#999999", linewidth=1, label="asked for")
        axis.plot(sweep.levels, [s.mean for s in found], "o-", color="#1f5fa8", label="converted")
        low, high = [s.low for s in found], [s.high for s in found]
        axis.fill_between(sweep.levels, low, high, color="#1f5fa8", alpha=0.18, linewidth=0)
        real = [
            (sweep.labels[s.pair], s.metrics.get(metric)) for s in sweep.scores if s.row == "source"
        ]
        known = [(a, b) for a, b in real if a is not None and b is not None]
        if known:
            axis.plot(
                *zip(*known, strict=True), ".", color="#d1462f", alpha=0.5, label="recordings"
            )
        axis.set_xlabel("arousal asked for, or label")
        axis.set_ylabel(f"arousal measured ({judge})")
        axis.set_ylim(-0.03, 1.03)
        axis.grid(color="#dddddd")
        axis.legend(fontsize="small")
    return figure
