"""Figures of the quantisation experiment, with a line per emotion."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from emovc.genner_tts.quantization_findings import SIMILARITIES, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curves(found: Findings, titles: Mapping[str, str]) -> "Figure":
    """Every measure against lambda, and the cosine also against bits.

    Args:
        found: What was measured.
        titles: Measures to draw, with their titles.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9.5), layout="constrained")
    axes = figure.subplots(3, 3).ravel()
    lams = [p.lam for p in found.curve]
    for axis, (name, title) in zip(axes, titles.items(), strict=False):
        for i, emotion in enumerate(found.emotions):
            values = [p.measures[name][i] for p in found.curve]
            (line,) = axis.plot(lams, values, "o-", markersize=3, label=emotion)
            if name == "raw":
                low, high = zip(*(p.raw_intervals[i] for p in found.curve), strict=True)
                axis.fill_between(lams, low, high, alpha=0.15, color=line.get_color())
        axis.set_xscale("log")
        axis.set_xlabel("lambda")
        axis.set_title(title, fontsize="medium")
        axis.grid(color="#dddddd")
    for i, emotion in enumerate(found.emotions):
        own = [p.measures["raw"][i] for p in found.curve]
        axes[-1].plot([p.bits for p in found.curve], own, "o-", markersize=3, label=emotion)
    axes[-1].set_title("cosine to itself", fontsize="medium")
    axes[-1].set_xlabel("bit per embedding")
    axes[-1].grid(color="#dddddd")
    axes[0].legend(fontsize="small")
    return figure


def draw_direct(found: Findings) -> "Figure":
    """Recall against similarity, where embeddings are turned and not quantised."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(found.direct), 3.4), layout="constrained")
    axes = figure.subplots(1, len(found.direct), sharey=True, squeeze=False)[0]
    for axis, (way, rows) in zip(axes, found.direct.items(), strict=True):
        for i, emotion in enumerate(found.emotions):
            axis.plot(SIMILARITIES, [row[i] for row in rows], "o-", markersize=3, label=emotion)
        axis.invert_xaxis()
        axis.set_xlabel("cosine to itself")
        axis.set_title(f"turned {way}", fontsize="medium")
        axis.grid(color="#dddddd")
    axes[0].set_ylabel("recall")
    axes[0].legend(fontsize="small")
    return figure


def draw_pull(found: Findings) -> "Figure":
    """Share of the way to the emotion of each codebook, over emotions, at three lambdas."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(found.biased), 3.9), layout="constrained")
    axes = figure.subplots(1, len(found.biased), squeeze=False)[0]
    for axis, one in zip(axes, found.biased, strict=True):
        axis.imshow(one.gone, vmin=0, vmax=1, cmap="Blues")
        for k, row in enumerate(one.gone):
            for i, value in enumerate(row):
                text = "own" if i == k else f"{value:.2f}"
                colour = "white" if value > 0.6 else "black"
                axis.text(i, k, text, ha="center", va="center", fontsize=8, color=colour)
        names = found.emotions
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("emotion of the embedding")
        axis.set_title(f"share of the way, lambda {one.lam:.2g}", fontsize="medium")
    axes[0].set_ylabel("codebook of")
    return figure
