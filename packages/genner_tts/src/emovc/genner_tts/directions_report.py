"""Tables and figures of ``emovc reproduce genner-directions``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovc.genner_tts.direction_lines import MIXED, SEVERAL, TWO_STEPS
from emovc.genner_tts.quantization_source import NEUTRAL
from emovc.genner_tts.spoken_lines import CONDITIONS, Stage
from emovc.genner_tts.spoken_report import Report, Rows, Table, mean_of, two

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def report_of(stage: Stage, rows: Rows, mixed: Sequence[str]) -> Report:
    """Tables and figures of the rows."""
    judges = [judge.name for judge in stage.readers]
    first, second, third = (
        [row for row in rows if row["grid"].startswith(name)]
        for name in (TWO_STEPS, SEVERAL, MIXED)
    )
    tables = {
        "Neutral first": two_step_table(first, judges),
        "Several references": several_table(second, judges),
        "Mixed emotions": mixed_table(third, judges, mixed),
    }
    notes = [
        f"The reference gives: {CONDITIONS[rows[0]['condition']]}.",
        "Path is the way through the emotion vectors beside the straight one.",
        *stage.notes(rows),
    ]
    figures = {"several.png": draw_several(second, judges)}
    caption = f"p_{judges[0]}_{NEUTRAL}", ".2f"
    return Report("Three directions of Genner TTS", notes, tables, figures, caption)


def two_step_table(rows: Rows, judges: Sequence[str]) -> Table:
    """What each way reaches of its target, and leaves of its source."""
    lines: list[Sequence[object]] = [
        ("way", *(f"P(target / source / neutral), {j}" for j in judges), "path", "voice")
    ]
    voice = voice_column(rows)
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        cells = []
        for judge in judges:
            values = [
                {
                    "target": row.get(f"p_{judge}_{row['target']}"),
                    "source": row.get(f"p_{judge}_{row['emotion']}"),
                    "neutral": row.get(f"p_{judge}_{NEUTRAL}"),
                }
                for row in own
            ]
            cells.append(" / ".join(two(mean_of(values, n)) for n in values[0]))
        lines.append((way, *cells, two(mean_of(own, "path")), two(mean_of(own, voice))))
    return lines


def voice_column(rows: Rows) -> str:
    """Metric of how much the speech sounds like the speaker of the reference, if there is one."""
    return next((n for n in rows[0] if n.startswith("speaker_similarity")), "none")


def several_table(rows: Rows, judges: Sequence[str]) -> Table:
    """Mean and spread over draws of P(the emotion), by mixer and number of references."""
    counts = sorted({row["count"] for row in rows})
    lines: list[Sequence[object]] = [("mixer", "judge", *(f"of {n}" for n in counts))]
    for mixer in dict.fromkeys(row["mixer"] for row in rows):
        for judge in judges:
            cells = []
            for count in counts:
                mean, spread = spread_of(rows, judge, mixer, count)
                cells.append(f"{two(mean)} ± {two(spread)}")
            lines.append((mixer, judge, *cells))
    return lines


def spread_of(rows: Rows, judge: str, mixer: str, count: int) -> tuple[float, float]:
    """Mean of P(the emotion), and its standard deviation over draws, mean over the emotions."""
    means, spreads = [], []
    for emotion in dict.fromkeys(row["target"] for row in rows):
        own = [
            row[f"p_{judge}_{emotion}"]
            for row in rows
            if (row["mixer"], row["count"], row["target"]) == (mixer, count, emotion)
            and row[f"p_{judge}_{emotion}"] is not None
        ]
        if len(own) > 1:
            means.append(float(np.mean(own)))
            spreads.append(float(np.std(own, ddof=1)))
    if not means:
        return float("nan"), float("nan")
    return float(np.mean(means)), float(np.mean(spreads))


def mixed_table(rows: Rows, judges: Sequence[str], mixed: Sequence[str]) -> Table:
    """Probabilities of both emotions and of neutral; are both above neutral speech's?"""
    names = (*mixed, NEUTRAL)
    lines: list[Sequence[object]] = [
        ("way", *(f"P({' / '.join(names)}), {j}" for j in judges), "both above neutral speech's")
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        plain = [row for row in rows if row["way"] == NEUTRAL]
        cells, above = [], []
        for judge in judges:
            columns = [f"p_{judge}_{name}" for name in names]
            cells.append(" / ".join(two(mean_of(own, column)) for column in columns))
            above.append(all(mean_of(own, c) > mean_of(plain, c) for c in columns[:2]))
        said = ", ".join(j for j, yes in zip(judges, above, strict=True) if yes) or "–"
        lines.append((way, *cells, said))
    return lines


def draw_several(rows: Rows, judges: Sequence[str]) -> "Figure":
    """Spread over draws against the number of references, a line per mixer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(judges), 3.4), layout="constrained")
    axes = figure.subplots(1, len(judges), sharey=True, squeeze=False)[0]
    counts = sorted({row["count"] for row in rows})
    for axis, judge in zip(axes, judges, strict=True):
        for mixer in dict.fromkeys(row["mixer"] for row in rows):
            values = [spread_of(rows, judge, mixer, count)[1] for count in counts]
            axis.plot(counts, values, "o-", markersize=3, label=mixer)
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.set_xlabel("references")
        axis.set_title(judge, fontsize="medium")
        axis.grid(color="#dddddd")
    axes[0].set_ylabel("deviation of P(emotion) over draws")
    axes[0].legend(fontsize="small")
    return figure
