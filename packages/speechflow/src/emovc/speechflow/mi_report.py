"""Table and figure of the mutual-information experiment."""

from itertools import combinations
from typing import TYPE_CHECKING, Any

from emovc.common.csv_text import csv_text
from emovc.common.markdown import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("spectrogram", "content", "rhythm", "pitch")
PAIRS = list(combinations(KINDS, 2))
PRINTED = {  # the two tables of the report that introduced the loss; its unit is not named
    "printed: original": (0.6547, 0.5550, 0.2337, 0.5204, 0.2566, 0.2856),
    "printed: with cycle loss": (0.5321, 0.5015, 0.1670, 0.3587, 0.1243, 0.2103),
}
Results = dict[str, dict[str, Any]]


def to_markdown(results: Results) -> str:
    """Tables of the pairs, the controls and the probes."""
    heads = [f"{a[:2]}-{b[:2]}" for a, b in PAIRS]
    rows = [[name, *(f"{v:.3f}" for v in values)] for name, values in PRINTED.items()]
    rows += [[name, *_pairs(r, "mi", deviation=True)] for name, r in results.items()]
    rows += [[f"{name}, less bias", *_pairs(r, "corrected")] for name, r in results.items()]
    rows += [[f"{name}, NMI", *_pairs(r, "nmi")] for name, r in results.items()]
    rows += [[f"{name}, shuffled", *_pairs(r, "shuffled")] for name, r in results.items()]
    parts = [markdown_table([["MI in nats", *heads], *rows])]
    parts.append(", ".join(f"{k[:2]} {k}" for k in KINDS) + ", H entropy in nats")
    controls = [
        [
            name,
            f"{r['mel_mse']:.5f}",
            *(f"{r['code_sd'][k]:.4f}" for k in KINDS[1:]),
            *(f"{r['entropy'][k][0]:.2f}" for k in KINDS),
        ]
        for name, r in results.items()
    ]
    heads = [f"sd {k}" for k in KINDS[1:]] + [f"H {k[:2]}" for k in KINDS]
    parts.append(markdown_table([["control", "mel MSE", *heads], *controls]))
    probes = [
        [name, kind, *(f"{v:.3f}" for v in r["probes"][kind].values())]
        for name, r in results.items()
        for kind in KINDS
    ]
    names = list(next(iter(results.values()))["probes"][KINDS[0]])
    parts.append(markdown_table([["linear probe", "of", *names], *probes]))
    return "\n\n".join(parts)


def to_csv(results: Results) -> str:
    """One line per model, pair and measure."""
    lines: list[list[Any]] = []
    for name, values in PRINTED.items():
        for (a, b), value in zip(PAIRS, values, strict=True):
            lines.append([name, f"{a}-{b}", "mi", value, ""])
    for name, result in results.items():
        for pair, measures in result["pairs"].items():
            for measure, (mean, deviation) in measures.items():
                lines.append([name, pair, measure, mean, deviation])
    return csv_text(["model", "pair", "measure", "mean", "sd"], lines)


def draw(results: Results) -> "Figure":
    """Bars of the mutual information of each pair, the printed numbers beside ours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axis = figure.subplots()
    bars = {name: (list(values), [0.0] * len(PAIRS)) for name, values in PRINTED.items()}
    for name, result in results.items():
        pairs = [result["pairs"][f"{a}-{b}"]["mi"] for a, b in PAIRS]
        bars[name] = ([m for m, _ in pairs], [d for _, d in pairs])
    width = 0.8 / len(bars)
    for i, (name, (means, deviations)) in enumerate(bars.items()):
        places = [k + (i - len(bars) / 2 + 0.5) * width for k in range(len(PAIRS))]
        axis.bar(places, means, width, yerr=deviations, label=name)
    axis.set_xticks(range(len(PAIRS)), [f"{a}\n{b}" for a, b in PAIRS])
    axis.set_ylabel("mutual information in nats")
    axis.legend(fontsize="small")
    return figure


def _pairs(result: dict[str, Any], measure: str, deviation: bool = False) -> list[str]:
    cells = [result["pairs"][f"{a}-{b}"][measure] for a, b in PAIRS]
    return [f"{m:.3f} ± {d:.3f}" if deviation else f"{m:.3f}" for m, d in cells]
