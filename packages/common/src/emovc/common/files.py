"""Files that are either whole or absent: written beside the target, then renamed."""

import errno
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from emovc.common.errors import UserError

LONGEST_NAME = 180  # bytes; file systems take 255, and endings are added
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BY_RUST = re.compile(r"\(os error (\d+)\)")  # in what safetensors says
SHORT_WRITE = (  # what torch and NumPy say, without the reason
    "PytorchStreamWriter failed",
    "inline_container.cc",
    "requested and",
)
LEFTOVER = re.compile(r"\..+\.(\d+)\.tmp(\.\w+)?")
SETTLED_S = 60  # a temporary file that is still written to is younger


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its name when the block succeeds.

    Args:
        path: Final path; its folder is made if it is missing.

    Yields:
        The path to write to.

    Raises:
        UserError: The disk is full or the folder can't be written, whatever library found it so.
    """
    temporary = path.parent / f".{path.stem}.{os.getpid()}.tmp{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors leaves files that only their owner can read
        temporary.replace(path)
    except Exception as error:
        number = disk_errno(error)
        if number is None:
            raise
        raise _disk_error(OSError(number, os.strerror(number)), path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def file_name(text: str) -> str:
    """A text as one part of a path, and of a page's address.

    Letters, digits and ``_ . + -`` stay, slashes become ``_``. Where more than that must change, or
    the name is long, a hash of the text keeps different texts apart.

    Example:
        >>> file_name("nemo/AB0_1--angry")
        'nemo_AB0_1--angry'
    """
    plain = text.replace("/", "_")
    safe = re.sub(r"[^\w.+-]", "_", plain).lstrip(".")
    short = safe.encode()[:LONGEST_NAME].decode(errors="ignore")
    if plain and short == plain:
        return plain
    return f"{short or 'name'}-{short_hash(text)[:6]}"


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one file or folder, be it by links or by another spelling."""
    try:
        return a.samefile(b)
    except OSError:  # one of them isn't there
        return a.resolve() == b.resolve()


def disk_errno(error: Exception) -> int | None:
    """The errno of what the operating system refused, where an error tells or implies one."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, UserError):  # which says all there is to say
        return None
    text = str(error)
    if found := BY_RUST.search(text):
        return int(found[1])
    return errno.ENOSPC if any(words in text for words in SHORT_WRITE) else None


def full_disk(number: int | None, path: object) -> UserError | None:
    """What to say of a disk that takes no more.

    Args:
        number: An errno.
        path: What was to be written.

    Returns:
        Nothing where the number is another one.
    """
    if number == errno.EFBIG:
        return UserError(f"{path}: is larger than files may get here; raise ulimit -f, or move OUT")
    if number in FULL:
        return UserError(f"{path}: the disk is full; free some space and run the command again")
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote.

    Those of a process that runs, and those that were written to in the last minute, perhaps on
    another machine, stay.

    Args:
        folder: Where to look, at any depth; it may be absent.
    """
    for path in folder.rglob(".*.tmp*"):
        found = LEFTOVER.fullmatch(path.name)
        if found is None or Path(f"/proc/{found[1]}").exists():
            continue
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > SETTLED_S:
                path.unlink()


def _disk_error(error: OSError, path: Path, cause: Exception) -> Exception:
    """Name the remedy of the disk errors a user can mend; others stay as they are."""
    if full := full_disk(error.errno, path):
        return full
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return UserError(f"{path}: can't be written ({error.strerror}); choose another folder")
    return cause


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; null where a number is none or infinite."""
    write_text(path, json.dumps(without_nan(value), indent=2, ensure_ascii=False) + "\n")


def without_nan(value: Any) -> Any:
    """Nested values for JSON: null where a number is none or infinite, lists for tuples."""
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, nan_as_null: bool = False) -> Any:
    """Read JSON, in which every number is finite.

    Args:
        path: The file.
        nan_as_null: Read ``NaN`` as null, which older results hold where there is no value.

    Raises:
        UserError: The file is absent or no JSON, or holds NaN or infinity.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"), str(path), nan_as_null)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); copy it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); make the file anew") from None


def parse_json(text: str, where: str, nan_as_null: bool = False) -> Any:
    """Read a text as JSON, in which every number is finite.

    Args:
        text: The text.
        where: File, and line if it has several, for messages.
        nan_as_null: Read ``NaN`` as null.

    Raises:
        UserError: It is no JSON, or holds NaN or infinity.
    """

    def constant(name: str) -> float | None:
        if nan_as_null and name == "NaN":
            return None
        raise UserError(f"{where}: holds {name}, which is no number of JSON; make the file anew")

    def finite(digits: str) -> float:
        return value if math.isfinite(value := float(digits)) else cast(float, constant(digits))

    try:
        return json.loads(text, parse_constant=constant, parse_float=finite)
    except RecursionError:
        raise UserError(f"{where}: is nested too deeply; make the file anew") from None
    except ValueError as error:  # JSONDecodeError, and integers of thousands of digits
        raise UserError(f"{where}: not valid JSON ({error}); make the file anew") from None


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short_hash(value: Any) -> str:
    """Twelve hexadecimal digits that identify a JSON-able value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
