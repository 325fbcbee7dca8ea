"""The manifest: one JSON object per utterance and line."""

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from emovc.common.checked_values import unicode_text
from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.files import write_text

Split = Literal["train", "val", "test", "unused"]
SPLITS: tuple[str, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording and what its corpus says of it; what is unknown is ``None``.

    Attributes:
        id: Unique name, ``<corpus>/<...>``.
        path: Audio file.
        sha256: Hash of the file's bytes.
        sample_rate: Rate of the file in Hz.
        num_samples: Samples per channel.
        speaker: Speaker, unique over corpora (``nemo_SB0``).
        gender: ``F`` or ``M``.
        emotion: Canonical emotion, one of :data:`~emovc.common.emotions.EMOTIONS`.
        emotion_raw: The corpus' own label.
        intensity: The corpus' own grade (RAVDESS ``normal``/``strong``).
        arousal: Mean rating, 1 (calm) to 7 (active).
        valence: Mean rating, 1 (negative) to 7 (positive).
        dominance: Mean rating, 1 (weak) to 7 (strong).
        sentence: Same value, same words: the key to parallel recordings.
        take: Repetition of the same sentence, speaker, emotion and intensity.
        text: Transcript.
        language: ISO 639-1 code.
        corpus: Name of the corpus.
        split: Part it belongs to; ``None`` before splits are made.
        split_id: Name of the split of the whole corpus.
    """

    id: str
    path: Path
    sha256: str
    sample_rate: int
    num_samples: int
    speaker: str
    corpus: str
    gender: str | None = None
    emotion: str | None = None
    emotion_raw: str | None = None
    intensity: str | None = None
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None
    sentence: str | None = None
    take: str | None = None
    text: str | None = None
    language: str | None = None
    split: Split | None = None
    split_id: str | None = None

    @property
    def seconds(self) -> float:
        """Duration in s."""
        return self.num_samples / self.sample_rate


FIELDS = {field.name: field for field in dataclasses.fields(Utterance)}
REQUIRED = [name for name, field in FIELDS.items() if field.default is dataclasses.MISSING]
LOWEST, HIGHEST = 1, 7  # of ratings
UNKNOWN = ("", "nan", "na", "n/a", "none", "null", "-")  # in tables
LONGEST_PART = 200  # bytes of a part of an id; file systems take 255, and endings are added
NUMBERS = ("sample_rate", "num_samples", "arousal", "valence", "dominance")


def read_manifest(path: Path) -> list[Utterance]:
    """Read a manifest; relative audio paths are relative to it.

    Raises:
        UserError: The file is absent or empty, or a line is no JSON, lacks a column, or holds an
            unknown column, emotion or split, a wrong type, a rating out of its scale, an id that
            can't name files or was there before.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # other breaks stand inside texts
    except FileNotFoundError:
        raise UserError(f"{path}: no such manifest; make one with emovc prepare") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise UserError(
            f"{path}: not a UTF-8 JSONL manifest; make one with emovc prepare"
        ) from None
    rows = [_parse(line, f"{path}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UserError(f"{path}: the manifest is empty; make one with emovc prepare")
    seen: set[str] = set()
    for row in rows:
        if row["id"] in seen:
            raise UserError(f"{path}: id {row['id']} stands twice; ids must be unique")
        seen.add(row["id"])
    return [Utterance(**{**row, "path": path.parent / row["path"]}) for row in rows]


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest atomically; audio below its folder is stored by relative path."""
    folder = path.parent.resolve()
    lines = []
    for utterance in utterances:
        row = {k: getattr(utterance, k) for k in FIELDS}
        audio = Path(row["path"]).resolve()
        row["path"] = str(audio.relative_to(folder) if audio.is_relative_to(folder) else audio)
        lines.append(json.dumps(row, ensure_ascii=False))
    write_text(path, "\n".join(lines) + "\n")


def _parse(line: str, where: str) -> dict[str, Any]:
    """Check one line's columns, types and labels."""
    try:
        row = json.loads(line, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}: not JSON ({error.msg}); one object per line is expected"
        ) from None
    except ValueError as error:
        raise UserError(f"{where}: holds {error}, which is no JSON; write null") from None
    except RecursionError:
        raise UserError(f"{where}: is nested too deeply; one flat object is expected") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a JSON object; one object per line is expected")
    missing = [name for name in REQUIRED if row.get(name) is None or row[name] == ""]
    if missing:
        raise UserError(f"{where}: column {missing[0]} is missing; emovc prepare writes it")
    unknown = sorted(row.keys() - FIELDS.keys())
    if unknown:
        raise UserError(f"{where}: unknown column {unknown[0]}; known are {', '.join(FIELDS)}")
    for name, value in row.items():
        _check_type(name, value, where)
    if "\0" in row["path"]:
        raise UserError(f"{where}: path holds a NUL character; emovc prepare writes it")
    if problem := _id_problem(row["id"]):
        raise UserError(f"{where}: id {row['id']!r} {problem}; it names files of results")
    if row.get("emotion") not in (None, *EMOTIONS):
        raise UserError(
            f"{where}: unknown emotion {row['emotion']!r}; use one of {', '.join(EMOTIONS)} or null"
        )
    if row.get("split") not in (None, *SPLITS):
        raise UserError(f"{where}: unknown split {row['split']!r}; use one of {', '.join(SPLITS)}")
    return row


def rating_of(text: str, where: str) -> float | None:
    """A mean rating of arousal, valence or dominance from a table; nothing where it is unknown.

    Args:
        text: The cell, perhaps with a decimal comma; empty, ``nan``, ``NA`` and the like are
            unknown.
        where: The cell's place, for messages.

    Raises:
        UserError: It is no number on the scale.
    """
    if text.strip().lower() in UNKNOWN:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not LOWEST <= value <= HIGHEST:
        raise UserError(
            f"{where} holds {text!r}; it must be a number from {LOWEST} to {HIGHEST}, or empty"
        )
    return value


def _no_number(constant: str) -> float:
    """Refuse NaN and Infinity, which Python reads as JSON."""
    raise ValueError(constant)


def _id_problem(name: str) -> str | None:
    """Why an id can't be part of a path below a folder of results."""
    parts = name.split("/")
    if any(part.strip() in ("", ".", "..") for part in parts):
        return "has an empty part, or one of dots"
    if any(ord(c) < 32 or c in "\\\x7f" for c in name):
        return "holds a back slash or a control character"
    if any(len(part.encode()) > LONGEST_PART for part in parts):
        return f"has a part of more than {LONGEST_PART} bytes"
    return None


def _check_type(name: str, value: Any, where: str) -> None:
    """Numbers are numbers and everything else is text."""
    if value is None:
        return
    if name in ("sample_rate", "num_samples"):
        least, what = (1, "a rate above 0") if name == "sample_rate" else (0, "a count")
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    elif name in NUMBERS:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        good, what = number and LOWEST <= value <= HIGHEST, f"a number from {LOWEST} to {HIGHEST}"
    else:
        good, what = isinstance(value, str) and unicode_text(value), "text"
    if not good:
        raise UserError(f"{where}: column {name} holds {value!r}; it must be {what}")
