"""``emovc`` commands in processes of their own that don't import everything anew.

One process imports what the commands need and forks for each. A fork runs ``emovc`` up to its exit
code, with the environment of a fresh shell, and can be killed like any other process.
"""

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

from emovc.common.cli import main as emovc

MODULES = (
    "emovc.common.callbacks",
    "emovc.common.data",
    "emovc.common.evaluate",
    "emovc.common.features.extraction",
    "emovc.common.fit",
    "emovc.common.judges.speaker_similarity",
    "emovc.common.listening",
    "emovc.common.loggers",
    "emovc.common.prepare",
    "emovc.genner_tts.quantize",
    "emovc.speechflow.training",
)


class Done(NamedTuple):
    """Exit code of a command, or minus the signal that ended it, and what it printed."""

    returncode: int
    output: str


class Commands:
    """Starts commands, one at a time.

    Args:
        command: The installed ``emovc``, which the forks take themselves for.
        log: File for what a command prints.
        environment: Environment variables of the commands.
        folder: Working directory of the commands.
    """

    def __init__(self, command: Path, log: Path, environment: dict[str, str], folder: Path) -> None:
        self._log = log
        self._server = subprocess.Popen(
            [sys.executable, __file__, command, log],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=folder,
            text=True,
        )

    def start(self, words: list[str]) -> int:
        """Start a command; gives its process id."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(words) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def wait(self) -> Done:
        """Wait for the end of the command that was started."""
        return Done(self._answer(), self._log.read_text(encoding="utf-8", errors="replace"))

    def run(self, words: list[str], limit: float = 600) -> Done:
        """Run a command to its end, which comes by force after ``limit`` seconds."""
        timer = threading.Timer(limit, os.kill, (self.start(words), signal.SIGKILL))
        timer.start()
        try:
            return self.wait()
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the process that forks."""
        self._server.kill()
        self._server.communicate()

    def _answer(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def serve(command: str, log: str) -> None:
    """For each line of words: fork, answer the process id, then the exit code."""
    for module in MODULES:
        importlib.import_module(module)
    forks = multiprocessing.get_context("fork")
    for line in sys.stdin:
        fork = forks.Process(target=become, args=([command, *json.loads(line)], log))
        fork.start()
        sys.stdout.write(f"{fork.pid}\n")
        sys.stdout.flush()
        fork.join()
        sys.stdout.write(f"{fork.exitcode}\n")
        sys.stdout.flush()


def become(words: list[str], log: str) -> None:
    """Be the command: its words, its streams, its end, and a group of processes of its own."""
    os.setpgrp()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
        os.dup2(file, stream)
    sys.argv = words
    emovc()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
