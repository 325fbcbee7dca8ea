"""Which file each loader process is at, so that its parent can name it when the process dies."""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils.data import get_worker_info

from emovc.common.errors import UserError

MOST_WORKERS, LONGEST = 64, 1000  # rows, and bytes of a path of which the end is kept
PID_BYTES = 8


class CurrentFiles:
    """A page of shared memory with a row per loader process: its id, and the file it is at."""

    def __init__(self) -> None:
        size = MOST_WORKERS, PID_BYTES + LONGEST
        self._rows = torch.zeros(size, dtype=torch.uint8).share_memory_()
        _pages.append(self)

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Let errors that nobody thought of, and the death of a loader process, name a file.

        Args:
            path: What is read inside the block.
        """
        self._note(path)
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            error.add_note(f"at {path}")
            raise

    def _note(self, path: Path) -> None:
        """Write down what this loader process reads next; in any other process nothing happens."""
        worker = get_worker_info()
        if worker is None or worker.id >= MOST_WORKERS:
            return
        text = os.fsencode(path)[-LONGEST:].ljust(LONGEST, b"\0")
        row = os.getpid().to_bytes(PID_BYTES, "little") + text
        self._rows[worker.id] = torch.frombuffer(bytearray(row), dtype=torch.uint8)

    def of(self, pid: int) -> str | None:
        """The file that a loader process is at, or was when it died."""
        for row in self._rows.numpy():
            if int.from_bytes(row[:PID_BYTES].tobytes(), "little") == pid:
                return os.fsdecode(row[PID_BYTES:].tobytes().rstrip(b"\0"))
        return None


_pages: deque[CurrentFiles] = deque(maxlen=32)  # of this process, the latest


def file_of_worker(pid: int) -> str | None:
    """The file that a loader process of this process was at, if that is known."""
    found = (page.of(pid) for page in reversed(_pages))
    return next((path for path in found if path), None)
