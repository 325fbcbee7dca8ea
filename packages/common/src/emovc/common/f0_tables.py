"""Tables of ``emovc reproduce f0``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emovc.common.markdown import markdown_table

Record = dict[str, Any]  # one tracker against one reference: corpus, group, noise, errors, cost
TRUTH, LABELS = "truth", "hand labels"
OTHERS = "median of the others"
COPY = "itself on the recording"  # what is found in a copy by Griffin-Lim is compared with


def to_markdown(records: Sequence[Record], about: Mapping[str, Any], seed: int) -> str:
    """A table of the truth, one of the labels, and one of the trackers among each other."""
    parts = []
    true = [r for r in records if r["against"] == TRUTH]
    if true:
        head = ["toy corpus", "noise", "gross %", "voicing %", "missed %", "false %"]
        head += ["fine, cents", "F0 frame error %", "CPU s per s"]
        lines = [
            [r["tracker"], r["noise"]]
            + [_percent(r[k]) for k in ("gross", "voicing", "missed", "false")]
            + [_cents(r), _percent(r["frame"])]
            + [f"{r['cpu_s_per_s']:.3f}"]
            for r in true
        ]
        parts.append(markdown_table([head, *lines]))
    labelled = [r for r in records if r["against"] == LABELS]
    if labelled:
        head = ["EMO-DB's labels", "recordings", "voicing %", "missed %", "false %", "frames"]
        lines = [
            [r["tracker"], r["group"], *(_percent(r[k]) for k in ("voicing", "missed", "false"))]
            + [f"{r['frames']}"]
            for r in labelled
        ]
        parts.append(markdown_table([head, *lines]))
    copied = [r for r in records if r["against"] == COPY]
    if copied:
        head = ["copies by Griffin-Lim", "corpus", "gross %", "voicing %", "fine, cents"]
        lines = [
            [r["tracker"], r["corpus"], _percent(r["gross"]), _percent(r["voicing"]), _cents(r)]
            for r in copied
        ]
        parts.append(markdown_table([head, *lines]))
    rest = [r for r in records if r["against"] not in (TRUTH, LABELS, COPY)]
    for corpus, group in dict.fromkeys((r["corpus"], r["group"]) for r in rest):
        own = [r for r in rest if (r["corpus"], r["group"]) == (corpus, group)]
        among = {r["against"] for r in own}
        names = [n for n in dict.fromkeys([r["tracker"] for r in own] + [OTHERS]) if n in among]
        head = [f"{corpus}, {group}: gross / voicing %", *names, "CPU s per s"]
        lines = []
        for tracker in dict.fromkeys(r["tracker"] for r in own):
            row = {r["against"]: r for r in own if r["tracker"] == tracker}
            cells = [_pair(row[n]) if n in row else "" for n in names]
            lines.append([tracker, *cells, f"{row[OTHERS]['cpu_s_per_s']:.3f}"])
        parts.append(markdown_table([head, *lines]))
    said = "; ".join(
        f"{corpus}: {c['utterances']} utterances, {c['seconds']:.0f} s, {c['split']}"
        for corpus, c in about.items()
    )
    parts.append(f"{said}; seed {seed}. Loud is the louder third.")
    return "\n\n".join(parts) + "\n"


def _percent(share: float) -> str:
    """A share in per cent."""
    return "-" if np.isnan(share) else f"{100 * share:.2f}"


def _cents(r: Record) -> str:
    """Mean and deviation of the fine error."""
    return f"{r['fine_mean_cents']:+.1f} ± {r['fine_sd_cents']:.1f}"


def _pair(r: Record) -> str:
    """Gross error and error of voicing."""
    return f"{_percent(r['gross'])} / {_percent(r['voicing'])}"
