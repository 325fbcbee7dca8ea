"""Vocoders side by side on recordings of the toy corpus."""

import csv
import json
from pathlib import Path

import pytest

from emovc.common.copy_synthesis import vocoder
from emovc.common.errors import UserError

JUDGES = "- class_path: emovc.common.judges.speaker_similarity.DvectorSimilarity\n"


def test_vocoders_are_scored_and_added_later(toy: Path, tmp_path: Path) -> None:
    judges, out = tmp_path / "judges.yaml", tmp_path / "out"
    judges.write_text(JUDGES)
    call = dict(judges=judges, out=out, files=2, audio=1)
    vocoder([toy], ["griffin-lim"], **call)  # type: ignore[arg-type]
    parts = {p: p.stat().st_mtime_ns for p in (out / "parts").rglob("*.json")}
    assert len(parts) == 2 * 2
    vocoder([toy], ["griffin-lim", "shipped"], **call)  # type: ignore[arg-type]
    assert all(p.stat().st_mtime_ns == t for p, t in parts.items()), "what was done is kept"
    lines = list(csv.DictReader((out / "scores.csv").open()))
    assert [line["row"] for line in lines] == [
        *["recording"] * 2, *["griffin-lim"] * 2, *["shipped"] * 2
    ]  # fmt: skip
    assert all(float(line["mel_l1"]) == float(line["mcd_db"]) == 0 for line in lines[:2])
    assert all(0 < float(line["mel_l1"]) < 0.5 for line in lines[2:])
    assert all(float(line["cpu_s_per_s"]) > 0 for line in lines[2:])
    assert all(0.5 < float(line["speaker_similarity"]) < 1 for line in lines[2:])
    summary = json.loads((out / "summary.json").read_text())
    assert "iterations" in summary["vocoders"]["shipped"]
    assert "minus griffin-lim" in (out / "table.md").read_text()
    assert len(list((out / "audio").rglob("*.wav"))) == 3


def test_settings_may_not_change_and_names_not_repeat(toy: Path, tmp_path: Path) -> None:
    judges = tmp_path / "judges.yaml"
    judges.write_text("[]\n")
    call = dict(judges=judges, out=tmp_path / "out", audio=0)
    vocoder([toy], ["griffin-lim"], files=1, **call)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="another draw"):
        vocoder([toy], ["griffin-lim"], files=2, **call)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="stands twice"):
        vocoder([toy], ["griffin-lim", "griffin-lim"], files=1, **call)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="split unused is empty"):
        vocoder([toy], ["griffin-lim"], files=1, split="unused", **call)  # type: ignore[arg-type]
