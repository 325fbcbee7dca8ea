"""One manifest of several corpora."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emovc.common.combine import by_fold, combine
from emovc.common.errors import UserError
from emovc.common.features.store import ShardWriter, open_store, store_folder
from emovc.common.files import read_json
from emovc.common.manifest import Utterance, read_manifest, write_manifest


def utterances(corpus: str, n_speakers: int, n_each: int = 40) -> list[Utterance]:
    """A corpus of as many women as men."""
    return [
        Utterance(
            id=f"{corpus}/{s}/{i}", path=Path(f"/{corpus}/{s}-{i}.wav"),
            sha256=f"{(s * n_each + i) * 2654435761 % 2**32:08x}{corpus}", sample_rate=8000,
            num_samples=8000, speaker=f"{corpus}_{s}", corpus=corpus, gender="FM"[s % 2],
            sentence=str(i), split="train" if i else "test", split_id="drawn",
        )
        for s in range(n_speakers) for i in range(n_each)
    ]  # fmt: skip


def test_folds_test_every_speaker_once_and_train_on_none_of_them() -> None:
    rows = utterances("a", 10) + utterances("b", 6)
    tested: Counter[str] = Counter()
    for fold in range(5):
        parts = by_fold(rows, 5, fold)
        test = {u.speaker for u in parts if u.split == "test"}
        assert not test & {u.speaker for u in parts if u.split != "test"}
        assert {u.corpus for u in parts if u.split == "test"} == {"a", "b"}
        genders = Counter(u.gender for u in parts if u.split == "test" and u.corpus == "a")
        assert genders["F"] == genders["M"]
        val = sum(u.split == "val" for u in parts)
        assert 0.01 < val / len(rows) < 0.09
        tested.update(test)
    assert set(tested.values()) == {1}
    assert len(tested) == 16


def test_identical_files_are_in_one_part() -> None:
    rows = utterances("a", 4)
    rows = [replace(u, sha256=f"{i // 2 * 77777:08x}") for i, u in enumerate(rows)]
    parts: dict[str, set[str | None]] = {}
    for u in by_fold(rows, 2, 0):
        parts.setdefault(u.sha256, set()).add(u.split)
    assert all(len(found) == 1 for found in parts.values())


def test_a_fold_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="fold 5 of 5"):
        by_fold(utterances("a", 10), 5, 5)
    with pytest.raises(UserError, match="a: 3 speakers are too few for 5 folds"):
        by_fold(utterances("a", 3), 5, 0)


def test_parts_are_kept_without_folds(tmp_path: Path) -> None:
    paths = [tmp_path / name / "manifest.jsonl" for name in "ab"]
    for path, corpus in zip(paths, ("a", "b"), strict=True):
        write_manifest(path, utterances(corpus, 2))
    combine(paths, tmp_path / "both.jsonl")
    rows = read_manifest(tmp_path / "both.jsonl")
    assert Counter(u.split for u in rows) == {"train": 156, "test": 4}
    assert rows[0].split_id is not None
    assert rows[0].split_id.startswith("kept-")
    with pytest.raises(UserError, match="is in two manifests"):
        combine([paths[0], paths[0]], tmp_path / "twice.jsonl")


def test_features_that_all_corpora_have_come_along(tmp_path: Path) -> None:
    paths = [tmp_path / name / "manifest.jsonl" for name in "ab"]
    for path, corpus in zip(paths, ("a", "b"), strict=True):
        rows = utterances(corpus, 2, 2)
        write_manifest(path, rows)
        made = {"f0": {"hop": 256}, "energy": {"corpus": corpus}}  # the latter in two ways
        for name, settings in made.items():
            folder = store_folder(path.parent / "features", name, settings)
            writer = ShardWriter(folder, name, settings)
            for i, row in enumerate(rows):
                writer.add(row.sha256, np.full((3, 1), 100.0 * (i + 1)))
            writer.flush()
    for _ in range(2):  # a second time changes nothing
        combine(paths, tmp_path / "both" / "manifest.jsonl")
        features = tmp_path / "both" / "features"
        assert [path.name[:2] for path in features.iterdir()] == ["f0"]
        store = open_store(features, "f0")
        assert store.settings == {"hop": 256}
        for corpus in "ab":
            for i, row in enumerate(utterances(corpus, 2, 2)):
                assert store.get(row.sha256).tolist() == [[100.0 * (i + 1)]] * 3
        spoken = read_json(tmp_path / "both" / "speakers.json")
        assert set(spoken) == {"a_0", "a_1", "b_0", "b_1"}  # of their training utterance
        assert spoken["b_0"]["log_f0_mean"] == pytest.approx(np.log(200.0))
    combine(paths, tmp_path / "a" / "both.jsonl")  # beside one of them, whose store grows
    store = open_store(tmp_path / "a" / "features", "f0")
    assert all(row.sha256 in store for row in utterances("b", 2, 2))


def test_f0_of_different_trackers_is_said_to_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name / "manifest.jsonl" for name in "ab"]
    for path, tracker in zip(paths, ("Dio", "SwiftF0"), strict=True):
        write_manifest(path, utterances(path.parent.name, 2))
        settings = {"class": tracker}
        writer = ShardWriter(store_folder(path.parent / "features", "f0", settings), "f0", settings)
        writer.add("0", np.ones((3, 1)))
        writer.flush()
    combine(paths, tmp_path / "both" / "manifest.jsonl")
    assert "corpora's is of different trackers (a: f0-" in capsys.readouterr().out
    assert not list((tmp_path / "both").glob("features/*"))


def test_statistics_are_of_the_last_call_and_a_store_may_lack_files(tmp_path: Path) -> None:
    paths = [tmp_path / name / "manifest.jsonl" for name in "ab"]
    for path, corpus in zip(paths, ("a", "b"), strict=True):
        rows = utterances(corpus, 2, 4)
        write_manifest(path, rows)
        writer = ShardWriter(store_folder(path.parent / "features", "f0", {}), "f0", {})
        for i, row in enumerate(rows):
            writer.add(row.sha256, np.full((3, 1), 100.0 * (i + 1)))
        writer.flush()
    out = tmp_path / "both"
    said = []
    for fold in (0, 1):  # other speakers are trained on
        combine(paths, out / "manifest.jsonl", folds=2, fold=fold)
        said.append(read_json(out / "speakers.json"))
    assert said[0] != said[1]
    write_manifest(paths[1], utterances("b", 2, 6))  # F0 of the new files was not extracted
    combine(paths, tmp_path / "more" / "manifest.jsonl")
    assert not (tmp_path / "more" / "speakers.json").exists()
