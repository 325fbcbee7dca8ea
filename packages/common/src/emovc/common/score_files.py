"""Scores and summaries as evaluations keep them in files, checked when they are read back."""

import math
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

from emovc.common.checked_values import Between, checked, read_checked
from emovc.common.errors import UserError
from emovc.common.files import file_name, parse_json
from emovc.common.panel import Gap
from emovc.common.scores import Score

ANEW = "remove the file and give the same command again"
EVALUATE = "give the same emovc evaluate again, or another folder"


class ScoreRow(TypedDict):
    """A :class:`~emovc.common.scores.Score`; null where a metric has no value."""

    pair: str
    row: str
    speaker: str
    emotion: str
    metrics: dict[str, float | None]
    labels: NotRequired[dict[str, str]]


class Part(NamedTuple):
    """What was found of one pair.

    Attributes:
        scores: Scores of its rows.
        gaps: What could not be judged.
        rtf: Real-time factor of its conversion, where there was one.
    """

    scores: list[Score]
    gaps: list[Gap]
    rtf: float | None


class _Part(TypedDict):
    scores: list[ScoreRow]
    gaps: list[Gap]
    rtf: NotRequired[float | None]


class JudgeRecord(TypedDict):
    """A judge of an evaluation."""

    name: str
    metrics: dict[str, str]
    about: dict[str, Any]
    marks: list[str]


class GapCount(TypedDict):
    """How often a judge gave a reason."""

    judge: str
    reason: str
    rows: Annotated[int, Between(0)]


class SummaryFile(TypedDict, total=False):
    """What is read of ``summary.json``."""

    judges: list[JudgeRecord]
    gaps: list[GapCount]
    left_out: list[str]
    texts: dict[str, str]
    keys: dict[str, float]
    cost: dict[str, float | None]


class SettingsFile(TypedDict, total=False):
    """What is read of ``settings.json``."""

    model: str
    manifest: str | None
    split: str
    dialect: str


def read_part(path: Path) -> Part:
    """Read what was found of one pair.

    Raises:
        UserError: The file is damaged.
    """
    found: _Part = read_checked(path, _Part, ANEW, nan_as_null=True)
    return Part(scores_of(found["scores"], str(path), ANEW), found["gaps"], found.get("rtf"))


def read_scores(path: Path) -> list[Score]:
    """All scores of ``scores.jsonl``; a line cut off by a kill is left out.

    Raises:
        UserError: A line holds something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path}: no scores of emovc evaluate; {EVALUATE}") from None
    found: list[Score] = []
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        rows = checked(parse_json(line, where, nan_as_null=True), list[ScoreRow], where, EVALUATE)
        found += scores_of(rows, where, EVALUATE)
    return found


def scores_of(rows: list[ScoreRow], where: str, remedy: str) -> list[Score]:
    """Scores out of a file, whose pairs and rows name files.

    Raises:
        UserError: They can't.
    """
    for one in rows:
        for key in ("pair", "row"):
            name: str = one[key]
            if file_name(name) != name:
                raise UserError(f"{where}: {key} {name[:60]!r} can't name a file; {remedy}")
    return [
        Score(
            one["pair"],
            one["row"],
            one["speaker"],
            one["emotion"],
            {name: math.nan if v is None else v for name, v in one["metrics"].items()},
            one.get("labels", {}),
        )
        for one in rows
    ]


def read_summary(path: Path) -> SummaryFile:
    """Read ``summary.json``.

    Raises:
        UserError: It is damaged.
    """
    found: SummaryFile = read_checked(path, SummaryFile, EVALUATE, nan_as_null=True)
    return found


def read_run_settings(path: Path) -> dict[str, Any]:
    """Read ``settings.json``, what an evaluation's numbers depend on.

    Raises:
        UserError: It is damaged.
    """
    found: dict[str, Any] = read_checked(path, SettingsFile, EVALUATE)
    return found
