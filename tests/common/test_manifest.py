"""Manifests: round trip, and one clear line for what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest, write_manifest

ROW: dict[str, Any] = {
    "id": "x/a",
    "path": "audio/a.wav",
    "sha256": "0" * 64,
    "sample_rate": 16_000,
    "num_samples": 32_000,
    "speaker": "x_1",
    "corpus": "x",
    "emotion": "happy",
    "split": "train",
}


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_round_trip_and_relative_paths(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.jsonl", ROW, {**ROW, "id": "x/b", "path": "/elsewhere/b.wav"})
    rows = read_manifest(path)
    assert rows[0].path == tmp_path / "audio/a.wav" and rows[0].seconds == 2.0
    write_manifest(tmp_path / "sub" / "m.jsonl", rows)
    again = read_manifest(tmp_path / "sub" / "m.jsonl")
    assert [r.path.resolve() for r in again] == [r.path.resolve() for r in rows]
    write_manifest(tmp_path / "copy.jsonl", rows)
    assert '"path": "audio/a.wav"' in (tmp_path / "copy.jsonl").read_text()
    assert read_manifest(tmp_path / "copy.jsonl") == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speaker": None}, "m.jsonl:2: column speaker is missing"),
        ({"emotion": "joyful"}, "unknown emotion 'joyful'; use one of neutral, angry"),
        ({"split": "dev"}, "unknown split 'dev'; use one of train, val, test"),
        ({"spekaer": "a"}, "unknown column spekaer; known are id, path"),
        ({"num_samples": "many"}, "column num_samples holds 'many'; it must be a count"),
        ({"arousal": "high"}, "column arousal holds 'high'; it must be a number"),
        ({"text": 3}, "column text holds 3; it must be text"),
        ({"id": "x/a"}, "id x/a stands twice"),
    ],
)
def test_bad_rows(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write_rows(tmp_path / "m.jsonl", ROW, {**ROW, "id": "x/b", **change})
    with pytest.raises(UserError, match=message) as error:
        read_manifest(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"{]", "m.jsonl:1: not JSON"),
        (b"[1]", "not a JSON object"),
        (b"\xff\xfe", "not a UTF-8 JSONL manifest"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path / "m.jsonl")
    with pytest.raises(UserError, match="no such manifest; make one with emovc prepare"):
        read_manifest(tmp_path / "absent.jsonl")


def test_unknown_optional_fields_are_none(tmp_path: Path) -> None:
    row: Utterance = read_manifest(write_rows(tmp_path / "m.jsonl", ROW))[0]
    assert row.text is None and row.arousal is None and row.split_id is None


@pytest.mark.parametrize("name", ["", " ", "/etc/x", "a/../b", "..", "a//b", "a/./b", "a\\b",
                                  "a\nb", "a\x00b", "x" * 300])  # fmt: skip
def test_ids_that_would_leave_the_folder_of_results_are_named(tmp_path: Path, name: str) -> None:
    row = {"id": name, "path": "a.wav", "sha256": "0", "sample_rate": 16_000, "num_samples": 1,
           "speaker": "s", "corpus": "c"}  # fmt: skip
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="m.jsonl:1: (id|column id)"):
        read_manifest(tmp_path / "m.jsonl")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "9", "0", "1e400", "true"])
@pytest.mark.parametrize("column", ["arousal", "valence", "dominance"])
def test_ratings_are_numbers_of_their_scale(tmp_path: Path, column: str, value: str) -> None:
    row = '{"id": "c/a", "path": "a.wav", "sha256": "0", "sample_rate": 16000, "num_samples": 1,'
    row += f' "speaker": "s", "corpus": "c", "{column}": {value}}}'
    (tmp_path / "m.jsonl").write_text(row + "\n")
    with pytest.raises(UserError, match="m.jsonl:1: (holds|column)"):
        read_manifest(tmp_path / "m.jsonl")


def test_deeply_nested_lines_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(UserError, match="m.jsonl:1: "):
        read_manifest(tmp_path / "m.jsonl")
