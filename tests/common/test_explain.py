"""Errors of libraries and of the machine end in one line that names the file or the option."""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from emovc.common import cli, dataset
from emovc.common.data import SpeechDataModule
from emovc.common.errors import UserError
from emovc.common.explain import explain
from emovc.common.features.extraction import extract
from emovc.common.features.extractors import EnergyFeature
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.parsing import require_device
from emovc.common.unchanged import read_utterance

RATE = 16_000


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eight recordings of noise, of which the sixth is called bad."""
    rows = []
    for n in range(8):
        path = tmp_path / f"{'bad' if n == 5 else n}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(n).standard_normal(RATE), RATE)
        split: Any = "train" if n < 6 else "val"
        rows.append(Utterance(f"c/{n}", path, sha256_of(path), RATE, RATE, "c_a", "c", split=split))
    write_manifest(tmp_path / "manifest.jsonl", rows)
    return tmp_path / "manifest.jsonl"


def die(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """Reading a bad file kills the process, as the system does for lack of memory."""
    if "bad" in utterance.path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return read_utterance(utterance, sample_rate)


def fail(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """Reading a bad file meets an error that nobody thought of."""
    if "bad" in utterance.path.name:
        raise ZeroDivisionError("unforeseen")
    return read_utterance(utterance, sample_rate)


def batches(manifest: Path, num_workers: int) -> list[Any]:
    data = SpeechDataModule(manifest, RATE, batch_size=2, num_workers=num_workers)
    data.setup("fit")
    return list(data.train_dataloader())


def test_a_dead_worker_names_its_file(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "read_utterance", die)
    with pytest.raises(RuntimeError, match="DataLoader worker") as died:
        batches(manifest, 2)
    said = str(explain(died.value))
    assert said.startswith(f"{manifest.parent / 'bad.wav'}: the process that read it died")
    assert "num_workers" in said


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unforeseen_error_names_the_file(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    monkeypatch.setattr(dataset, "read_utterance", fail)
    with pytest.raises(ZeroDivisionError) as failed:
        batches(manifest, num_workers)
    notes = getattr(failed.value, "__notes__", [])
    assert f"at {manifest.parent / 'bad.wav'}" in "\n".join([str(failed.value), *notes])
    assert explain(failed.value) is None  # and keeps its traceback


class Dies(EnergyFeature):
    """A feature whose computation kills the process."""

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return wav


def test_extraction_names_the_file_too(manifest: Path, tmp_path: Path) -> None:
    rows = read_manifest(manifest)[5:6]
    with pytest.raises(RuntimeError, match="DataLoader worker") as died:
        extract(rows, tmp_path / "store", RATE, [Dies(RATE)], num_workers=1, accelerator="cpu")
    assert str(explain(died.value)).startswith(f"{rows[0].path}: the process that read it died")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError("Unable to allocate 8.00 EiB for an array"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_batch_size(error: Exception) -> None:
    said = str(explain(error))
    assert said.startswith("out of memory: lower batch_size") and "\n" not in said


def test_real_requests_for_too_much_memory() -> None:
    for ask in (lambda: torch.empty(2**55), lambda: np.empty(2**55)):
        with pytest.raises((RuntimeError, MemoryError)) as failed:
            ask()
        assert "batch_size" in str(explain(failed.value))


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x"), ValueError("y")])
def test_mistakes_of_ours_stay(error: Exception) -> None:
    assert explain(error) is None


@pytest.mark.parametrize("name", ["quantum", "cuda:x", "cuda:99", "meta", "-1", ""])
def test_impossible_devices(name: str) -> None:
    with pytest.raises(UserError, match=f"^device {name}: .*; give cpu") as error:
        require_device(name)
    assert "\n" not in str(error.value)


def test_the_cpu_is_a_device() -> None:
    require_device("cpu")


def test_commands_look_at_the_device_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["emovc", "convert", "runs/absent", "a.wav", "-o", "b.wav", "--device", "quantum"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith("emovc: device quantum: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("accelerator", ["quantum", "cuda"])
def test_impossible_accelerators(manifest: Path, tmp_path: Path, accelerator: str) -> None:
    if accelerator == "cuda" and torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    rows = read_manifest(manifest)
    with pytest.raises(Exception, match="ccelerator") as failed:
        extract(rows, tmp_path / "store", RATE, [EnergyFeature(RATE)], accelerator=accelerator)
    assert str(explain(failed.value)).startswith("trainer or device: ")


@pytest.mark.parametrize(("devices", "split"), [(3, "val"), (7, "train")])
def test_more_devices_than_utterances(manifest: Path, devices: int, split: str) -> None:
    data = SpeechDataModule(manifest, RATE, batch_size=1)
    data.setup("fit")
    data.trainer = SimpleNamespace(global_rank=0, world_size=devices)  # type: ignore[assignment]
    with pytest.raises(UserError, match=rf"split {split} has \d utterances for {devices} devices"):
        data.val_dataloader() if split == "val" else data.train_dataloader()
