"""Evaluations beside each other: alignment, refusals, gaps, tables."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from tests.common.evaluations import JUDGES, judge, pair, write_evaluation

from emovc.common.compare import compare
from emovc.common.comparison import align, differences
from emovc.common.comparison_reading import read_evaluation, read_evaluations
from emovc.common.comparison_tables import confusions, model_rows
from emovc.common.errors import UserError
from emovc.common.files import read_json, write_json


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two evaluations, the second one's model a decibel better."""
    first = write_evaluation(tmp_path / "a", "runs/first", 6.0, right=1, sound=False)
    return [first, write_evaluation(tmp_path / "b", "runs/second", 5.0, right=3, sound=False)]


def test_columns_are_references_and_models_and_values_are_aligned(two: list[Path]) -> None:
    found = align(read_evaluations(two, None))
    assert list(found.columns) == ["source", "target", "copy-synthesis", "first", "second"]
    assert found.pairs == [pair(i) for i in range(12)]
    assert found.values("first", "mcd_db") == pytest.approx(6 + 0.01 * np.arange(12))
    assert (found.values("first", "duration_error_s") > 0).all()
    assert found.notes == [f"{c}: no audio of 12 sentences, as of {pair(0)}" for c in found.columns]
    assert found.table()["second"]["mcd_db"].mean == pytest.approx(5.055)


def test_a_constant_difference_is_found_exactly(two: list[Path]) -> None:
    rows = {d.metric: d for d in differences(align(read_evaluations(two, None)))}
    mcd = rows["mcd_db"]
    assert (mcd.first, mcd.second, mcd.n, mcd.speakers) == ("first", "second", 12, 4)
    assert (mcd.mean, mcd.low, mcd.high) == pytest.approx((1, 1, 1))
    assert mcd.p == 2 / 2**4  # the least that four speakers can give
    assert mcd.p_holm == 5 * mcd.p  # the smallest of five
    assert rows["speaker_similarity"].p == 1.0


def test_order_of_the_pairs_does_not_matter(two: list[Path]) -> None:
    expected = align(read_evaluations(two, None)).table()
    file = two[1] / "scores.jsonl"
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    assert align(read_evaluations(two, None)).table() == expected


@pytest.mark.parametrize("key", ["manifest", "split", "dialect", "seed"])
def test_other_conditions_are_refused_by_name(two: list[Path], tmp_path: Path, key: str) -> None:
    other = write_evaluation(tmp_path / "c", "runs/third", sound=False, **{key: "x"})
    with pytest.raises(UserError, match=rf"{other}: made with another {key} \(x\)") as error:
        read_evaluations([two[0], other], None)
    assert "\n" not in str(error.value)


def test_unequal_lists_are_compared_on_what_they_share(two: list[Path], tmp_path: Path) -> None:
    short = write_evaluation(tmp_path / "c", "runs/short", 7.0, n_pairs=5, sound=False)
    found = align(read_evaluations([two[0], short], None))
    assert len(found.pairs) == 5
    assert "first: 12 sentences were scored, of which the 5 shared by all are compared" in (
        found.notes
    )
    assert {d.n for d in differences(found)} == {5}


def test_a_metric_that_older_evaluations_lack_is_a_column_with_gaps(two: list[Path]) -> None:
    """Gross pitch errors came later than the first evaluations, which still load."""
    assert "f0_gpe" not in align(read_evaluations(two, None)).metrics
    file = two[1] / "scores.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for score in (s for line in lines for s in line):
        score["metrics"]["f0_gpe"] = 0.25
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = align(read_evaluations(two, None))
    assert found.metrics["f0_gpe"] == "gross pitch error"
    values = {name: metrics["f0_gpe"] for name, metrics in found.table().items()}
    assert (values["second"].mean, values["second"].n) == (0.25, 12)
    assert values["first"].n == 0
    assert "f0_gpe" not in {d.metric for d in differences(found)}


