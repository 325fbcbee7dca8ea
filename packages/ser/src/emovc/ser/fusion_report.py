"""Tables and figure of HYFuse's matrix, and how its order compares with the claimed one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from emovc.common.csv_text import csv_text
from emovc.common.markdown import markdown_table
from emovc.ser.fusion_cells import COLUMNS, Column
from emovc.ser.fusion_claims import Claim, claims_table
from emovc.ser.fusion_summary import GROUPS, SUPERVISED, Gain, Row
from emovc.ser.recognition import MEASURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTICE = (
    "The body of the HYFuse paper was not consulted: only the order of its abstract is compared"
    " (RLR with CBR by HYFuse above pairs of one kind above single representations), no number."
    " The members differ from the paper's, whose best pair is x-vector with SoundStream."
)
READING = (
    "Cells: mean ± standard deviation over folds and seeds [95 % interval of the pooled"
    " predictions, by bootstrap over speakers]. Of a single representation the second column shows"
    " what shortening its vector costs."
)

CLAIMS = (
    "No number of the paper could be read, so none stands beside ours. A verdict is undecided where"
    " the interval holds 0."
)


def to_markdown(
    rows: Sequence[Row],
    gains: Sequence[Gain],
    claims: Sequence[Claim],
    settings: dict[str, Any],
    notes: Sequence[str],
) -> str:
    """The whole report."""
    parts = [NOTICE, READING]
    for protocol in dict.fromkeys(row.protocol for row in rows):
        own = [row for row in rows if row.protocol == protocol]
        taught = [row for row in own if row.group == SUPERVISED]
        free = [row for row in own if row.group != SUPERVISED]
        named = [("", free), (", with an encoder trained to recognise emotions", taught)]
        parts += [
            f"## {protocol} folds{which}: {title}\n\n{_matrix(some, measure)}"
            for which, some in named
            if some
            for measure, title in MEASURES.items()
        ]
        lines = [
            [g.name, COLUMNS[g.over], f"{g.uar:+.3f} [{g.low:+.3f}, {g.high:+.3f}]"]
            for g in gains
            if g.protocol == protocol
        ]
        if lines:
            head = ["representations", "HYFuse above", "UAR, pooled [95 % interval]"]
            parts.append(f"## {protocol} folds: gain of HYFuse\n\n{markdown_table([head, *lines])}")
        compared = [claim for claim in claims if claim.protocol == protocol]
        if compared:
            title = f"## {protocol} folds: what the abstract claims"
            parts.append(f"{title}\n\n{CLAIMS}\n\n{claims_table(compared)}")
    parts += ordering(rows)
    parts.append("; ".join(f"{name} {value}" for name, value in settings.items()))
    return "\n\n".join([*parts, *(["\n".join(f"- {note}" for note in notes)] if notes else [])])


def ordering(rows: Sequence[Row]) -> list[str]:
    """For each protocol whether the claimed order holds, by pooled unweighted average recall."""
    lines = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        own = [row for row in rows if row.protocol == protocol]
        found = [
            best
            for group in ("heterogeneous", "homogeneous", "individual")
            if (best := _best(own, group))
        ]
        shown = ", ".join(f"{r.group} {r.name} {r.values['uar'].pooled:.3f}" for r in found)
        values = [row.values["uar"].pooled for row in found]
        if len(found) < 3:
            verdict = (
                "not comparable, a group is empty (it takes two RLR and a CBR, or the reverse)"
            )
        elif values[0] > values[1] > values[2]:
            verdict = "holds"
        else:
            verdict = "does not hold"
        free = [row for row in own if row.group != SUPERVISED] or own
        top = max(free, key=lambda row: row.values["uar"].pooled)
        lines.append(
            f"{protocol} folds, claimed order heterogeneous > homogeneous > individual: {verdict}"
            f" (best UAR of each: {shown}); best cell of all: {top.name}, {COLUMNS[top.column]},"
            f" {top.values['uar'].pooled:.3f}"
        )
    return lines


def to_csv(rows: Sequence[Row]) -> str:
    """One line per cell and measure."""
    head = ["protocol", "group", "representations", "fusion", "measure"]
    lines = [
        [row.protocol, row.group, row.name, row.column, name, *value]
        for row in rows
        for name, value in row.values.items()
    ]
    return csv_text([*head, "mean", "sd", "pooled", "low", "high"], lines)


def draw(rows: Sequence[Row]) -> "Figure":
    """Unweighted average recall of every cell with its interval, a panel per kind of folds."""
    from matplotlib.figure import Figure

    protocols = list(dict.fromkeys(row.protocol for row in rows))
    names = list(dict.fromkeys(row.name for row in rows))
    size = (4 + 5 * len(protocols), 1.5 + 0.45 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(protocols), sharey=True, squeeze=False)[0]
    for axis, protocol in zip(axes, protocols, strict=True):
        for k, (column, title) in enumerate(COLUMNS.items()):
            own = [r for r in rows if r.protocol == protocol and r.column == column]
            values = [row.values["uar"] for row in own]
            axis.errorbar(
                [v.pooled for v in values],
                [names.index(row.name) + 0.2 * (k - 1) for row in own],
                xerr=[[v.pooled - v.low for v in values], [v.high - v.pooled for v in values]],
                fmt="osD"[k],
                markersize=4,
                label=title,
            )
        axis.set_title(f"{protocol} folds")
        axis.set_xlabel("unweighted average recall")
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize="small")
    return figure


def _best(rows: Sequence[Row], group: str) -> Row | None:
    """Best cell of a group: pairs by HYFuse, single representations as they are."""
    column: Column = "concat" if group == "individual" else "mobius"
    own = [row for row in rows if row.group == group and row.column == column]
    return max(own, key=lambda row: row.values["uar"].pooled, default=None)


def _matrix(rows: Sequence[Row], measure: str) -> str:
    """Cells of one measure: a line per group and representations, a column per fusion."""
    cells = {(row.name, row.column): row.values[measure] for row in rows}
    groups = {row.name: row.group for row in rows}
    lines = []
    for name in sorted(groups, key=lambda name: GROUPS.index(groups[name])):
        found = [cells.get((name, column)) for column in COLUMNS]
        texts = [
            f"{v.mean:.3f} ± {v.sd:.3f} [{v.low:.3f}, {v.high:.3f}]" if v else "" for v in found
        ]
        lines.append([groups[name], name, *texts])
    return markdown_table([["group", "representations", *COLUMNS.values()], *lines])
