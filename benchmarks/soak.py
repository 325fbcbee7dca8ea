"""Interrupt prepare, fit, evaluate and quantize, 20 times each, and table what came of it.

    make soak

SIGKILL, SIGTERM and SIGINT take turns, at seeded random moments of the time that an uninterrupted
command takes. Arguments: interruptions of each command, sentences of the toy corpus, seed, and the
one command to interrupt.
"""

import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.commands import Commands
from tests.integration.runs import COMMAND, ROOT, environment
from tests.integration.soak import soak
from tests.integration.soak_jobs import make_ready


def main(interruptions: int = 20, sentences: int = 3, seed: int = 0, only: str = "") -> int:
    """Run the loop and print its table; gives the number of problems."""
    folder = Path(tempfile.mkdtemp(prefix="emovc-soak-"))
    own = environment() | {"WANDB_MODE": "disabled"}
    commands = Commands(COMMAND, folder / "output.txt", own, ROOT)
    problems: list[str] = []
    try:
        ready = make_ready(commands, folder, sentences)
        print("| command | signal | interruptions | at s | problems | equal ends |")
        print("|---|---|---|---|---|---|", flush=True)
        for number, job in enumerate(ready):
            if only not in job.name:
                continue
            tallies, ends = soak(
                commands, job, folder / f"soak-{number}", interruptions, seed + number
            )
            for mark, tally in tallies.items():
                at = f"{min(tally.moments, default=0):.1f} to {max(tally.moments, default=0):.1f}"
                name, times = signal.Signals(mark).name, len(tally.moments)
                cells = job.name, name, times, at, len(tally.problems), ends
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)
            problems += [f"{job.name}: {p}" for t in tallies.values() for p in t.problems]
    finally:
        commands.close()
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems; files in {folder}")
    return len(problems)


if __name__ == "__main__":
    sys.exit(1 if main(*map(int, sys.argv[1:4]), *sys.argv[4:5]) else 0)
