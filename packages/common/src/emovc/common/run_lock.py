"""One training at a time in a run's folder."""

import fcntl
import os
from pathlib import Path
from typing import IO

import lightning as L

from emovc.common.errors import UserError

LOCK = ".lock"


class RunLock(L.Callback):
    """Keeps a second ``emovc fit`` out of a run's folder while the first one trains.

    Their curves and checkpoints would be mixed. The lock is one of the operating system's, which
    ends with its process, however that ends; the file itself stays and says nothing. ``emovc fit``
    adds this callback by itself.
    """

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the lock, in the process that writes.

        Raises:
            UserError: Another process has it.
        """
        if stage != "fit" or not trainer.is_global_zero or self._file is not None:
            return
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise UserError(
                f"{folder}: process {owner} is training in it; wait for it, or give --run OTHER"
            ) from None
        except OSError:  # a file system without locks
            file.close()
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None
