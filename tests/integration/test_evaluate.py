"""Evaluation: killed and resumed, on two processes, and of files that other programs made."""

import json
import math
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.integration.commands import Commands

from emovc.common.errors import UserError
from emovc.common.evaluate import evaluate
from emovc.common.list_pairs import list_pairs
from emovc.common.wav import read_wav, write_wav

JUDGES = "- class_path: emovc.common.judges.speaker_similarity.DvectorSimilarity\n"


@pytest.fixture(scope="session")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judges") / "judges.yaml"
    path.write_text(JUDGES)
    return path


def words(run: Path, manifest: Path, out: Path, judges: Path, more: list[str]) -> list[str]:
    where = ["evaluate", str(run), str(manifest), "-o", str(out), "--judges", str(judges)]
    return [*where, "--pairs", "6", "--accelerator", "cpu", *more]


@pytest.fixture(scope="session")
def whole(
    commands: Commands,
    trained: Path,
    toy: Path,
    judges: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An evaluation that was never stopped."""
    out = tmp_path_factory.mktemp("evaluations") / "whole"
    done = commands.run(words(trained, toy, out, judges, []))
    assert done.returncode == 0, done.output
    return out


def test_killed_and_resumed_gives_the_same_file(
    whole: Path, commands: Commands, trained: Path, toy: Path, judges: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = words(trained, toy, out, judges, [])
    process = commands.start(command)
    limit = time.monotonic() + 120
    while len(list(out.glob("parts/*.json"))) < 2 and time.monotonic() < limit:
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    assert commands.wait().returncode == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in out.glob("parts/*.json")}
    assert 2 <= len(done) < 6
    assert not (out / "scores.jsonl").exists()
    assert commands.run(command).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert (out / "scores.jsonl").read_bytes() == (whole / "scores.jsonl").read_bytes()
    assert (out / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_two_processes_give_what_one_gives(
    whole: Path, commands: Commands, trained: Path, toy: Path, judges: Path, tmp_path: Path
) -> None:
    out = tmp_path / "two"
    done = commands.run(words(trained, toy, out, judges, ["--devices", "2"]))
    assert done.returncode == 0, done.output
    ours, theirs = (
        [json.loads(line) for line in (f / "scores.jsonl").read_text().splitlines()]
        for f in (out, whole)
    )
    for a, b in zip(sum(ours, []), sum(theirs, []), strict=True):
        assert a["pair"] == b["pair"]
        numbers = [
            {k: math.nan if v is None else v for k, v in r["metrics"].items()} for r in (a, b)
        ]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-4, abs=1e-4, nan_ok=True)


def test_rows_of_real_speech_and_marks_are_in_the_summary(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert set(summary["rows"]) == {"source", "model", "copy-synthesis", "target"}
    target = summary["rows"]["target"]
    assert target["mcd_db"]["mean"] == 0
    assert target["speaker_similarity"]["mean"] == pytest.approx(1, abs=1e-5)
    assert summary["judges"][0]["about"]["trained_on"]
    assert summary["cost"]["parameters"] > 1000
    assert summary["cost"]["real_time_factor"] > 0
    assert "eval/toy_test/speaker_similarity" in summary["keys"]
    page = (whole / "index.html").read_text()
    assert "dvector" in page
    assert "real time factor" in page


def test_files_of_another_program_are_scored_and_gaps_listed(
    whole: Path, toy: Path, judges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file missing, one of another rate, one silent, one with NaN: the rest is scored."""
    files = tmp_path / "converted"
    shutil.copytree(whole / "audio" / "model", files)
    missing, slow, silent, broken, *rest = sorted(files.iterdir())
    missing.unlink()
    wav, rate = read_wav(slow)
    write_wav(slow, wav, 16_000)
    write_wav(silent, np.zeros_like(wav), rate)
    soundfile.write(broken, np.full(8000, np.nan, dtype=np.float32), rate, subtype="FLOAT")
    evaluate(files, toy, tmp_path / "out", pairs=6, judges=judges, accelerator="cpu")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["rows"]["model"]["mcd_db"]["n"] == len(rest)
    assert summary["rows"]["source"]["mcd_db"]["n"] == 6
    gaps = {g["reason"]: g["pairs"] for g in summary["gaps"]}
    assert len(gaps) == 4
    assert next(p for r, p in gaps.items() if "has no file" in r) == [missing.stem]
    assert next(p for r, p in gaps.items() if "16000 Hz" in r) == [slow.stem]
    assert "gap: conversion:" in capsys.readouterr().out
    same = json.loads((whole / "scores.jsonl").read_text().splitlines()[0])
    if same[0]["pair"] in {path.stem for path in rest}:
        ours = json.loads((tmp_path / "out" / "scores.jsonl").read_text().splitlines()[0])
        model = next(s for s in same if s["row"] == "model")
        again = next(s for s in ours if s["row"] == "model")
        assert again["metrics"]["mcd_db"] == pytest.approx(model["metrics"]["mcd_db"], abs=0.05)


def test_a_folder_without_any_pair_is_refused(toy: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "converted" / "other.wav", np.ones(8000) * 0.1, 22_050)
    with pytest.raises(UserError, match="none of its 1 audio files has the name of a pair"):
        evaluate(tmp_path / "converted", toy, tmp_path / "out", pairs=2, accelerator="cpu")
    assert not (tmp_path / "out").exists()


def test_the_pairs_are_listed_for_other_programs(whole: Path, toy: Path, tmp_path: Path) -> None:
    list_pairs(toy, tmp_path / "pairs.csv", pairs=6)
    lines = (tmp_path / "pairs.csv").read_text().splitlines()
    assert lines[0].startswith("pair,speaker,emotion,source,reference")
    names = {path.stem for path in (whole / "audio" / "model").iterdir()}
    assert {line.split(",")[0] for line in lines[1:]} == names


def test_another_panel_is_not_mixed_in(
    whole: Path, trained: Path, toy: Path, tmp_path: Path
) -> None:
    (tmp_path / "none.yaml").write_text("[]\n")
    with pytest.raises(UserError, match="another judges"):
        evaluate(trained, toy, whole, pairs=6, judges=tmp_path / "none.yaml", accelerator="cpu")
