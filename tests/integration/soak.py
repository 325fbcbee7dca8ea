"""A kill loop: commands are interrupted at random moments, and go on as if nothing had happened.

A command is called again on what the interrupted one left, until it ends; then a new folder is
begun. After each interruption all files must be whole, what was finished must still be there, and
no process may be left; each end must equal that of the uninterrupted command. ``make soak`` does
this at length (benchmarks/soak.py), test_soak.py in short.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file
from tests.integration.commands import Commands

from emovc.common.files import LEFTOVER
from emovc.common.pretrained import read_checkpoint

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {  # of the shell: 128 + signal; a process that has not begun to listen dies by the signal
    signal.SIGKILL: {-9},
    signal.SIGTERM: {143, -15},
    signal.SIGINT: {130, -2},
}
GRACE_S = 20  # to end, and for worker processes to follow


@dataclass
class Job:
    """A command whose interruptions are tried.

    Attributes:
        name: What it is called in the table.
        words: Words of the command for a folder to write to.
        result: What must be equal at the end.
        kept: What is finished in a folder, by name; later it must be there with the same value.
    """

    name: str
    words: Callable[[Path], list[str]]
    result: Callable[[Path], Any]
    kept: Callable[[Path], dict[str, Any]]


@dataclass
class Tally:
    """What came of the interruptions of one command by one signal."""

    moments: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def soak(
    commands: Commands, job: Job, folder: Path, interruptions: int, seed: int
) -> tuple[dict[int, Tally], int]:
    """Interrupt a command so many times.

    Args:
        commands: Starts the commands.
        job: The command.
        folder: Where its folders go.
        interruptions: How many times it is interrupted.
        seed: Seed of the moments.

    Returns:
        What came of each signal, and how many ends were compared.
    """
    rng = np.random.default_rng(seed)
    start = time.monotonic()
    done = commands.run(job.words(folder / "whole"))
    usual = time.monotonic() - start
    assert done.returncode == 0, done.output
    expected = job.result(folder / "whole")
    tallies = {int(number): Tally() for number in SIGNALS}
    ends = count = 0
    while count < interruptions:
        out = folder / f"out{ends}"
        kept: dict[str, Any] = {}
        marks: set[int] = set()  # signals that this folder met
        halves: set[str] = set()
        while True:
            number = int(SIGNALS[count % len(SIGNALS)])
            last = count >= interruptions
            moment = None if last else float(rng.uniform(0, usual))
            begun = time.monotonic()
            code, hit, output, left = interrupted(commands, job.words(out), number, moment)
            if not hit:
                if not marks:  # it was faster, as when the machine is less busy
                    usual = min(usual, time.monotonic() - begun)
                problems = [] if code == 0 else [f"ended with {code}: {output[-300:]}"]
                problems += whole(out) + lost(kept, job.kept(out))
                if not problems and not same(job.result(out), expected):
                    problems = ["its end is another one"]
                for mark in marks or {number}:
                    tallies[mark].problems += [f"{out.name}: {p}" for p in problems]
                break
            assert moment is not None
            tally = tallies[number]
            tally.moments.append(moment)
            problems = whole(out) + left
            half = leftovers(out)
            if number != signal.SIGKILL and half - halves:
                problems.append(f"{', '.join(sorted(half - halves))} left over")
            halves = half
            if code not in CODES[signal.Signals(number)]:
                problems.append(f"ended with {code}: {output[-300:]}")
            now = job.kept(out)
            problems += lost(kept, now)
            kept = now
            where = f"{out.name} at {moment:.2f} s"
            tally.problems += [f"{where}: {p}" for p in problems]
            marks.add(number)
            count += 1
        ends += 1
    return tallies, ends


def interrupted(
    commands: Commands, words: list[str], number: int, moment: float | None
) -> tuple[int, bool, str, list[str]]:
    """Start a command and send it a signal after ``moment`` seconds, if it still runs.

    Returns:
        Exit code, whether the signal met it, what it printed, and problems with what it left.
    """
    pid = commands.start(words)
    hit = False
    if moment is not None:
        time.sleep(moment)
        hit = running(pid)
        if hit:
            os.kill(pid, number)
    start = time.monotonic()
    done = commands.wait()
    problems = []
    if hit and time.monotonic() - start > GRACE_S:
        problems.append(f"took {time.monotonic() - start:.0f} s to end")
    end = time.monotonic() + GRACE_S
    while group_lives(pid) and time.monotonic() < end:
        time.sleep(0.1)
    if group_lives(pid):
        problems.append("left a process behind")
    if hit and done.returncode == 0:  # it was past its last file
        hit = False
    return done.returncode, hit, done.output, problems


def running(pid: int) -> bool:
    """Whether a process lives and isn't a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def group_lives(group: int) -> bool:
    """Whether a process of a group lives."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[2]) == group:
            return True
    return False


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda p: json.loads(p.read_text()),
    ".jsonl": lambda p: [json.loads(line) for line in p.read_text().splitlines()],
    ".ckpt": read_checkpoint,
    ".safetensors": load_file,
    ".npy": lambda p: np.load(p),
    ".flac": lambda p: soundfile.read(p),
    ".wav": lambda p: soundfile.read(p),
    ".png": lambda p: p.read_bytes().index(b"IEND"),
}


def whole(out: Path) -> list[str]:
    """Files that can't be read to their end."""
    problems = []
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        if LEFTOVER.fullmatch(path.name):
            continue
        try:
            READERS.get(path.suffix, Path.read_bytes)(path)
        except Exception as error:  # whatever half a file leads to
            problems.append(f"{path.name} is half written: {error}")
    return problems


def leftovers(out: Path) -> set[str]:
    """Temporary files, which only SIGKILL may leave."""
    return {path.name for path in out.rglob(".*") if LEFTOVER.fullmatch(path.name)}


def lost(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What was finished before and isn't any more; numbers may grow."""
    problems = []
    for name, value in before.items():
        other = now.get(name)
        fine = other is not None and (
            other >= value if isinstance(value, int) else same(other, value)
        )
        if not fine:
            problems.append(f"{name} is lost")
    return problems


def same(a: Any, b: Any) -> bool:
    """Whether nested values are equal, bit by bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)
