"""Durations of phones beside a manifest: one JSON object per line, the first says who made them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

from emovc.common.checked_values import Between, checked
from emovc.common.errors import UserError
from emovc.common.files import parse_json, write_text

ANEW = "write it anew with emovc export-durations"


class _Made(TypedDict):
    source: Any
    sample_rate: Annotated[int, Between(1)]
    hop_length: Annotated[int, Between(1)]
    weights: Any


class _Row(TypedDict):
    sha256: str
    phones: list[str]
    durations: list[Annotated[int, Between(0)]]


class Timed(NamedTuple):
    """Phones of an utterance and how long they last.

    Attributes:
        phones: Symbols.
        durations: Frames of each.
    """

    phones: list[str]
    durations: list[int]


class Durations(NamedTuple):
    """Durations of a corpus.

    Attributes:
        made: Who made them: ``source``, ``sample_rate``, ``hop_length``, and ``weights``, the hash
            of the aligner's.
        utterances: Durations by the hash of the audio file.
    """

    made: dict[str, Any]
    utterances: dict[str, Timed]


def durations_path(manifest: Path) -> Path:
    """Where the durations of a manifest lie unless another place is named."""
    return manifest.with_suffix(".durations.jsonl")


def write_durations(path: Path, made: Mapping[str, Any], utterances: Mapping[str, Timed]) -> None:
    """Write durations atomically.

    Args:
        path: File to write.
        made: Who made them, see :class:`Durations`.
        utterances: Durations by the hash of the audio file.
    """
    rows: list[Any] = [dict(made)]
    rows += [{"sha256": key, **timed._asdict()} for key, timed in utterances.items()]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_durations(path: Path) -> Durations:
    """Read durations.

    Raises:
        UserError: The file is absent or damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file of durations; emovc export-durations RUN MANIFEST writes it"
        ) from None
    except (UnicodeDecodeError, OSError):
        raise UserError(f"{path}: is no file of durations; write it anew") from None
    made = checked(parse_json(lines[0], f"{path}:1"), _Made, f"{path}:1", ANEW)
    found = {}
    for number, line in enumerate(lines[1:], 2):
        where = f"{path}:{number}"
        row: _Row = checked(parse_json(line, where), _Row, where, ANEW)
        if len(row["phones"]) != len(row["durations"]):
            raise UserError(f"{where}: phones and durations differ in number; {ANEW}")
        found[row["sha256"]] = Timed(row["phones"], row["durations"])
    return Durations(made, found)
