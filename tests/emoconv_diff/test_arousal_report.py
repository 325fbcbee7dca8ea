"""The arousal experiment's choice, numbers and files, on made-up scores."""

import random
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.manifest import Utterance
from emovc.common.panel import Gap
from emovc.common.scores import Score
from emovc.emoconv_diff.arousal_report import (
    Sweep,
    constant_row,
    floor_of,
    judges_of,
    level_rows,
    write_report,
)
from emovc.emoconv_diff.experiments import choose
from emovc.ser.arousal_judge import arousal_metrics

LEVELS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
JUDGES = ("pseudo", "second")
SETTINGS: dict[str, Any] = {
    "utterances": 2, "corpora": ["toy"], "split": "test", "steps": 6, "solver": "ml", "seed": 0,
    "vocoder": "Griffin-Lim",
}  # fmt: skip
SOURCE = {"labels": "pseudo-labels of a regression, nobody rated them", "weights": "0123456789ab"}


def score(pair: str, row: str, measured: float, judges: tuple[str, ...] = JUDGES) -> Score:
    """What judges of one opinion say of a conversion, or of the source."""
    error = 9.0 if row == "source" else measured - (float(row) - 1) / 6  # 9: not to be counted
    metrics = {f"arousal_{judge}": measured for judge in judges}
    metrics |= {f"arousal_mse_{judge}": error**2 for judge in judges}
    metrics |= {f"arousal_abs_{judge}": 100 * abs(error) for judge in judges}
    return Score(pair, row, f"speaker_{pair}", "happy", metrics)


def sweep(judges: tuple[str, ...] = JUDGES) -> Sweep:
    """Two utterances: one is 0.1 above each level asked for, the other always 0.5."""
    scores = [score("a", "source", 0.3, judges), score("b", "source", 0.9, judges)]
    for level in LEVELS:
        scores.append(score("a", f"{level:g}", (level - 1) / 6 + 0.1, judges))
        scores.append(score("b", f"{level:g}", 0.5, judges))
    return Sweep(LEVELS, {"a": 4.0, "b": None}, scores, [])


def headings(judges: tuple[str, ...] = JUDGES) -> dict[str, str]:
    """What the judges announce."""
    return {m: h for judge in judges for m, h in arousal_metrics(judge).items()}


def report(out: Path, found: Sweep, labels: dict[str, Any] | None = SOURCE) -> str:
    """The written table."""
    judges = [{"name": name, "marks": [f"mark of {name}"]} for name in JUDGES]
    write_report(out, found, headings(), judges, SETTINGS, labels)
    return (out / "emoconv_arousal.md").read_text(encoding="utf-8")


def test_the_middle_whatever_is_asked_for_has_the_papers_errors() -> None:
    found = constant_row(LEVELS)
    assert found["all"] == pytest.approx((1 / 9, 200 / 7), abs=1e-12)
    assert found["4"] == (0.0, 0.0) and found["1"] == found["7"] == (0.25, 50.0)
    assert found["2"] == pytest.approx((1 / 9, 100 / 3))
    assert constant_row([1.0, 4.0])["all"] == (0.125, 25.0)


def test_errors_are_means_over_the_conversions_of_a_level() -> None:
    rows = level_rows(sweep(), "second")
    assert list(rows) == ["1", "2", "3", "4", "5", "6", "7", "all"]
    constant = constant_row(LEVELS)
    for name, errors in rows.items():
        assert errors.mse.mean == pytest.approx((0.01 + constant[name][0]) / 2)
        assert errors.absolute.mean == pytest.approx((10 + constant[name][1]) / 2)
        assert errors.mse.n == (14 if name == "all" else 2)
        assert errors.mse.low <= errors.mse.mean <= errors.mse.high


def test_the_floor_is_the_error_of_labelled_recordings_against_their_labels() -> None:
    found = sweep()
    assert floor_of(found, "pseudo") == pytest.approx(20.0)  # 0.3 against level 4
    assert floor_of(found._replace(labels={"a": 4.0, "b": 7.0}), "pseudo") == pytest.approx(15.0)
    assert floor_of(found._replace(labels={"a": None, "b": None}), "pseudo") is None
    deaf = [s._replace(metrics={}) if s.row == "source" else s for s in found.scores]
    assert floor_of(found._replace(scores=deaf), "pseudo") is None


def test_judges_of_arousal_are_known_by_what_they_announce() -> None:
    assert judges_of({"mcd_db": "MCD", **headings(("x", "msp-dim"))}) == ["x", "msp-dim"]
    assert judges_of({"similarity_dvector": "similarity"}) == []


