"""The feature store: append only, resumable, never stale."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore, ShardWriter, open_store, store_folder


def write(folder: Path, values: dict[str, np.ndarray]) -> None:
    writer = ShardWriter(folder, "f0", {"hop_length": 256})
    for key, value in values.items():
        writer.add(key, value)
    writer.flush()


def test_values_come_back_from_many_shards(tmp_path: Path) -> None:
    folder = store_folder(tmp_path, "f0", {"hop_length": 256})
    values = {f"hash{i}": np.linspace(i, 1, 5 + i, dtype=np.float32) for i in range(7)}
    for key, value in values.items():
        write(folder, {key: value})
    store = open_store(tmp_path, "f0")

    for key, value in values.items():
        np.testing.assert_array_equal(store.get(key)[:, 0], value)
        np.testing.assert_array_equal(store.get(key, 2, 3)[:, 0], value[2:5])
        assert len(store.get(key, 4, 100)) == len(value) - 4
        assert len(store.get(key, 1000, 3)) == 0
    assert "hash3" in store and "hash99" not in store


def test_vectors_of_utterances(tmp_path: Path) -> None:
    folder = tmp_path / "dvector-abc"
    writer = ShardWriter(folder, "dvector", {})
    writer.add("a", np.arange(6.0)[None])
    writer.flush()
    np.testing.assert_array_equal(FeatureStore(folder).get("a"), np.arange(6.0)[None])


def test_a_shard_without_its_index_does_not_count(tmp_path: Path) -> None:
    """What a kill between the two files leaves behind is ignored and harms nothing."""
    folder = store_folder(tmp_path, "f0", {"hop_length": 256})
    write(folder, {"a": np.ones(3)})
    np.save(folder / "0123.npy", np.zeros((9, 1)))
    (folder / ".0456.77.tmp.json").write_text("{")
    store = FeatureStore(folder)
    assert "a" in store and list(store.get("a")[:, 0]) == [1, 1, 1]


def test_settings_make_the_folder(tmp_path: Path) -> None:
    one = store_folder(tmp_path, "f0", {"f_min": 50})
    assert store_folder(tmp_path, "f0", {"f_min": 50}) == one
    assert store_folder(tmp_path, "f0", {"f_min": 60}) != one


def test_opening_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no feature 'f0'; extract it with emovc prepare"):
        open_store(tmp_path, "f0")
    for f_min in (50, 60):
        settings = {"f_min": f_min}
        ShardWriter(store_folder(tmp_path, "f0", settings), "f0", settings)
    with pytest.raises(UserError, match="several ways; name one: f0-"):
        open_store(tmp_path, "f0")
    name = store_folder(tmp_path, "f0", {"f_min": 60}).name
    assert open_store(tmp_path, name).settings == {"f_min": 60}


def test_a_store_travels_to_loader_processes(tmp_path: Path) -> None:
    folder = store_folder(tmp_path, "f0", {"hop_length": 256})
    write(folder, {"a": np.ones(3)})
    store = FeatureStore(folder)
    store.get("a")
    copy = pickle.loads(pickle.dumps(store))
    assert copy.get("a").sum() == 3
