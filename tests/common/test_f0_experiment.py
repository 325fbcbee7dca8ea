"""``emovc reproduce f0``: its tables by hand, and a small run."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emovc.common.corpora import read_corpus
from emovc.common.errors import UserError
from emovc.common.f0 import SwiftF0
from emovc.common.f0_experiment import Speech, f0, label_records, median_track, track
from emovc.common.f0_tables import COPY, OTHERS, TRUTH
from emovc.common.files import read_json
from emovc.common.manifest import Utterance, read_manifest, write_manifest


def test_median_is_voiced_by_majority_and_sure_where_two_agree() -> None:
    tracks = [
        np.array([100.0, 0, 100, 100, 100, 0]),
        np.array([104.0, 0, 0, 201, 0, 0]),
        np.array([210.0, 90, 101, 400, 200, 0]),
    ]
    median_hz, sure = median_track(tracks)
    assert median_hz[:4] == pytest.approx([104, 0, np.sqrt(100 * 101), 201])
    assert sure.tolist() == [True, True, True, False, False, True]


def test_small_run(toy: Path, tmp_path: Path) -> None:
    """The toy's truth in quiet and in noise, and the same recordings as if it weren't known."""
    rows = [replace(u, id=u.id.replace("toy/", "real/"), corpus="real") for u in read_manifest(toy)]
    write_manifest(tmp_path / "real.jsonl", rows)
    manifests = [toy, tmp_path / "real.jsonl"]
    f0(manifests, tmp_path / "out", utterances=2, thresholds=[0.2], noise_db=[15.0], copies=1)
    records = read_json(tmp_path / "out" / "f0.json")["records"]
    truth = [r for r in records if r["against"] == TRUTH]
    assert [(r["tracker"], r["noise"]) for r in truth[:6:5]] == [("DIO", "none"), ("DIO", "15 dB")]
    for r in truth[:5]:
        assert r["gross"] < 0.02 and abs(r["fine_mean_cents"]) < 10 and r["cpu_s_per_s"] > 0
    swift, low = truth[3], truth[4]
    assert (swift["tracker"], low["tracker"]) == ("SwiftF0", "SwiftF0 0.2")
    assert swift["voicing"] < 0.06 and low["false"] > swift["false"]
    copied = [r for r in records if r["against"] == COPY]
    assert len(copied) == 5 and all(r["gross"] < 0.2 for r in copied)
    rest = [r for r in records if r["against"] not in (TRUTH, COPY)]
    assert {r["corpus"] for r in rest} == {"real"} and {r["group"] for r in rest} == {"all", "loud"}
    ours = {r["against"]: r for r in rest if r["tracker"] == "SwiftF0" and r["group"] == "all"}
    assert ours.keys() == {"DIO", "Harvest", "FCPE", OTHERS}  # not itself, nor its variant
    text = (tmp_path / "out" / "f0.md").read_text()
    assert "| toy corpus | noise | gross % |" in text
    assert "| real, loud: gross / voicing % |" in text
    with (tmp_path / "out" / "f0.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(records)
    with pytest.raises(UserError, match="split unused is empty"):
        f0([toy], tmp_path / "out", split="unused")


def test_hand_labels(shared: Path) -> None:
    """Of real German, three quarters or more of the frames are voiced as the labels say."""
    rows = [u for u in read_corpus("emodb", shared / "data" / "emodb").utterances][:4]
    speech = track(rows, {"SwiftF0": SwiftF0()})
    base = {"corpus": "emodb", "group": "all"}
    (record,) = label_records(speech, np.arange(4), base)
    assert record["frames"] > 300 and record["voicing"] < 0.15
    upside_down = {"SwiftF0": [np.where(t > 0, 0.0, 100.0) for t in speech.tracks["SwiftF0"]]}
    (opposite,) = label_records(speech._replace(tracks=upside_down), np.arange(4), base)
    assert opposite["voicing"] == pytest.approx(1 - record["voicing"])
    elsewhere: list[Utterance] = [replace(u, corpus="other") for u in rows]
    assert label_records(Speech(elsewhere, *speech[1:]), np.arange(4), base) == []
