"""Folds of a corpus for cross-validation: random ones, and ones that share no speaker."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance

Protocol = Literal["speaker", "random"]
VAL_PARTS = 10  # one of so many parts of what is not tested on is for validation


class Fold(NamedTuple):
    """Indices of utterances.

    Attributes:
        train: Utterances to learn from, (N,).
        val: Utterances to choose the epoch by, (N,).
        test: Utterances to score, (N,).
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def make_folds(
    utterances: Sequence[Utterance], protocol: Protocol, n_folds: int = 5, seed: int = 0
) -> list[Fold]:
    """Draw folds in which each utterance is tested once.

    * ``speaker``: each fold tests speakers that it learns nothing of, women and men dealt out
      alike, and validates on a tenth of the others, at least one. Speakers who share a file, byte
      by byte, stay together.
    * ``random``: each fold has the same share of each emotion, and validates on a tenth of the
      rest; identical files stay together. Speakers are in all parts, which flatters the result.

    Args:
        utterances: Utterances with an emotion.
        protocol: What is drawn.
        n_folds: Number of folds.
        seed: Seed of the draw.

    Raises:
        UserError: There are too few speakers, or files, for so many folds.
    """
    rng = np.random.default_rng(seed)
    if protocol == "speaker":
        leader = _tied_speakers(utterances)
        units = [leader[u.speaker] for u in utterances]
        strata = {leader[u.speaker]: u.gender or "" for u in utterances}
    else:
        units = [u.sha256 for u in utterances]
        strata = {u.sha256: u.emotion or "" for u in utterances}
    least = len(strata) - math.ceil(len(strata) / max(n_folds, 1))  # to learn from and validate on
    if not 2 <= n_folds <= len(strata) or least < 2:
        what = "speakers" if protocol == "speaker" else "files"
        raise UserError(
            f"{n_folds} {protocol} folds of {len(strata)} {what}: each fold must test one and leave"
            " two; choose another number with --folds"
        )
    numbers = _deal(strata, n_folds, rng)
    return [_fold(units, strata, numbers, k, rng) for k in range(n_folds)]


def find_gaps(folds: Sequence[Fold], labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """One line for each class that a training or test part of a fold lacks.

    Args:
        folds: Folds.
        labels: Classes of all utterances, (N,).
        names: Names of the classes.
    """
    return [
        f"fold {k}: no utterance of {name} in its {part} part"
        for k, fold in enumerate(folds)
        for part, rows in (("training", fold.train), ("test", fold.test))
        for i, name in enumerate(names)
        if i not in labels[rows]
    ]


def _fold(
    units: Sequence[str],
    strata: dict[str, str],
    numbers: dict[str, int],
    k: int,
    rng: np.random.Generator,
) -> Fold:
    """The fold that tests the units of number ``k`` and validates on some of the others."""
    rest = {unit: stratum for unit, stratum in strata.items() if numbers[unit] != k}
    places = _deal(rest, VAL_PARTS, rng)
    part = np.array([2 if numbers[u] == k else int(places[u] == 0) for u in units])
    train, val, test = (np.flatnonzero(part == p) for p in range(3))
    return Fold(train, val, test)


def _deal(strata: dict[str, str], n: int, rng: np.random.Generator) -> dict[str, int]:
    """Number of each unit, 0 to ``n - 1``: dealt out like cards, one stratum after the other."""
    members: dict[str, list[str]] = defaultdict(list)
    for unit in sorted(strata):
        members[strata[unit]].append(unit)
    order = [str(stratum) for stratum in rng.permutation(sorted(members))]
    cards = [str(unit) for stratum in order for unit in rng.permutation(members[stratum])]
    return {unit: k % n for k, unit in enumerate(cards)}


def _tied_speakers(utterances: Sequence[Utterance]) -> dict[str, str]:
    """For each speaker one who stands for all that share a file with each other."""
    leader = {u.speaker: u.speaker for u in utterances}
    owner: dict[str, str] = {}
    for u in utterances:
        a, b = leader[owner.setdefault(u.sha256, u.speaker)], leader[u.speaker]
        if a != b:
            leader = {name: a if of == b else of for name, of in leader.items()}
    return leader
