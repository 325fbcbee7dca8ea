"""``run.json`` of a run: the identity under which W&B knows it."""

from pathlib import Path
from typing import TypedDict

from emovc.common.checked_values import read_checked


class _Record(TypedDict):
    id: str


def read_run_id(run: Path) -> str:
    """Identity of a run.

    Raises:
        UserError: The file is absent or damaged.
    """
    remedy = 'write {"id": "..."} with the id of the run in W&B, or remove the file'
    found: _Record = read_checked(run / "run.json", _Record, remedy)
    return found["id"]
