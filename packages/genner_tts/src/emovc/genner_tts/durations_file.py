"""Durations of phones beside a manifest: one JSON object per line, the first says who made them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from emovc.common.errors import UserError
from emovc.common.files import write_text


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
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        made = {key: rows[0][key] for key in ("source", "sample_rate", "hop_length", "weights")}
        found = {row["sha256"]: Timed(row["phones"], row["durations"]) for row in rows[1:]}
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file of durations; emovc export-durations RUN MANIFEST writes it"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, IndexError, TypeError):
        raise UserError(f"{path}: is no file of durations; write it anew") from None
    return Durations(made, found)
