"""Long commands that are told to stop: soon, with what is finished kept, and by their exit code."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.commands import Commands
from tests.integration.runs import fit_words

from emovc.common.pretrained import read_checkpoint

MANY = 100_000  # steps: the run ends by a signal only


def until(ready: Callable[[], object], limit: float = 300) -> None:
    """Wait until something is there."""
    end = time.monotonic() + limit
    while not ready():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


def stop(commands: Commands, words: list[str], ready: Callable[[], object], number: int) -> int:
    """Exit code of a command that gets a signal as soon as something is there."""
    pid = commands.start(words)
    until(ready)
    os.kill(pid, number)
    start = time.monotonic()
    code = commands.wait().returncode
    assert time.monotonic() - start < 60
    return code


def steps_logged(run: Path) -> int:
    """Rows of the curve of a run so far."""
    path = run / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def words(toy: Path, run: Path, *more: str) -> list[str]:
    quick = ["--trainer.log_every_n_steps=1", "--trainer.val_check_interval=1000"]
    return fit_words(toy, run, MANY, [*quick, *more])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fit_saves_before_it_ends(
    commands: Commands, toy: Path, tmp_path: Path, number: int, code: int
) -> None:
    run = tmp_path / "run"
    assert stop(commands, words(toy, run), lambda: steps_logged(run) > 2, number) == code
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert state["global_step"] == steps_logged(run) > 2


def test_fit_saves_on_sigusr1_and_goes_on(commands: Commands, toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    pid = commands.start(words(toy, run))
    until(lambda: steps_logged(run) > 2)
    os.kill(pid, signal.SIGUSR1)
    until(last.exists)
    first, seen = read_checkpoint(last)["global_step"], steps_logged(run)
    until(lambda: steps_logged(run) > seen + 2)
    os.kill(pid, signal.SIGTERM)
    assert commands.wait().returncode == 143
    assert read_checkpoint(last)["global_step"] > first > 0


def test_evaluate_keeps_what_is_finished(
    commands: Commands, trained: Path, toy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    call = ["evaluate", str(trained), str(toy), "-o", str(out), "--pairs", "6"]
    call += ["--vocoder", "griffin-lim", "--split", "train"]
    parts = out / "parts"
    assert stop(commands, call, lambda: any(parts.glob("*.json")), signal.SIGINT) == 130
    kept = {p.name: p.stat().st_mtime_ns for p in parts.glob("*.json")}
    assert 0 < len(kept) < 6
    assert not list(out.rglob("*.tmp*"))
    done = commands.run(call)
    assert done.returncode == 0, done.output
    assert len(list(parts.glob("*.json"))) == 6
    assert {n: (parts / n).stat().st_mtime_ns for n in kept} == kept


def test_prepare_stops_and_completes(commands: Commands, toy: Path, tmp_path: Path) -> None:
    audio, out = toy.parent.parent / "audio", tmp_path / "out"
    call = ["prepare", "toy", str(audio), str(out), "--num_workers", "1"]
    assert stop(commands, call, (out / "manifest.jsonl").exists, signal.SIGTERM) == 143
    assert not (out / "speakers.json").exists()
    done = commands.run(call)
    assert done.returncode == 0, done.output
    assert (out / "speakers.json").exists()