def test_missing_audio_and_scores_are_listed_and_the_rest_is_compared(
    tmp_path: Path,
) -> None:
    two = [write_evaluation(tmp_path / "a", "first", 6.0)]
    two.append(write_evaluation(tmp_path / "b", "second", 5.0))
    assert align(read_evaluations(two, None)).notes == []
    (two[1] / "audio" / "model" / f"{pair(3)}.wav").unlink()
    file = two[1] / "scores.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[4] = [score for score in lines[4] if score["row"] != "model"]
    lines[5][1]["metrics"]["mcd_db"] = float("nan")
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = align(read_evaluations(two, None))
    assert f"second: no audio of 1 sentences, as of {pair(3)}" in found.notes
    assert f"second: no scores of 1 sentences, as of {pair(4)}" in found.notes
    rows = {d.metric: d for d in differences(found)}
    assert rows["mcd_db"].n == 10
    assert rows["speaker_similarity"].n == 11
    assert rows["mcd_db"].mean == pytest.approx(1)


def test_judges_that_differ_are_left_out_and_lone_ones_are_named(tmp_path: Path) -> None:
    a = write_evaluation(tmp_path / "a", "a", judges=[judge("ear"), judge("lone")], sound=False)
    b = write_evaluation(tmp_path / "b", "b", judges=[judge("ear", weights="z")], sound=False)
    found = align(read_evaluations([a, b], None))
    assert any(n.startswith("ear: another judge in b than in a") for n in found.notes)
    assert "lone: this judge didn't hear b" in found.notes
    assert "emotion_accuracy_ear" not in found.metrics
    assert found.table()["b"]["emotion_accuracy_lone"].n == 0
    assert list(confusions(found)) == ["lone"]


def test_confusions_count_every_sentence(two: list[Path]) -> None:
    found = confusions(align(read_evaluations(two, None)))
    assert list(found) == ["ear", "other"]
    first = found["ear"]["first"]
    assert first.wanted == ["angry", "happy", "sad"]
    assert first.heard == ["neutral", "angry", "happy", "sad"]  # neutral is what sources are
    assert first.counts.tolist() == [[0, 4, 0, 0], [0, 0, 0, 4], [0, 0, 0, 4]]
    assert found["ear"]["target"].counts[:, 1:].tolist() == np.diag([4, 4, 4]).tolist()
    assert found["ear"]["source"].counts.sum(0).tolist() == [12, 0, 0, 0]


def test_copy_synthesis_stands_once_per_vocoder(two: list[Path], tmp_path: Path) -> None:
    other = write_evaluation(tmp_path / "c", "third", copy=2.0, sound=False)
    found = align(read_evaluations([*two, other], None))
    copies = [name for name in found.columns if name.startswith("copy")]
    assert copies == ["copy-synthesis (first, second)", "copy-synthesis (third)"]
    assert found.copy_of["second"] == copies[0]
    assert found.table()[copies[1]]["mcd_db"].mean == 2.0


def test_old_folders_without_judges_and_labels_are_read(two: list[Path]) -> None:
    file = two[0] / "scores.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for score in (s for line in lines for s in line):
        del score["labels"]
        score["metrics"] = {k: v for k, v in score["metrics"].items() if "emotion" not in k}
        score["metrics"]["rtf"] = 0.1
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '[{"pair": "cut o')
    summary = read_json(two[0] / "summary.json")
    write_json(two[0] / "summary.json", {"keys": summary["keys"]})
    found = align(read_evaluations(two, None))
    assert found.metrics["rtf"] == "rtf"
    assert found.table()["first"]["mcd_db"].n == 12
    assert "ear: this judge didn't hear first" in found.notes
    (two[0] / "summary.json").unlink()
    assert "isn't finished" in read_evaluation(two[0]).gaps[0]


def test_gaps_and_costs_of_the_evaluation_are_told(two: list[Path]) -> None:
    summary = read_json(two[0] / "summary.json")
    summary["gaps"] = [{"judge": "ear", "reason": "no speech", "rows": 2, "pairs": [pair(0)]}]
    summary["left_out"] = ["x.Judge: x is not installed"]
    summary["cost"] = {"real_time_factor": 0.123, "parameters": 1234567}
    write_json(two[0] / "summary.json", summary)
    found = align(read_evaluations(two, None))
    assert "first: ear: no speech (2 recordings)" in found.notes
    assert "first: left out: x.Judge: x is not installed" in found.notes
    assert model_rows(found)[1][-3:] == ["0.123", "1,234,567", "-"]


