"""Which moments of a recording are voiced, by the hand labels of EMO-DB."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emovc.common.errors import UserError

# SAMPA of the labels. Releases of voiced stops, taps, glottal stops and what is said aside are in
# neither set: their voicing is not marked.
VOWELS = "aeiouyIEOUYAV@6982"
VOICED = frozenset(["m", "n", "N", "l", "L", "j", "v", "z", "B", "R", "4", "b", "d", "g"]) | {
    f"_{stop}" for stop in "bdg"
}
UNVOICED = frozenset(["s", "f", "S", "C", "x", "X", "h", "p", "t", "k", "."]) | {
    form.format(stop) for stop in "ptk" for form in ("_{}", "!{}", "{}asp")
}
MARK = re.compile(r"([+-])sth\b")  # "stimmhaft": the labellers' mark where voicing sets in or ends


class Voicing(NamedTuple):
    """A stretch of a recording.

    Attributes:
        start_s: Where it begins, in s.
        voiced: Whether it is voiced; ``None`` where the labels leave it open.
    """

    start_s: float
    voiced: bool | None


def read_voicing(path: Path) -> list[Voicing]:
    """Read what EMO-DB's labels say of voicing, from the first label on.

    A phone is voiced as its symbol says, unless it, or a row of remarks within it, is marked
    ``+sth`` or ``-sth``: these marks show devoiced stops, and voicing that outlasts a vowel.

    Args:
        path: A ``.lablaut`` file.

    Raises:
        UserError: A row is no label.
    """
    spans: list[Voicing] = []
    state: bool | None = None
    for row in path.read_text(encoding="latin-1").partition("\n#")[2].splitlines():
        if not row.strip():
            continue
        match = re.match(r"\s*(\d+\.\d+)\s+-?\d+ *([^\s+\-\[,]*)(.*)", row)
        if match is None:
            raise UserError(f"{path}: row {row.strip()!r} is no label; copy the file again")
        marks = MARK.findall(match[3])
        if match[2]:
            state = is_voiced(match[2])
        if marks:
            state = marks[-1] == "+"
        spans.append(Voicing(float(match[1]), state))
    return spans


def is_voiced(symbol: str) -> bool | None:
    """Whether a symbol stands for a voiced sound; ``None`` where that is open."""
    if symbol in VOICED or all(letter in VOWELS for letter in symbol):
        return True
    if symbol in UNVOICED:
        return False
    return is_voiced(symbol[0]) if len(set(symbol)) == 1 < len(symbol) else None  # "nn"


def voicing_at(
    spans: Sequence[Voicing], times_s: np.ndarray, margin_s: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """Voicing at some times, and where it is known.

    Args:
        spans: Stretches in order of time, each up to the next, the last one without end.
        times_s: Times in s, (T,).
        margin_s: About a change of voicing nothing is known for so long on both sides, in s, since
            labels are no more exact than this.

    Returns:
        Whether it is voiced, (T,), and whether that is known, (T,).
    """
    starts = np.array([span.start_s for span in spans])
    state = np.array([-1, *(-1 if s.voiced is None else int(s.voiced) for s in spans)])
    now, before, later = (
        state[np.searchsorted(starts, times_s + shift, side="right")]
        for shift in (0.0, -margin_s, margin_s)
    )
    return now == 1, (now >= 0) & (before == now) & (later == now)
