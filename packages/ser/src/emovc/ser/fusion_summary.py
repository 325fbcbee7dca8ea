"""From confusion matrices of single trainings to the rows of HYFuse's matrix."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from emovc.ser.folds import Protocol
from emovc.ser.fusion_cells import COLUMNS, Cell, Column
from emovc.ser.recognition import MEASURES, bootstrap, measures

SUPERVISED = "supervised"
GROUPS = ("individual", "homogeneous", "heterogeneous", "with signal statistics", SUPERVISED)


class Result(NamedTuple):
    """What one training took for what in its test part.

    Attributes:
        protocol: Kind of folds.
        cell: Cell of the matrix.
        confusions: Counts (C, C) by speaker.
    """

    protocol: Protocol
    cell: Cell
    confusions: dict[str, np.ndarray]


class Value(NamedTuple):
    """A measure over folds and seeds.

    Attributes:
        mean: Mean over folds and seeds.
        sd: Standard deviation over folds and seeds.
        pooled: Value of all predictions together.
        low: Lower end of its 95 % interval, by bootstrap over speakers.
        high: Upper end.
    """

    mean: float
    sd: float
    pooled: float
    low: float
    high: float


class Row(NamedTuple):
    """A cell of the matrix with its values.

    Attributes:
        protocol: Kind of folds.
        group: One of :data:`GROUPS`.
        name: Representations.
        column: How they were fused.
        values: Values by measure.
    """

    protocol: Protocol
    group: str
    name: str
    column: Column
    values: dict[str, Value]


class Gain(NamedTuple):
    """How much HYFuse's pooled unweighted average recall is above that of another column.

    Attributes:
        protocol: Kind of folds.
        name: Representations.
        over: The other column.
        uar: Difference.
        low: Lower end of its 95 % interval, by bootstrap over speakers.
        high: Upper end.
    """

    protocol: Protocol
    name: str
    over: Column
    uar: float
    low: float
    high: float


def summarise(results: Sequence[Result], kinds: dict[str, str]) -> tuple[list[Row], list[Gain]]:
    """Rows in the order individual, homogeneous, heterogeneous; and what the ball gains.

    Args:
        results: Trainings; those of one cell and protocol are its folds and seeds.
        kinds: Kind of each representation.
    """
    cells = _by_cell(results)
    rows = [_row(protocol, cell, own, kinds) for (protocol, cell), own in cells.items()]
    pooled = pooled_by_cell(results)
    gains = [
        _gain(protocol, cell, other, pooled[protocol, cell], pooled[protocol, beside])
        for protocol, cell in cells
        for other in COLUMNS
        if cell.column == "mobius" != other
        and (protocol, beside := Cell(cell.members, other)) in pooled
    ]
    return sorted(rows, key=lambda row: GROUPS.index(row.group)), gains


def group_of(members: Sequence[str], kinds: dict[str, str]) -> str:
    """Group of representations; the paper speaks of pairs of RLR and CBR only."""
    found = [kinds[name] for name in members]
    if "SUP" in found:
        return SUPERVISED
    if len(members) == 1:
        return "individual"
    if "SIG" in found:
        return "with signal statistics"
    return "homogeneous" if len(set(found)) == 1 else "heterogeneous"


def pooled_by_cell(
    results: Sequence[Result],
) -> dict[tuple[Protocol, Cell], dict[str, np.ndarray]]:
    """Counts (C, C) of all folds and seeds of each cell, by speaker."""
    return {key: _pooled(own) for key, own in _by_cell(results).items()}


def _by_cell(results: Sequence[Result]) -> dict[tuple[Protocol, Cell], list[Result]]:
    """Trainings of each cell: its folds and seeds."""
    cells: dict[tuple[Protocol, Cell], list[Result]] = {}
    for result in results:
        cells.setdefault((result.protocol, result.cell), []).append(result)
    return cells


def _row(protocol: Protocol, cell: Cell, results: list[Result], kinds: dict[str, str]) -> Row:
    """Values of a cell."""
    single = measures(np.stack([sum(r.confusions.values()) for r in results]))
    parts = list(_pooled(results).values())
    whole = measures(np.stack(parts).sum(0))
    values = {}
    for name in MEASURES:
        low, high = bootstrap(parts, partial(_measure, name))
        sd = float(single[name].std(ddof=1)) if len(results) > 1 else 0.0
        values[name] = Value(float(single[name].mean()), sd, float(whole[name]), low, high)
    return Row(protocol, group_of(cell.members, kinds), cell.name, cell.column, values)


def _measure(name: str, confusion: np.ndarray) -> np.ndarray:
    return measures(confusion)[name]


def _pooled(results: list[Result]) -> dict[str, np.ndarray]:
    """Counts of all folds and seeds, by speaker."""
    total: dict[str, np.ndarray] = {}
    for result in results:
        for speaker, counts in result.confusions.items():
            total[speaker] = total.get(speaker, 0) + counts
    return dict(sorted(total.items()))


def _gain(
    protocol: Protocol,
    cell: Cell,
    other: Column,
    ours: dict[str, np.ndarray],
    theirs: dict[str, np.ndarray],
) -> Gain:
    """Difference of the recalls of two columns on the same utterances."""

    def difference(counts: np.ndarray) -> np.ndarray:
        recall = measures(counts)["uar"]
        return recall[..., 0] - recall[..., 1]

    both = [np.stack([ours[speaker], theirs[speaker]]) for speaker in ours]
    low, high = bootstrap(both, difference)
    return Gain(protocol, cell.name, other, float(difference(np.stack(both).sum(0))), low, high)
