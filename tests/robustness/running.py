"""Runs a command in this process on an input that may be wrong, and judges how it ended."""

import contextlib
import io
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from emovc.common.cli import main

SECONDS = 60  # after which a command counts as stuck
LONGEST = 500  # characters of a line
RIGHT, CODE_1, CODE_2 = "right result", "one line, exit 1", "one line, exit 2"
GOOD = (RIGHT, CODE_1, CODE_2)


class Case(NamedTuple):
    """A command on an input that may be wrong.

    Attributes:
        words: Words after ``emovc``.
        outputs: What it may write, absent before.
        right: Whether the result is right, where the command says that it did its work.
        begun: Names of files that may stay of work that was begun and failed.
    """

    words: list[str]
    outputs: list[Path]
    right: Callable[[], bool]
    begun: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What came of a case.

    Attributes:
        kind: One of :data:`GOOD`, or what went wrong.
        said: What the command printed, for the report.
    """

    kind: str
    said: str


def run(case: Case) -> Outcome:
    """Run a command in this process, and judge how it ended."""
    out, err = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, ["emovc", *case.words]
    before = signal.signal(signal.SIGALRM, _stuck)
    signal.alarm(SECONDS)
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            warnings.simplefilter("ignore")
            main()
    except SystemExit as stop:
        code = stop.code
    except _Stuck:
        return Outcome("stuck", " ".join(case.words))
    except BaseException:
        return Outcome("traceback", traceback.format_exc())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        sys.argv = argv
    said = err.getvalue()
    lines = [line for line in said.splitlines() if line.startswith("emovc: ")]
    lines = [line for line in lines if "warning: " not in line]
    left = [p for path in case.outputs for p in path.rglob("*") if ".tmp" in p.name]
    if left:
        return Outcome("half-written", f"{left[0]}\n{said}")
    if code in (0, None):
        return Outcome(RIGHT if case.right() else "wrong result", said + out.getvalue())
    if code not in (1, 2) or len(lines) != 1 or len(lines[0]) > LONGEST:
        return Outcome("not one line", f"exit {code}: {said}{out.getvalue()}")
    files = [p for path in case.outputs for p in path.rglob("*") if p.is_file()]
    if any(p.name not in case.begun for p in files):
        return Outcome("half-written", f"{list(case.outputs[0].rglob('*'))[:3]}\n{said}")
    return Outcome(CODE_1 if code == 1 else CODE_2, said)


class _Stuck(BaseException):
    """The command took too long."""


def _stuck(number: int, frame: Any) -> None:
    raise _Stuck
