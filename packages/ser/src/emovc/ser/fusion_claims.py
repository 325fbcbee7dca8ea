"""What HYFuse's abstract claims, as differences of recalls of this run with their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emovc.common.markdown import markdown_table
from emovc.ser.folds import Protocol
from emovc.ser.fusion_cells import COLUMNS, Cell, Column
from emovc.ser.fusion_summary import Result, group_of, pooled_by_cell
from emovc.ser.recognition import bootstrap, measures

Counts = dict[str, np.ndarray]
CLAIMED = ("heterogeneous", "homogeneous", "individual")  # best first


class Claim(NamedTuple):
    """One comparison.

    Attributes:
        protocol: Kind of folds.
        claim: What is claimed to be above what.
        ours: The cells on the one side.
        other: Those on the other.
        uar: Difference of the pooled unweighted average recalls.
        low: Lower end of its 95 % interval, by bootstrap over speakers.
        high: Upper end.
    """

    protocol: Protocol
    claim: str
    ours: str
    other: str
    uar: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether the interval leaves the claim standing."""
        if self.low > 0:
            return "holds"
        return "opposite" if self.high < 0 else "undecided"


def claims(
    results: Sequence[Result], kinds: dict[str, str], pair: tuple[str, ...] | None = None
) -> list[Claim]:
    """The claimed order of the groups, and of the pair that stands for the paper's best.

    Pairs are fused by HYFuse, single representations are as they are. The best cell of each group
    is the one of the highest recall, which favours groups of many cells; so the means over all
    cells of the groups are compared as well.

    Args:
        results: Trainings.
        kinds: Kind of each representation.
        pair: Members of the pair, in the order of the sum.
    """
    pooled = pooled_by_cell(results)
    found = []
    for protocol in dict.fromkeys(key[0] for key in pooled):
        own = {cell: counts for (p, cell), counts in pooled.items() if p == protocol}
        found += _order(protocol, own, kinds)
        if pair is not None:
            found += _pair(protocol, own, kinds, pair)
    return found


def claims_table(found: Sequence[Claim]) -> str:
    """The comparisons as a table."""
    head = ["claimed", "ours", "against", "UAR, pooled [95 % interval]", "verdict"]
    lines = [
        [c.claim, c.ours, c.other, f"{c.uar:+.3f} [{c.low:+.3f}, {c.high:+.3f}]", c.verdict]
        for c in found
    ]
    return markdown_table([head, *lines])


def _order(protocol: Protocol, own: dict[Cell, Counts], kinds: dict[str, str]) -> list[Claim]:
    """Each group against the next, where both have cells: the best cells, then all."""
    groups = {name: _members(own, kinds, name) for name in CLAIMED}
    present = [name for name in CLAIMED if groups[name]]
    found = []
    for a, b in zip(present, present[1:], strict=False):
        one, two = _best(own, groups[a]), _best(own, groups[b])
        found.append(_claim(protocol, f"best {a} above best {b}", own, [one], [two]))
        text = f"{a} above {b}, mean of all"
        found.append(_claim(protocol, text, own, groups[a], groups[b]))
    return found


def _pair(
    protocol: Protocol, own: dict[Cell, Counts], kinds: dict[str, str], pair: tuple[str, ...]
) -> list[Claim]:
    """The pair against every other group's best, and against itself fused otherwise."""
    ours = Cell(pair, "mobius")
    rest = [cell for name in CLAIMED for cell in _members(own, kinds, name) if cell != ours]
    against: list[tuple[str, Cell]] = [("the best cell of all", _best(own, rest))]
    alone = [cell for cell in rest if len(cell.members) == 1 and cell.members[0] in pair]
    against.append(("above its better member", _best(own, alone)))
    others: list[tuple[str, Column]] = [
        ("HYFuse above concatenation", "concat"),
        ("the ball above a flat space", "flat"),
    ]
    against += [(text, Cell(pair, column)) for text, column in others]
    name = " + ".join(pair)
    return [_claim(protocol, f"{name}: {text}", own, [ours], [other]) for text, other in against]


def _members(own: dict[Cell, Counts], kinds: dict[str, str], group: str) -> list[Cell]:
    """Cells of a group: pairs by HYFuse, single representations as they are."""
    column: Column = "concat" if group == "individual" else "mobius"
    return [c for c in own if c.column == column and group_of(c.members, kinds) == group]


def _best(own: dict[Cell, Counts], cells: Sequence[Cell]) -> Cell:
    """The cell of the highest pooled recall."""
    return max(
        cells, key=lambda cell: float(measures(np.stack([*own[cell].values()]).sum(0))["uar"])
    )


def _claim(
    protocol: Protocol,
    text: str,
    own: dict[Cell, Counts],
    ours: Sequence[Cell],
    others: Sequence[Cell],
) -> Claim:
    """Mean recall of some cells above that of others, on the same utterances."""

    def difference(counts: np.ndarray) -> np.ndarray:
        recall = measures(counts)["uar"]
        return recall[..., : len(ours)].mean(-1) - recall[..., len(ours) :].mean(-1)

    speakers = list(own[ours[0]])
    stacked = [np.stack([own[cell][s] for cell in (*ours, *others)]) for s in speakers]
    low, high = bootstrap(stacked, difference)
    value = float(difference(np.stack(stacked).sum(0)))
    return Claim(protocol, text, _named(ours), _named(others), value, low, high)


def _named(cells: Sequence[Cell]) -> str:
    """A cell by its members and fusion, several by their number."""
    if len(cells) > 1:
        return f"{len(cells)} cells"
    (cell,) = cells
    return cell.name if len(cell.members) == 1 else f"{cell.name}, {COLUMNS[cell.column]}"
