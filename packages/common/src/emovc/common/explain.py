"""One line for errors of libraries and of the machine that users can mend."""

import errno
import os
import re

from emovc.common.errors import UserError
from emovc.common.files import disk_errno, full_disk

DEAD_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Unable to allocate|\bMemoryError\b",
    re.IGNORECASE,
)
NUL = re.compile(r"embedded null (byte|character)")
REMEDIES = {  # by the system's number of the error
    errno.ELOOP: "its links lead in a circle; name the file itself",
    errno.ENAMETOOLONG: "the name is too long for the file system; shorten it",
    errno.ENOTDIR: "a part of the path is a file, not a folder; correct it",
    errno.EISDIR: "is a folder; name a file",
    errno.ENOENT: "no such file or folder; correct the path",
    errno.EACCES: "can't be read or written (permission denied); change its rights",
    errno.EPERM: "can't be read or written (not permitted); change its rights",
    errno.EROFS: "the file system can't be written; choose another folder",
    errno.EMFILE: "too many files are open; lower num_workers, or raise ulimit -n",
}
NO_DEVICE = re.compile(
    r"Found no NVIDIA driver|not compiled with CUDA|No CUDA GPUs|invalid device ordinal"
    r"|invalid accelerator name|Expected one of cpu, cuda",
)


def explain(error: Exception) -> UserError | None:
    """What to say of an error that isn't ours: a full disk, memory, devices, a dead process.

    Args:
        error: What a command ended with.

    Returns:
        Nothing where it may be a mistake of ours, which needs its traceback.
    """
    text = str(error)
    if full := full_disk(disk_errno(error), getattr(error, "filename", None) or "output"):
        return full
    if isinstance(error, OSError) and error.strerror:
        name = error.filename if isinstance(error.filename, str | os.PathLike) else "a file"
        return UserError(f"{os.fspath(name)}: {REMEDIES.get(error.errno or 0, _said(error))}")
    if isinstance(error, ValueError) and NUL.search(text):
        return UserError(
            "a path holds a NUL character; correct it in the file or option that names it"
        )
    if isinstance(error, RuntimeError) and (found := DEAD_WORKER.search(text)):
        return _dead_worker([int(pid) for pid in found[1].split(",")])
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        where = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
        return UserError(
            f"out of memory{where}: lower batch_size (in training also data.batch_seconds and"
            " data.max_seconds), or take a larger machine"
        )
    if NO_DEVICE.search(text) or type(error).__name__ == "MisconfigurationException":
        return UserError(f"trainer or device: {text.splitlines()[0]}")
    return None


def _said(error: OSError) -> str:
    """What the system says of a file."""
    return f"{str(error.strerror).lower()}; check the path"


def _dead_worker(pids: list[int]) -> UserError:
    """Name the files that loader processes were at when they died."""
    from emovc.common.worker_files import file_of_worker

    files = [path for path in map(file_of_worker, pids) if path]
    at = f"{', '.join(files)}: " if files else ""
    return UserError(
        f"{at}the process that read it died, as for lack of memory; check the file, lower"
        " num_workers, or set it to 0 to see why"
    )
