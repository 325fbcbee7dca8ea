"""What a user does wrong costs one line, exit code 2, and leaves nothing half-written."""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from emovc.common.cli import COMMANDS, main
from emovc.common.errors import UserError
from emovc.common.files import write_json, write_text

ROOT = Path(__file__).parents[2]
Fails = Callable[..., str]


@pytest.fixture
def fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run a command that must fail, and give its one line on standard error."""

    monkeypatch.setattr(logging, "raiseExceptions", False)  # of handlers that tests left behind

    def run(*args: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["emovc", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            main()
        lines = capsys.readouterr().err.splitlines()
        error = "\n".join(x for x in lines if not x.startswith(("Seed set", "GPU available")))
        assert stop.value.code == 2
        assert error.startswith("emovc: ") and "\n" not in error and len(error) < 500, error
        return error

    return run


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "ann" / "a.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_describes_itself(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["emovc", command, "--help"])
    with contextlib.suppress(SystemExit):
        main()
    assert command in capsys.readouterr().out


def test_commands_and_words(fails: Fails, tmp_path: Path) -> None:
    assert "unknown command 'trian'; there are quickstart, corpora, prepare" in fails("trian")
    assert "--splitt" in fails("prepare", "nemo", tmp_path, tmp_path / "out", "--splitt=text")
    assert "texts" in fails("prepare", "nemo", tmp_path, tmp_path / "out", "--split=texts")
    assert "out" in fails("prepare", "nemo", tmp_path)
    assert "sample_rat" in fails(
        "prepare", "nemo", tmp_path, tmp_path / "out", "--copies.sample_rat=16000"
    )


def test_corpora(fails: Fails, tmp_path: Path, speech: Path) -> None:
    out = tmp_path / "out"
    error = fails("prepare", "nemmo", speech.parent, out)
    assert "nemmo: no such corpus; known are crema_d" in error
    error = fails("prepare", "nemo", tmp_path / "absent", out)
    assert f"{tmp_path / 'absent'}: no such folder; give the folder of the corpus nemo" in error
    assert "holds no data.tsv" in fails("prepare", "nemo", speech.parent, out)
    assert "expected wav/03a01Fa.wav" in fails("prepare", "emodb", speech.parent, out)
    assert "val=0.6 and test=0.6" in fails(
        "prepare", "table", tmp_path / "in", out, "--val=0.6", "--test=0.6"
    )
    assert "too few for test, val, train" in fails("prepare", "table", tmp_path / "in", out)
    assert not out.exists()


def test_manifests(fails: Fails, tmp_path: Path) -> None:
    assert "absent.jsonl: no such manifest; make one" in fails("check", tmp_path / "absent.jsonl")
    assert "not a UTF-8 JSONL manifest" in fails("check", tmp_path)
    (tmp_path / "binary.jsonl").write_bytes(bytes(range(256)))
    assert "not a UTF-8 JSONL manifest" in fails("check", tmp_path / "binary.jsonl")
    (tmp_path / "torn.jsonl").write_text('{"id": "a')
    assert "torn.jsonl:1: not JSON" in fails("check", tmp_path / "torn.jsonl")


def test_configs(fails: Fails, tmp_path: Path) -> None:
    config = ROOT / "configs" / "speechflow_nemo.yaml"
    assert "no_such.yaml" in fails("fit", "-c", tmp_path / "no_such.yaml")
    assert "batch_sise" in fails("fit", "-c", config, "--data.batch_sise=1")
    (tmp_path / "typo.yaml").write_text("trainer:\n  max_stepz: 1\n")
    assert "max_stepz" in fails("fit", "-c", config, "-c", tmp_path / "typo.yaml")
    assert "needs a config, for instance -c" in fails("fit")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("trainer.precision=bf17", "trainer.precision: bf17 is none of its options"),
        ("data.grouping=pair", "data.grouping: Expected one of ['single', 'parallel'"),
        ("data.batch_size=x", "Expected a <class 'int'>. Got value: x"),
        ("data.batch_size=0", "data: batch_size must be 1 or more"),
        ("data.max_seconds=0", "data: max_seconds must be above min_seconds"),
        ("data.crop={min_frames: 40, max_frames: 20}", "data.crop: no multiple of"),
        ("model.init_args.resampling.init_args.min_segment=50", "segments of 50 to 43 frames"),
        ("model.init_args.f0_weight=1", "need net.f0_head_dim above 0"),
        ("data.manifest=absent.jsonl", "absent.jsonl: no such manifest; make one with"),
    ],
)
def test_values(
    option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    """Before the run has a folder of its own."""
    config, run = ROOT / "configs" / "speechflow_toy.yaml", tmp_path / "run"
    words = ("fit", "-c", config, f"--run={run}", "--data.manifest=none.jsonl", f"--{option}")
    assert message in fails(*words)
    assert not list(run.rglob("*.ckpt"))


def _checkpoints(folder: Path) -> Iterator[Path]:
    whole = folder / "whole.ckpt"
    torch.save({"weights": torch.zeros(1000)}, whole)
    (folder / "truncated.ckpt").write_bytes(whole.read_bytes()[:2000])
    (folder / "text.ckpt").write_text("no checkpoint")
    (folder / "empty.ckpt").touch()
    torch.save([1, 2], folder / "list.ckpt")
    torch.save({"state_dict": {}, "hyper_parameters": {}}, folder / "foreign.ckpt")
    yield from sorted(folder.glob("*.ckpt"))


def test_checkpoints(fails: Fails, tmp_path: Path, speech: Path) -> None:
    out = tmp_path / "out.wav"
    for path in [*_checkpoints(tmp_path), tmp_path / "absent.ckpt", tmp_path / "in"]:
        assert str(path) in fails("convert", path, speech, "--emotion=sad", "-o", out)
    assert not out.exists()


def test_a_full_disk(fails: Fails, tmp_path: Path, speech: Path) -> None:
    """Writing goes to a device that is always full, through the very code that writes files."""
    for name in ("a.json", "b.txt"):
        path = tmp_path / "full" / name
        path.parent.mkdir(exist_ok=True)
        path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}").symlink_to("/dev/full")
        with pytest.raises(UserError, match=f"{name}: the disk is full; free some space"):
            (write_json if name == "a.json" else write_text)(path, "text")
        assert list(path.parent.iterdir()) == []
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "in" / "list.csv").write_text(
        "path,speaker,split\nann/a.wav,ann,train\nann/a.wav,ann,train\n"
    )
    (out / f".manifest.{os.getpid()}.tmp.jsonl").symlink_to("/dev/full")
    assert "manifest.jsonl: the disk is full" in fails("prepare", "table", tmp_path / "in", out)
    assert list(out.iterdir()) == []


def test_a_full_disk_elsewhere(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(command: str, args: list[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "last.ckpt")

    monkeypatch.setattr("emovc.common.check.main", full)
    assert "last.ckpt: the disk is full; free some space and run" in fails("check")


def test_errors_of_loader_processes_are_one_line_too(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.data import DataLoader

    def read(command: str, args: list[str]) -> None:
        list(DataLoader(_Unreadable(), num_workers=1))

    monkeypatch.setattr("emovc.common.check.main", read)
    assert fails("check") == "emovc: a.wav: no such audio file"


class _Unreadable(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        raise UserError("a.wav: no such audio file")
