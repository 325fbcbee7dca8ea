"""Extraction of features: the same in any number of processes, and resumable after anything."""

import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.features.extraction import extract
from emovc.common.features.extractors import EnergyFeature
from emovc.common.features.store import open_store, store_folder
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance
from emovc.common.wav import write_wav

RATE = 16_000


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Ten files of noise, no two of the same length, one of them twice."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    found = []
    for n in [*range(10), 3]:
        path = folder / f"{n}.wav"
        if not path.exists():
            write_wav(path, 0.1 * rng.standard_normal(8_000 + 300 * ((7 * n) % 10)), RATE)
        samples = 8_000 + 300 * ((7 * n) % 10)
        name = f"c/{len(found)}"
        found.append(Utterance(name, path, sha256_of(path), RATE, samples, "c_a", "c"))
    return found


class Mean:
    """Mean of each 100 samples; fails on the file that it is told to fail on."""

    name = "mean"

    def __init__(self, fail_at: int = -1, error: Exception | None = None) -> None:
        self.settings: dict[str, Any] = {"window": 100}
        self.fail_at = fail_at
        self.error = error
        self.calls = 0

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.calls == self.fail_at:
            if self.error is not None:
                raise self.error
            return np.full(3, np.nan)
        return wav[: len(wav) // 100 * 100].reshape(-1, 100).mean(1)


class Power(torch.nn.Module):
    """A network of one number per utterance, which padding must not change."""

    name = "power"
    settings: dict[str, Any] = {"sample_rate": RATE}

    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        return list((wav.square().sum(1) / lengths)[:, None, None])


def values(root: Path, name: str, utterances: list[Utterance]) -> list[np.ndarray]:
    store = open_store(root, name)
    return [np.array(store.get(u.sha256)) for u in utterances]


def run(root: Path, utterances: list[Utterance], signal: Any, workers: int = 0) -> int:
    return extract(
        utterances, root, RATE, [signal], (), workers, batch_size=3, accelerator="cpu", devices=1
    )


def test_two_processes_give_what_one_gives(tmp_path: Path, utterances: list[Utterance]) -> None:
    energy = EnergyFeature(RATE)
    for workers in (0, 2):
        root = tmp_path / str(workers)
        done = extract(utterances, root, RATE, [energy], [Power()], workers, 4, "cpu", 1)
        assert done == 10  # one of the eleven is the same audio as another
    for name in ("energy", "power"):
        one, two = (values(tmp_path / str(w), name, utterances) for w in (0, 2))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
    for u, power in zip(utterances, values(tmp_path / "0", "power", utterances), strict=True):
        assert power.shape == (1, 1) and 0.009 < power < 0.011, u.id


def test_an_interrupted_extraction_goes_on(tmp_path: Path, utterances: list[Utterance]) -> None:
    """Files of whole batches are kept, and the second run computes the others only."""
    with pytest.raises(UserError, match="broken"):
        run(tmp_path, utterances, Mean(fail_at=8, error=UserError("broken")))
    second = Mean()
    assert run(tmp_path, utterances, second) == 4 == second.calls
    assert run(tmp_path, utterances, second) == 0 and second.calls == 4
    for u, mean in zip(utterances, values(tmp_path, "mean", utterances), strict=True):
        assert len(mean) == u.num_samples // 100


def test_only_what_is_missing_is_extracted(tmp_path: Path, utterances: list[Utterance]) -> None:
    run(tmp_path, utterances[:4], Mean())
    more = Mean()
    assert run(tmp_path, utterances, more) == 6 == more.calls


def test_values_that_are_not_finite_are_refused(
    tmp_path: Path, utterances: list[Utterance]
) -> None:
    with pytest.raises(UserError, match=r"\d\.wav: feature mean is not finite; remove the file"):
        run(tmp_path, utterances, Mean(fail_at=5))


def test_a_full_disk_is_said_and_leaves_nothing_half_written(
    tmp_path: Path, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store_folder(tmp_path, "mean", Mean().settings)
    folder.mkdir()
    name = uuid.UUID(int=7)

    def shard_name() -> uuid.UUID:
        """Let the shard's temporary file be a device that is always full."""
        temporary = folder / f".{name.hex}.{os.getpid()}.tmp.npy"
        temporary.symlink_to("/dev/full")
        return name

    with monkeypatch.context() as patch:
        patch.setattr(uuid, "uuid4", shard_name)
        with pytest.raises(UserError, match=r"\.npy: the disk is full; free some space"):
            run(tmp_path, utterances, Mean())
    assert [path.name for path in folder.iterdir()] == ["meta.json"]
    assert run(tmp_path, utterances, Mean()) == 10
