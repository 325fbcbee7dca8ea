"""Tables of the disentanglement report, as text."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from emovc.common.code_measures import TRAINED, Found
from emovc.common.probes import READERS, Reader
from emovc.common.swap_tests import (
    EVERYTHING,
    MEASURES,
    NOTHING,
    RECORDINGS,
    Swap,
    share_moved,
)

READER_NAMES = {
    "linear": "ridge and logistic regression",
    "network": "a network of one hidden layer",
}
SHORT = {  # columns of the swap tests
    "f0_corr": "F0 contour",
    "f0_level_st": "F0 level",
    "energy_corr": "level contour",
    "duration_s": "time of speech",
    "mel_db": "spectrum",
}


class Report(NamedTuple):
    """All that was measured; see :class:`~emovc.common.code_measures.Examination`."""

    settings: dict[str, Any]
    gaps: list[str]
    information: dict[str, dict[str, Any]]
    probes: list[Found]
    swaps: list[Swap]


class Table(NamedTuple):
    """A table of text.

    Attributes:
        title: What it shows.
        head: Names of the columns.
        rows: Cells.
        note: How to read it.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str


def tables(report: Report) -> list[Table]:
    """Probes, swap tests and mutual information, in this order."""
    found = [_probe_table(report.probes, reader) for reader in READERS]
    if report.swaps:
        found += [_moved_table(report), _likeness_table(report.swaps)]
    return [*found, _information_table(report.information), _control_table(report.information)]


def moved(report: Report) -> dict[str, dict[str, dict[str, float]]]:
    """Share of each measure that each code takes along, by kind of pair and code."""
    ends = (NOTHING, EVERYTHING, RECORDINGS)
    shares: dict[str, dict[str, dict[str, float]]] = {}
    for kind in dict.fromkeys(s.kind for s in report.swaps):
        own = [s for s in report.swaps if s.kind == kind]
        codes = [c for c in dict.fromkeys(s.code for s in own) if c not in ends]
        shares[kind] = {c: {m: share_moved(own, c, m) for m in MEASURES} for c in codes}
    return shares


def _probe_table(probes: Sequence[Found], reader: Reader) -> Table:
    """Codes by targets, each score with that of shuffled values."""
    own = [f for f in probes if f.reader == reader]
    readings = {(f.network, f.code, f.target): f.reading for f in own}
    targets = {f.target: f for f in own}
    codes = list(dict.fromkeys((f.network, f.code) for f in own))
    rows = [["chance", *(f"{f.reading.chance:.3f}" for f in targets.values())]]
    for code in codes:
        cells = [readings[*code, t] for t in targets]
        rows.append([label(*code), *(f"{r.score:.3f} ({r.shuffled:.3f})" for r in cells)])
    head = [f"{t}, {'UAR' if f.reading.classes else 'R²'}" for t, f in targets.items()]
    held_out = ", ".join(f"{t} by {f.held_out}" for t, f in targets.items())
    rows_of = ", ".join(f"{t} {f.reading.rows}" for t, f in targets.items())
    note = f"In brackets: shuffled values. Held out: {held_out}. Rows: {rows_of}."
    return Table(f"Probes: {READER_NAMES[reader]}", ["code", *head], rows, note)


def _moved_table(report: Report) -> Table:
    """Which code carries what."""
    rows = [
        [kind, code, *(_number(share) for share in shares.values())]
        for kind, codes in moved(report).items()
        for code, shares in codes.items()
    ]
    note = (
        "From 0, as with nothing swapped, to 1, as with everything swapped. - where what is"
        " decoded does not tell host from donor (less than two standard errors)."
    )
    return Table("Swaps: which code carries what", ["donor", "code", *SHORT.values()], rows, note)


def _likeness_table(swaps: Sequence[Swap]) -> Table:
    """Means of all measures against host and donor."""
    rows = []
    for kind, code in dict.fromkeys((s.kind, s.code) for s in swaps):
        own = [s for s in swaps if (s.kind, s.code) == (kind, code)]
        cells = [
            " / ".join(
                _number(_mean([getattr(s, side)[m] for s in own])) for side in ("host", "donor")
            )
            for m in MEASURES
        ]
        rows.append([kind, code, *cells])
    note = "Likeness to host / to donor: " + "; ".join(f"{m}: {t}" for m, t in MEASURES.items())
    pairs = len({s.pair for s in swaps})
    return Table(
        "Swaps: likeness", ["donor", "swapped", *MEASURES], rows, f"{note}. {pairs} pairs."
    )


def _information_table(information: dict[str, dict[str, Any]]) -> Table:
    """Pairs of codes by network and measure."""
    names = {"mi": "MI", "corrected": "less bias", "shuffled": "shuffled", "nmi": "NMI"}
    head = ["pair"] + [f"{network}: {n}" for network in information for n in names.values()]
    rows = []
    for pair in information[TRAINED]["pairs"]:
        cells = [i["pairs"][pair] for i in information.values()]
        rows.append([pair, *(f"{c[m][0]:.3f}" for c in cells for m in names)])
    note = "Clustered codes; nats, means over K-means seeds."
    return Table("Mutual information", head, rows, note)


def _control_table(information: dict[str, dict[str, Any]]) -> Table:
    """Entropy of the clusters and deviation of the codes: codes that shrink share less."""
    rows = [
        [label(network, code), f"{mean:.2f}", f"{found['code_sd'][code]:.4f}"]
        for network, found in information.items()
        for code, (mean, _) in found["entropy"].items()
    ]
    note = "A code that hardly varies shares nothing with any other, whatever it holds."
    return Table("Controls", ["code", "entropy in nats", "deviation"], rows, note)


def label(network: str, code: str) -> str:
    """Name of a code in tables; those of the untrained network say so."""
    return code if network == TRAINED else f"{code}, {network}"


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"
