"""One training at a time in a run's folder."""

import fcntl
import os
from pathlib import Path
from typing import IO

import lightning as L

from emovc.common.errors import UserError

LOCK = ".lock"
_held: dict[Path, IO[str]] = {}  # by this process; not in the callback, which may be copied


class RunLock(L.Callback):
    """Keeps a second ``emovc fit`` out of a run's folder while the first one trains.

    Their curves and checkpoints would be mixed. The lock is one of the operating system's, which
    ends with its process, however that ends; the file itself stays and says nothing. ``emovc fit``
    adds this callback by itself.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the lock, in the process that writes.

        Raises:
            UserError: Another process has it.
        """
        folder = Path(trainer.default_root_dir).resolve()
        if stage != "fit" or not trainer.is_global_zero or folder in _held:
            return
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
        _held[folder] = file

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the lock back."""
        self._release(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Give the lock back after an error, too: the process may go on."""
        self._release(trainer)

    def _release(self, trainer: L.Trainer) -> None:
        file = _held.pop(Path(trainer.default_root_dir).resolve(), None)
        if file is not None:
            file.close()
