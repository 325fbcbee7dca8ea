"""The CSV file of a run that is stopped and goes on."""

import csv
from pathlib import Path

from emovc.common.loggers import CsvCurves


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((path / "metrics.csv").open()))


def test_columns_grow_and_nothing_is_lost(tmp_path: Path) -> None:
    log = CsvCurves(str(tmp_path), flush_every=2)
    log.log_metrics({"train/loss": 1.0}, 0)
    log.log_metrics({"train/loss": 0.5}, 1)
    log.log_metrics({"val/loss": 0.7, "train/loss": 0.4}, 2)
    log.finalize("success")
    assert [r["train/loss"] for r in rows(tmp_path)] == ["1.0", "0.5", "0.4"]
    assert [r["val/loss"] for r in rows(tmp_path)] == ["", "", "0.7"]


def test_a_resumed_run_reads_like_one_that_was_never_stopped(tmp_path: Path) -> None:
    """Killed after step 5 was logged, resumed from a checkpoint of step 3."""
    first = CsvCurves(str(tmp_path), flush_every=1)
    for step in range(6):
        first.log_metrics({"train/loss": float(step)}, step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("6,0.1")  # a line cut off by the kill
    second = CsvCurves(str(tmp_path), flush_every=1)
    for step in range(4, 8):
        second.log_metrics({"train/loss": float(step)}, step)
    assert [int(r["step"]) for r in rows(tmp_path)] == list(range(8))
    assert [float(r["train/loss"]) for r in rows(tmp_path)] == list(map(float, range(8)))
