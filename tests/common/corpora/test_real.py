"""The readers of the three corpora at hand, row by row against an independent table."""

import csv
from functools import cache
from pathlib import Path

import pytest

from emovc.common.corpora import Listing, read_corpus

LABELS = {"boredom": "bored"}  # all other shared labels of the table are the canonical ones
COUNTS = {"ravdess": 1440, "emodb": 535, "nemo": 2249}


@cache
def listing(name: str, data: Path) -> Listing:
    return read_corpus(name, data / name)


@pytest.mark.parametrize("name", COUNTS)
def test_reader_agrees_with_the_table(name: str, shared: Path) -> None:
    with (shared / "data" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["path"]: row for row in csv.DictReader(file) if row["corpus"] == name}
    found = listing(name, shared / "data")
    assert found.skipped == []
    assert len(found.utterances) == len(truth) == COUNTS[name]
    for u in found.utterances:
        row = truth[u.path.relative_to(shared / "data").as_posix()]
        assert u.corpus == name and u.id == f"{name}/{u.path.stem}"
        assert (u.speaker, u.gender) == (row["speaker"], row["gender"])
        assert u.emotion == LABELS.get(row["emotion"], row["emotion"])
        assert (u.sentence, u.text) == (row["sentence"], row["text"])
        assert (u.intensity, u.take) == (row["intensity"] or None, row["repetition"] or None)
        assert u.sample_rate == int(row["sample_rate"])
        assert u.seconds == pytest.approx(float(row["seconds"]), abs=1e-3)


def test_languages_and_raw_labels(shared: Path) -> None:
    by_name = {name: listing(name, shared / "data") for name in COUNTS}
    languages = {n: {u.language for u in found.utterances} for n, found in by_name.items()}
    assert languages == {"ravdess": {"en"}, "emodb": {"de"}, "nemo": {"pl"}}
    for found in by_name.values():
        pairs = {(u.emotion_raw, u.emotion) for u in found.utterances}
        assert len(pairs) == len({raw for raw, _ in pairs}) == len({e for _, e in pairs})
        assert all(u.split is None and len(u.sha256) == 64 for u in found.utterances)
    assert {u.emotion_raw for u in by_name["nemo"].utterances} == {
        "anger", "fear", "happiness", "sadness", "surprised", "neutral",
    }  # fmt: skip


def test_order_is_natural(shared: Path) -> None:
    names = [u.path.stem for u in listing("nemo", shared / "data").utterances]
    assert names[:4] == ["EB0_anger_1", "EB0_anger_2", "EB0_anger_3", "EB0_anger_4"]
    assert names.index("EB0_anger_10") < names.index("EB0_fear_1")
