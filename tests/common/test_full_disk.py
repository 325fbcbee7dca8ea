"""A disk that takes no more: one line, what was there stays, and leftovers don't pile up.

A limit on the size of files, which the system enforces as it does a full disk, stands for one.
"""

import errno
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file

from emovc.common import cli
from emovc.common.checkpoints import AtomicCheckpoints
from emovc.common.converted import holds_audio
from emovc.common.errors import UserError
from emovc.common.features.store import ShardWriter
from emovc.common.files import atomic_path, remove_leftovers, write_json
from emovc.common.pictures import save_figure
from emovc.common.pretrained import read_checkpoint
from emovc.common.wav import write_wav
from emovc.common.weights import save_weights

LIMIT = 50_000  # bytes of a file
LARGE = {"state_dict": {"x": torch.zeros(LIMIT)}, "hyper_parameters": {}}


@contextmanager
def small_files() -> Iterator[None]:
    """No file gets larger than the limit; Python leaves the signal that comes with it aside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def checkpoint(path: Path) -> None:
    AtomicCheckpoints().save_checkpoint(LARGE, path)


def weights(path: Path) -> None:
    save_weights(torch.nn.Linear(LIMIT, 1), path)


def json_text(path: Path) -> None:
    write_json(path, ["x" * 100] * LIMIT)


def audio(path: Path) -> None:
    write_wav(path, np.zeros(LIMIT), 16_000)


def picture(path: Path) -> None:
    figure = Figure(figsize=(20, 20))
    figure.add_subplot().imshow(np.random.default_rng(0).random((300, 300)), interpolation="none")
    save_figure(figure, path)


def array(path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.zeros(LIMIT))


WRITERS: dict[str, Callable[[Path], None]] = {
    "last.ckpt": checkpoint,
    "model.safetensors": weights,
    "scores.json": json_text,
    "said.wav": audio,
    "mel.png": picture,
    "vectors.npy": array,
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_was_there_stays_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"the good one")
    with (
        small_files(),
        pytest.raises(UserError, match=f"^{path}: .*(larger|disk|written)") as error,
    ):
        WRITERS[name](path)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == b"the good one"


def test_the_last_checkpoint_can_still_be_read(tmp_path: Path) -> None:
    good = {"state_dict": {"x": torch.ones(2)}, "hyper_parameters": {}}
    AtomicCheckpoints().save_checkpoint(good, tmp_path / "last.ckpt")
    with small_files(), pytest.raises(UserError):
        checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(read_checkpoint(tmp_path / "last.ckpt")["state_dict"]["x"], torch.ones(2))


def test_a_shard_of_features_is_whole_or_absent(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "f0", {})
    writer.add("a" * 64, np.zeros(LIMIT))
    with small_files(), pytest.raises(UserError, match="npy"):
        writer.flush()
    assert [p.name for p in tmp_path.iterdir()] == ["meta.json"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left", "a/b.csv"), "a/b.csv: the disk is full; free"),
        (OSError(errno.EDQUOT, "Quota"), "output: the disk is full"),
        (OSError(errno.EFBIG, "File too large"), "output: is larger than files may get here"),
        (OSError("9 requested and 3 written"), "output: the disk is full"),
        (RuntimeError("x: I/O error: No space left on device (os error 28)"), "disk is full"),
    ],
)
def test_any_command_says_so_in_a_line(
    error: Exception,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(name: str, args: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    monkeypatch.setattr(sys, "argv", ["emovc", "corpora"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and words in said


def test_errors_of_other_kinds_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, args: list[str]) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(cli, "_run", fail)
    monkeypatch.setattr(sys, "argv", ["emovc", "fit"])
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        cli.main()


def test_leftovers_of_dead_processes_go(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    old = time.time() - 3600
    names = {
        f".last.{dead.pid}.tmp.ckpt": old,
        f"below/.manifest.{dead.pid}.tmp.jsonl": old,
        f".fresh.{dead.pid}.tmp.ckpt": time.time(),
        f".mine.{os.getpid()}.tmp.ckpt": old,
        ".notes.tmp": old,
        "last.ckpt": old,
    }
    for name, changed in names.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (changed, changed))
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "absent")
    kept = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert kept == set(list(names)[2:])


def test_half_a_file_is_no_conversion(tmp_path: Path) -> None:
    write_wav(tmp_path / ".a.123.tmp.wav", np.zeros(100), 16_000)
    assert not holds_audio(tmp_path)


def test_a_file_that_cannot_be_written_at_all(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(UserError, match="can't be written"), atomic_path(tmp_path / "f" / "x.bin"):
        save_file({}, tmp_path / "f" / "x.bin")
