"""Stopping commands: between items, within seconds, with what is finished kept."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import TypeVar

from emovc.common.progress import progress

TERMINATED, INTERRUPTED = 143, 130  # exit codes: 128 + SIGTERM, 128 + SIGINT
_stopped = False  # in a worker: whether it got SIGTERM
Item = TypeVar("Item")
Result = TypeVar("Result")


def end_when_interrupted() -> None:
    """On Ctrl-C end the command with exit code 130; a second one breaks the end off.

    Without it Lightning, which runs extraction and evaluation, makes it 1.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise SystemExit(INTERRUPTED)

    signal.signal(signal.SIGINT, end)


def end_when_terminated() -> None:
    """On SIGTERM end the command as Ctrl-C does, with exit code 143.

    Without it Lightning notes the signal and goes on. Files are written beside their place and
    renamed, so none is left half.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end itself is not to be broken off
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, end)


def in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], num_workers: int | None, what: str
) -> list[Result]:
    """Map over items in processes, with a progress bar; an interrupt ends them at once.

    The pool by itself would first do all that was handed to it.

    Args:
        work: What is done to an item; a function of a module.
        items: Items.
        num_workers: Processes; ``None``: one per core.
        what: What is done, for the bar.
    """
    pool = ProcessPoolExecutor(num_workers, initializer=_answer_signals)
    try:
        results = pool.map(partial(_unless_stopped, work), items, chunksize=16)
        return list(progress(results, what, len(items)))
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], num_threads: int | None, what: str
) -> Iterator[Result]:
    """Map over items in threads, with a progress bar; an interrupt leaves out what isn't begun.

    Args:
        work: What is done to an item.
        items: Items.
        num_threads: Threads; ``None``: as many as Python takes.
        what: What is done, for the bar.
    """
    pool = ThreadPoolExecutor(num_threads)
    try:
        yield from progress(pool.map(work, items), what, len(items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def end_with_parent() -> None:
    """End this worker process when its parent was killed; it would wait for ever for more to do."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _answer_signals() -> None:
    """What signals do in a worker.

    Ctrl-C reaches all processes of a terminal and is left to the parent, or the workers' tracebacks
    would hide its line. SIGTERM breaks the item off as an exception does, so that nothing half
    written stays.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()

    def stop(number: int, frame: FrameType | None) -> None:
        global _stopped
        _stopped = True
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, stop)


def _unless_stopped(work: Callable[[Item], Result], item: Item) -> Result:
    """Do an item; a worker that was stopped still gets those that were handed to it."""
    if _stopped:
        raise SystemExit(TERMINATED)
    return work(item)
