"""Vocoders side by side on recordings of the toy corpus."""

import csv
import json
from pathlib import Path

import pytest

from emovc.common.copy_synthesis import draw_evenly, vocoder
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest

JUDGES = "- class_path: emovc.common.judges.speaker_similarity.DvectorSimilarity\n"


def utterance(i: int, speaker: str, emotion: str) -> Utterance:
    names = dict(id=f"c/{i}", sha256=f"{i}", speaker=speaker, corpus="c", emotion=emotion)
    return Utterance(path=Path(f"{i}.wav"), sample_rate=16_000, num_samples=16_000, **names)


def test_speakers_and_emotions_take_turns() -> None:
    rows = [utterance(i, "a", "sad") for i in range(40)]
    rows += [utterance(40 + i, "b", e) for i, e in enumerate(["sad", "angry"] * 3)]
    drawn = draw_evenly(rows, 6, seed=0)
    kinds = [(u.speaker, u.emotion) for u in drawn]
    assert {kinds.count(k) for k in set(kinds)} == {2} and len(set(kinds)) == 3
    assert drawn == draw_evenly(rows, 6, seed=0)
    assert drawn != draw_evenly(rows, 6, seed=1)
    assert len(draw_evenly(rows, 100, seed=0)) == 46


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


def test_drawing_takes_a_real_manifest(toy: Path) -> None:
    rows = read_manifest(toy)
    assert {u.speaker for u in draw_evenly(rows, 12, 0)} == {u.speaker for u in rows}
