"""What files hold is checked at every door: its type, its range, its keys, and that it is whole."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import numpy as np
import pytest
from tests.common.evaluations import write_evaluation

from emovc.common.checked_values import Between, checked, read_checked
from emovc.common.comparison_reading import read_evaluation
from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore, ShardWriter
from emovc.common.files import read_json, write_json
from emovc.common.prepare import usual_tracker
from emovc.common.run_record import read_run_id
from emovc.common.score_files import read_part
from emovc.common.speakers_file import read_speakers
from emovc.common.yaml_files import parse_yaml, read_yaml


class Point(NamedTuple):
    x: float
    name: str = "origin"


class Row(TypedDict):
    kind: Literal["a", "b"]
    share: Annotated[float, Between(0, 1)]
    place: tuple[int, int]
    points: list[Point]
    note: str | None


ROW: dict[str, Any] = {
    "kind": "a", "share": 0.5, "place": [1, 2], "points": [{"x": 3}], "note": None, "spare": 1,
}  # fmt: skip


def test_what_fits_is_given_back() -> None:
    found = checked(ROW, Row, "file", "mend it")
    assert found == {**ROW, "place": (1, 2), "points": [Point(3)]}
    assert checked(3, float, "file", "mend it") == 3
    assert checked({"a": [True]}, dict[str, Any], "file", "mend it") == {"a": [True]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "c"}, "kind holds 'c', which must be one of a, b"),
        ({"share": 1.5}, "share holds 1.5, which must be 0 to 1"),
        ({"share": True}, "share holds True, which must be a number"),
        ({"share": math.nan}, "share holds nan, which must be a finite number"),
        ({"share": 10**400}, "which must be a finite number"),
        ({"place": [1]}, "place holds .*, which must be a list of 2"),
        ({"place": [1, 2.5]}, r"place\[1\] holds 2.5, which must be a whole number"),
        ({"points": [{}]}, r"points\[0\]\.x is missing"),
        ({"points": [{"x": 1, "y": 2}]}, r"points\[0\]\.y is unknown"),
        ({"points": {"x": 1}}, "points holds .*, which must be a list"),
        ({"note": 3}, "note holds 3, which must be text"),
        ({"note": "\ud800"}, r"note holds '\\ud800', which must be text of Unicode"),
        ({"note": "x" * 1000 and ["x" * 1000]}, "note holds .{60}..., which must be text"),
    ],
)
def test_the_key_that_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^file: {message}; mend it$|^file: .*{message}; mend it$"):
        checked(ROW | change, Row, "file", "mend it")


def test_missing_keys_and_other_types(tmp_path: Path) -> None:
    short = {k: v for k, v in ROW.items() if k != "place"}
    with pytest.raises(UserError, match="file: place is missing; mend it"):
        checked(short, Row, "file", "mend it")
    for value in ([], None, 3, "text"):
        with pytest.raises(UserError, match="file: the file holds .*, which must be an object"):
            checked(value, Row, "file", "mend it")
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"deep\.json: is nested too deeply"):
        read_checked(path, Any, "mend it")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_of_json_are_finite(number: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(f'{{"a": [1, {number}]}}')
    with pytest.raises(UserError, match=rf"a\.json: holds {number}, which is no number"):
        read_json(path)
    if number == "NaN":
        assert read_json(path, nan_as_null=True) == {"a": [1, None]}
    else:
        with pytest.raises(UserError, match="which is no number"):
            read_json(path, nan_as_null=True)
    path.write_text("1" * 5000)
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(path)
    write_json(path, {"a": math.nan, "b": [math.inf, 1.5]})
    assert read_json(path) == {"a": None, "b": [None, 1.5]}


def test_yaml_is_no_larger_than_it_looks(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"bomb\.yaml: its aliases repeat into \de\+\d\d values"):
        read_yaml(path)
    shared = "a: &a {lr: 1}\nb: *a\nc:\n  <<: *a\n  x: 2\n"
    assert parse_yaml(shared, "--set") == {"a": {"lr": 1}, "b": {"lr": 1}, "c": {"lr": 1, "x": 2}}
    for text, message in (
        ("a: [1", "is no YAML"),
        ("&a [*a]", "nested too deeply, or in itself"),
        ("!!python/object:os.system x", "is no YAML"),
        ("a: 2020-13-45", "is no YAML"),
        ("? [1, 2]\n: 3", "is no YAML"),
    ):
        with pytest.raises(UserError, match=f"^here: .*{message}"):
            parse_yaml(text, "here")
    with pytest.raises(UserError, match="can't be read"):
        read_yaml(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """F0 of two files in a shard each."""
    folder = tmp_path / "features" / "f0-abc"
    for name in ("one", "two"):
        writer = ShardWriter(folder, "f0", {"hop_length": 256, "sample_rate": 22_050})
        writer.add(name, np.linspace(100, 200, 5))
        writer.flush()
    return folder


def _shard(folder: Path) -> Path:
    """Index of the file ``one``."""
    return next(p for p in folder.glob("*.json") if "one" in p.read_text())


def _meta(value: Any) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / "meta.json", value)


def _index(*place: Any) -> Callable[[Path], None]:
    return lambda folder: write_json(_shard(folder), {"one": place})


def _array(values: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(_shard(folder).with_suffix(".npy"), values, allow_pickle=True)


def _cut(folder: Path) -> None:
    path = _shard(folder).with_suffix(".npy")
    path.write_bytes(path.read_bytes()[:-8])


STORES: dict[str, Callable[[Path], Any]] = {
    r"meta\.json: name is missing": _meta({"settings": {}}),
    r"meta\.json: settings holds 1": _meta({"name": "f0", "settings": 1}),
    r"meta\.json: hop_length holds 0": _meta({"name": "f0", "settings": {"hop_length": 0}}),
    r"\.json: one holds \[0\], which must be a list of 2": _index(0),
    r"\.json: one\[0\] holds -1": _index(-1, 2),
    r"\.json: one\[1\] holds 'x'": _index(0, "x"),
    r"\.json: one has rows 2 to 7 of a shard of 5": _index(2, 5),
    r"\.json: not valid JSON": lambda folder: _shard(folder).write_text('{"one": [0'),
    r"\.npy: is absent": lambda folder: _shard(folder).with_suffix(".npy").unlink(),
    r"\.npy: is absent, or not a whole array": _cut,
    r"\.npy: holds NaN or infinity for one": _array(np.full((5, 1), np.nan, np.float32)),
    r"\.npy: must hold a table of numbers|1 numbers per row": _array(np.ones(5, np.float32)),
    r"\.npy: .*whole array": _array(np.array([[None]] * 5)),
    r"\.npy: must hold 1 numbers per row": _array(np.ones((5, 2), np.float32)),
}


@pytest.mark.parametrize("message", STORES)
def test_feature_stores(message: str, store: Path) -> None:
    FeatureStore(store).get("one")
    STORES[message](store)
    with pytest.raises(UserError, match=f"({message}).*(delete the folder and|make the file)"):
        found = FeatureStore(store)
        found.get("two")
        found.get("one")


def test_a_store_of_no_tracker_is_named(store: Path) -> None:
    with pytest.raises(UserError, match="class_path None is malformed"):
        usual_tracker(store.parent)


SPEAKER = {"log_f0_mean": 5.0, "log_f0_std": 0.2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the file holds"),
        ({"ann": {"log_f0_mean": 5}}, r"ann\.log_f0_std is missing"),
        ({"ann": SPEAKER | {"log_f0_std": -1}}, r"ann\.log_f0_std holds -1, which must be 0 to 10"),
        ({"ann": SPEAKER | {"log_f0_mean": "5"}}, r"ann\.log_f0_mean holds '5'"),
        ({"ann": SPEAKER | {"log_f0_mean": None}}, r"ann\.log_f0_mean holds None"),
    ],
)
def test_speakers(value: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "speakers.json"
    write_json(path, {"ann": SPEAKER})
    assert read_speakers(path) == {"ann": SPEAKER}
    write_json(path, value)
    with pytest.raises(UserError, match=rf"speakers\.json: {message}.*; run emovc prepare again"):
        read_speakers(path)


def test_runs(tmp_path: Path) -> None:
    for value in ({}, {"id": 3}, [], "x"):
        write_json(tmp_path / "run.json", value)
        with pytest.raises(UserError, match=r"run\.json: .*; write \{\"id\""):
            read_run_id(tmp_path)


def _edit(file: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / file
        lines = path.read_text().rstrip("\n").split("\n") if file.endswith("l") else []
        text = json.dumps(change(json.loads(lines[0] if lines else path.read_text())))
        path.write_text("\n".join([text, *lines[1:]]) + "\n")

    return edit


def _set(*keys: Any, value: Any) -> Callable[[Any], Any]:
    def change(found: Any) -> Any:
        inner = found
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        return found

    return change


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_edit("settings.json", lambda found: [found]), r"settings\.json: the file holds"),
        (_edit("settings.json", _set("model", value=3)), r"settings\.json: model holds 3"),
        (_edit("summary.json", _set("keys", value=[])), r"summary\.json: keys holds"),
        (_edit("summary.json", _set("keys", "x", value=math.inf)), r"holds Infinity"),
        (_edit("summary.json", _set("judges", 0, "marks", value=1)), r"judges\[0\]\.marks holds 1"),
        (_edit("summary.json", _set("judges", 0, value={})), r"judges\[0\]\.name is missing"),
        (_edit("summary.json", _set("gaps", value=[{}])), r"gaps\[0\]\.judge is missing"),
        (_edit("scores.jsonl", lambda found: found[0]), r"scores\.jsonl:1: the file holds"),
        (_edit("scores.jsonl", _set(0, "metrics", "mcd_db", value="6")), r"\[0\]\.metrics\.mcd_db"),
        (_edit("scores.jsonl", _set(0, "pair", value="../../x")), r"jsonl:1: pair '\.\./\.\./x'"),
        (_edit("scores.jsonl", _set(0, "row", value="a/b")), r"scores\.jsonl:1: row 'a/b' can't"),
        (_edit("scores.jsonl", _set(0, "labels", value=None)), r"\[0\]\.labels holds None"),
    ],
)  # fmt: skip
def test_evaluations(edit: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "report", "runs/one", sound=False, n_pairs=2)
    assert len(read_evaluation(folder).pairs) == 2
    edit(folder)
    with pytest.raises(UserError, match=message):
        read_evaluation(folder)


def test_parts_of_evaluations(tmp_path: Path) -> None:
    score = {"pair": "p", "row": "model", "speaker": "s", "emotion": "sad", "labels": {}}
    part = tmp_path / "p.json"
    part.write_text(
        json.dumps({"scores": [score | {"metrics": {"a": math.nan}}], "gaps": [], "rtf": math.nan})
    )  # as versions before this one wrote it
    found = read_part(part)
    assert math.isnan(found.scores[0].metrics["a"]) and found.rtf is None
    for value in ({}, {"scores": 1, "gaps": []}, {"scores": [score], "gaps": []}):
        write_json(part, value)
        with pytest.raises(
            UserError, match=r"p\.json: scores.*; remove the file and give the same"
        ):
            read_part(part)