def test_models_of_one_name_are_named_after_their_folders(tmp_path: Path) -> None:
    folders = [write_evaluation(tmp_path / n, "runs/x", sound=False) for n in ("p", "q")]
    assert [e.name for e in read_evaluations(folders, None)] == ["p", "q"]
    assert [e.name for e in read_evaluations(folders, ["u", "v"])] == ["u", "v"]
    for names in (["u"], ["u", "u"], ["source", "v"]):
        with pytest.raises(UserError, match="names: "):
            read_evaluations(folders, names)


def test_bad_folders_say_what_to_do(two: list[Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UserError, match="holds no evaluation"):
        read_evaluation(run)
    (run / "config.yaml").write_text("data: {init_args: {manifest: data/x.jsonl}}")
    command = f"emovc evaluate {run} data/x.jsonl -o {tmp_path / 'report_run'}"
    with pytest.raises(UserError, match=command):
        read_evaluation(run)
    with pytest.raises(UserError, match="no such folder"):
        read_evaluation(tmp_path / "absent")
    (two[0] / "scores.jsonl").write_text("{nothing}\n")
    with pytest.raises(UserError, match=r"scores\.jsonl:1: not valid JSON"):
        read_evaluation(two[0])
    (two[0] / "scores.jsonl").unlink()
    with pytest.raises(UserError, match="isn't finished"):
        read_evaluation(two[0])


def test_the_command_writes_and_prints_everything(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    compare(two, out)
    printed = capsys.readouterr().out
    assert "| first − second |" in printed
    assert printed.startswith((out / "table.md").read_text())
    table = json.loads((out / "table.json").read_text())
    assert table["rows"]["first"]["mcd_db"]["mean"] == pytest.approx(6.055)
    assert table["confusion"]["ear"]["second"]["counts"] == [
        [0, 4, 0, 0],
        [0, 0, 4, 0],
        [0, 0, 0, 4],
    ]
    assert table["emotions"]["mcd_db"]["first"]["sad"]["n"] == 4
    assert table["judges"][1]["marks"] == dict.fromkeys(
        ("first", "second"), ["saw toy in training"]
    )
    with (out / "table.csv").open() as file:
        rows = {(r["row"], r["metric"]): r for r in csv.DictReader(file)}
    assert float(rows["second", "mcd_db"]["mean"]) == pytest.approx(5.055)
    assert len(rows) == 5 * (3 + len(JUDGES))
    with (out / "pairs.csv").open() as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == 12 * (3 + len(JUDGES))
    mcd = [r for r in pairs if r["metric"] == "mcd_db"]
    assert all(float(r["first"]) - float(r["second"]) == pytest.approx(1) for r in mcd)
    plots = {p.stem for p in (out / "plots").glob("*.png")}
    assert plots == {
        "metrics", "emotions", "emotion_and_speaker", "confusion_ear", "confusion_other"
    }  # fmt: skip
    assert (out / "index.html").exists()


def test_one_evaluation_has_a_table_and_no_tests(two: list[Path]) -> None:
    found = align(read_evaluations(two[:1], None))
    assert differences(found) == []
    assert list(found.table()) == ["source", "target", "copy-synthesis", "first"]


def test_errors_of_strength_are_compared_by_their_squares(two: list[Path]) -> None:
    for folder, error in zip(two, (0.3, -0.1), strict=True):
        file = folder / "scores.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for score in (s for line in lines for s in line):
            score["metrics"]["strength_rmse_x"] = error
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = align(read_evaluations(two, None))
    assert found.table()["second"]["strength_rmse_x"].mean == pytest.approx(0.1)
    rows = {d.metric: d for d in differences(found)}
    assert rows["strength_rmse_x"].mean == pytest.approx(0.09 - 0.01)
