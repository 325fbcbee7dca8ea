"""Table, figure and CSV of the emotion experiment."""

from typing import TYPE_CHECKING, Any

from emovc.common.csv_text import csv_text
from emovc.common.markdown import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Number of the row and the factors that stay on; row 1 is the original speech.
ROWS: dict[int, tuple[str, ...] | None] = {
    1: None,
    2: ("content", "rhythm", "pitch"),
    3: (),
    4: ("content",),
    5: ("rhythm",),
    6: ("pitch",),
    7: ("content", "rhythm"),
    8: ("content", "pitch"),
    9: ("rhythm", "pitch"),
}
PRINTED_HEADS = (
    "printed: original, IEMOCAP",
    "printed: original, SAVEE",
    "printed: with cycle loss, IEMOCAP",
    "printed: with cycle loss, SAVEE",
)
PRINTED = {  # the two tables of the report that introduced the loss
    1: (59.08, 45.00, 59.08, 45.00),
    2: (57.50, 47.08, 58.52, 48.12),
    3: (25.00, 25.00, 25.00, 25.00),
    4: (50.77, 42.08, 47.41, 44.17),
    5: (54.12, 36.67, 61.88, 33.33),
    6: (45.73, 32.71, 45.92, 28.75),
    7: (56.45, 42.71, 59.82, 39.58),
    8: (51.91, 37.08, 50.50, 43.12),
    9: (56.22, 36.04, 57.45, 35.21),
}
ORIGINAL = "original speech"
CORPORA = ("in-corpus", "cross-corpus")
# By model, row and corpus; row 1 under ORIGINAL.
Results = dict[str, dict[int, dict[str, dict[str, Any]]]]


def to_markdown(results: Results) -> str:
    """The nine rows of each model, the printed numbers beside them."""
    columns = [(m, c) for m in _models(results) for c in _corpora(results)]
    head = ["no.", "C", "R", "P", *(f"{m}, {c}" for m, c in columns), *PRINTED_HEADS]
    lines = [head]
    for row, keep in ROWS.items():
        marks = [("x" if f in keep else "-") for f in ROWS[2] or ()] if keep is not None else []
        cells = [_cell(_of(results, m, row).get(c)) for m, c in columns]
        printed = [f"{value:.2f}" for value in PRINTED[row]]
        lines.append([str(row), *(marks or ["original", "", ""]), *cells, *printed])
    return (
        "UAR in %, with 95 % intervals over test speakers\n\n"
        f"{markdown_table(lines)}\n\nThe printed numbers are of other corpora: compare the order of"
        " the rows, not the values."
    )


def to_csv(results: Results) -> str:
    """One line per row, model, corpus and seed, and one for all seeds together."""
    lines: list[list[Any]] = []
    head = ["row", "kept", "model", "corpus", "seed", "uar", "low", "high", "utterances"]
    for row, values in PRINTED.items():
        for name, value in zip(PRINTED_HEADS, values, strict=True):
            model, corpus = name.rsplit(", ", 1)
            lines.append([row, kept(row), model, corpus, "", value, "", "", ""])
    for model, rows in results.items():
        for row, corpora in rows.items():
            for corpus, r in corpora.items():
                start = [row, kept(row), model, corpus]
                for seed, value in enumerate(r["seeds"]):
                    lines.append([*start, seed, f"{value:.4f}", "", "", ""])
                ends = [f"{r[k]:.4f}" for k in ("uar", "low", "high")]
                lines.append([*start, "all", *ends, r["utterances"]])
    return csv_text(head, lines)


def draw(results: Results) -> "Figure":
    """Bars of each row, one panel per test corpus, with chance and the original speech."""
    from matplotlib.figure import Figure

    corpora, models = _corpora(results), _models(results)
    figure = Figure(figsize=(10, 3.6 * len(corpora)), layout="constrained")
    width = 0.8 / len(models)
    axes = figure.subplots(len(corpora), squeeze=False)[:, 0]
    for axis, corpus in zip(axes, corpora, strict=True):
        for i, model in enumerate(models):
            bars = [_of(results, model, row)[corpus] for row in ROWS]
            places = [k + (i - len(models) / 2 + 0.5) * width for k in range(len(ROWS))]
            values = [b["uar"] for b in bars]
            below = [max(0.0, b["uar"] - b["low"]) for b in bars]
            above = [max(0.0, b["high"] - b["uar"]) for b in bars]
            axis.bar(places, values, width, yerr=[below, above], label=model)
        axis.axhline(_of(results, models[0], 3)[corpus]["uar"], color="black", linewidth=0.8)
        names = [f"{row}\n" + kept(row).replace("+", "\n") for row in ROWS]
        axis.set_xticks(range(len(ROWS)), names, fontsize="small")
        axis.set_ylabel("UAR in %")
        axis.set_title(corpus)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right")
    return figure


def kept(row: int) -> str:
    """What a row keeps, in words."""
    factors = ROWS[row]
    return ORIGINAL if factors is None else "+".join(factors) or "nothing"


def _models(results: Results) -> list[str]:
    return [name for name in results if name != ORIGINAL]


def _corpora(results: Results) -> list[str]:
    return [c for c in CORPORA if c in results[ORIGINAL][1]]


def _of(results: Results, model: str, row: int) -> dict[str, dict[str, Any]]:
    """Results of a row; the first is shared by all models."""
    return results[ORIGINAL if ROWS[row] is None else model][row]


def _cell(result: dict[str, Any] | None) -> str:
    return f"{result['uar']:.2f} [{result['low']:.1f}, {result['high']:.1f}]" if result else ""