def test_the_report_prints_no_control_the_paper_and_where_labels_are_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = report(tmp_path, sweep())
    for judge in JUDGES:
        assert f"| {judge} | 1 | 2 | 3 | 4 | 5 | 6 | 7 | all |" in text
        assert f"{judge}: mark of {judge}" in text
    assert text.count("| 0.1111 |\n") == text.count("| 28.57 |\n") == 2
    printed = "| 0.1644 | 0.0905 | 0.0469 | 0.0129 | 0.0253 | 0.0638 | 0.1102 | 0.072 |"
    assert text.count(printed) == 2 and text.count("| 21 |") == 2
    assert "pseudo-label" in text and "0123456789ab" in text
    assert "against their labels 20.00 %" in text
    assert "level 1: L_mse 0.1300 against 0.2500 of no control" in text
    assert text in capsys.readouterr().out


def test_the_files_hold_what_the_table_says(tmp_path: Path) -> None:
    report(tmp_path, sweep())
    found = read_json(tmp_path / "emoconv_arousal.json")
    assert found["errors"]["pseudo"]["all"]["mse"]["mean"] == pytest.approx(0.01 / 2 + 1 / 18)
    assert found["errors"]["second"]["4"]["abs"] == pytest.approx(
        {"mean": 5.0, "low": 0.0, "high": 10.0, "n": 2}
    )
    assert found["floor"] == pytest.approx({"pseudo": 20.0, "second": 20.0})
    assert found["labels"] == SOURCE and found["settings"] == SETTINGS
    assert found["order"]["pseudo"]["pairs"] == 2
    assert found["order"]["pseudo"]["spearman"] == pytest.approx(0.5)
    lines = (tmp_path / "emoconv_arousal.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(sweep().scores) and "arousal_mse_second" in lines[0]
    assert (tmp_path / "emoconv_arousal.png").stat().st_size > 1000


def test_rated_corpora_and_other_levels_are_not_compared_with_the_paper(tmp_path: Path) -> None:
    found = sweep()
    few = [s for s in found.scores if s.row in ("source", "1", "7")]
    gap = Gap("a", "4", "second", "silent")
    text = report(tmp_path, found._replace(levels=[1.0, 7.0], scores=few, gaps=[gap]), None)
    assert "pseudo-labelled" not in text and "printed" not in text
    assert "second: 1 rows missing, silent" in text


def test_what_audeerings_judge_measures_is_shown_too(tmp_path: Path) -> None:
    judges = ("pseudo", "msp-dim")
    write_report(tmp_path, sweep(judges), headings(judges), [], SETTINGS, None)
    text = (tmp_path / "emoconv_arousal.md").read_text(encoding="utf-8")
    assert "arousal, 0 to 1 (pseudo)" in text and "arousal, 0 to 1 (msp-dim)" in text


def corpus() -> list[Utterance]:
    """Three speakers, two emotions, four utterances of each, and others of the training part."""
    cells = product(("x", "y", "z"), ("happy", "sad"), range(4), ("test", "train"))
    return [
        Utterance(f"c/{s}{e}{i}{part}", Path("x"), f"{s}{e}{i}{part}", 1, 1, s, "c", emotion=e,
                  split="test" if part == "test" else "train")
        for s, e, i, part in cells
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 6, 7, 12, 15, 24, 99])
def test_speakers_and_emotions_take_turns(count: int) -> None:
    found = choose(corpus(), Path("m"), "test", count, 0)
    assert len(found) == len({u.id for u in found}) == min(count, 24)
    assert {u.split for u in found} == {"test"}
    turns = Counter((u.speaker, u.emotion) for u in found)
    most = max(turns.values())
    assert all(turns[cell] >= most - 1 for cell in product(("x", "y", "z"), ("happy", "sad")))


def test_the_choice_does_not_depend_on_the_order_of_the_rows_but_on_the_seed() -> None:
    rows = corpus()
    found = choose(rows, Path("m"), "test", 8, 0)
    for _ in range(3):
        random.Random(1).shuffle(rows)
        assert choose(rows, Path("m"), "test", 8, 0) == found
    assert choose(rows, Path("m"), "test", 8, 1) != found
    assert choose(rows, Path("m"), "test", 20, 0)[:8] == found


def test_all_of_a_part_is_taken_without_a_number_and_nothing_is_refused() -> None:
    assert len(choose(corpus(), Path("m"), "train", None, 0)) == 24
    with pytest.raises(UserError, match="split val is empty"):
        choose(corpus(), Path("m"), "val", None, 0)
    with pytest.raises(UserError, match="utterances 0: give 1 or more"):
        choose(corpus(), Path("m"), "test", 0, 0)
