"""The callbacks that every run needs, whatever callbacks its config lists."""

from collections.abc import Collection, Sequence
from typing import Literal

import lightning as L
from lightning.fabric.utilities.rank_zero import rank_zero_info

from emovc.common.callbacks import ExactResume, GradientGuard, Progress
from emovc.common.checkpoints import LastCheckpoint
from emovc.common.interrupts import Interrupts
from emovc.common.run_lock import RunLock

Needed = Literal[
    "RunLock", "Progress", "GradientGuard", "ExactResume", "LastCheckpoint", "Interrupts"
]
NAMED = (Progress, GradientGuard, ExactResume, LastCheckpoint)  # those of defaults.yaml


def with_needed(given: Sequence[L.Callback], without: Collection[Needed] = ()) -> list[L.Callback]:
    """The callbacks of a config and those a run needs.

    In Lightning a list of callbacks replaces the one before, so a config that lists its own would
    train without a state to resume from, and nothing would say so.

    Args:
        given: Callbacks of the config; one of a class that is needed, or below it, stands for it.
        without: Names of classes to leave out, needed or listed.
    """
    kept = [callback for callback in given if type(callback).__name__ not in without]
    added = [
        kind()
        for kind in NAMED
        if kind.__name__ not in without and not any(isinstance(c, kind) for c in kept)
    ]
    if added:
        names = ", ".join(type(callback).__name__ for callback in added)
        rank_zero_info(f"trainer.callbacks: {names} beside those listed; --without leaves one out")
    first = [] if "RunLock" in without else [RunLock()]
    last = [] if "Interrupts" in without else [Interrupts()]
    return [*first, *added, *kept, *last]
