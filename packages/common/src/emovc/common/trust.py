"""Which classes a file may name: a checkpoint, an exported folder or a feature store is data.

A file that came with weights describes its network by ``class_path`` and ``init_args``. Only
classes are called, never functions; they must be networks, F0 trackers or :class:`Plain`, and be
defined in the package they are named in; and the package is emovc's, or one that the user trusts
by ``--trust``. All of this is checked before anything is called.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from emovc.common.errors import UserError
from emovc.common.f0 import F0Tracker

OURS = "emovc"


class Plain:
    """Base of what files may name beside networks: classes that only keep their arguments."""


BASES = (nn.Module, F0Tracker, Plain)  # what descriptions of models, vocoders and stores consist of
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_trusted: set[str] = set()


def trust(package: str) -> None:
    """Let files name the classes of a package from now on, as ``--trust PACKAGE`` does.

    Raises:
        UserError: It is no name of a top-level package.
    """
    if not package.isidentifier() or package == OURS:
        raise UserError(f"--trust {package}: give the name of a package, such as my_package")
    _trusted.add(package)


@contextmanager
def trusting(*packages: str) -> Iterator[None]:
    """Let files name the classes of packages within a block.

    Example:
        >>> with trusting("my_package"):
        ...     pass  # model = load_converter(Path("runs/mine"))
    """
    before = set(_trusted)
    for package in packages:
        trust(package)
    try:
        yield
    finally:
        _trusted.clear()
        _trusted.update(before)


def foreign_packages(config: Any) -> list[str]:
    """Packages other than emovc whose classes a description names, at any depth.

    Args:
        config: A configuration value.
    """
    if isinstance(config, dict):
        path = config.get("class_path")
        own = {path.split(".")[0]} if isinstance(path, str) and "." in path else set()
        found = own.union(*(foreign_packages(value) for value in config.values()))
    elif isinstance(config, list):
        found = set().union(*(foreign_packages(item) for item in config))
    else:
        found = set()
    return sorted(found - {OURS})


def class_of_file(path: Any, where: str) -> type:
    """The class that a file names, which it may.

    Args:
        path: Dotted path of the class.
        where: The file, for messages.

    Raises:
        UserError: It may not, or there is no such class.
    """
    text = _checked(path, where)
    package = text.split(".")[0]
    if package != OURS and package not in _trusted:
        raise UserError(
            f"{where}: names the class {text}, which is not of emovc; add --trust {package} if you"
            " know who wrote the file and the package"
        )
    kind = _imported(text, where)
    home = getattr(kind, "__module__", "")
    at_home = isinstance(home, str) and home.split(".")[0] == package
    if not inspect.isclass(kind) or not at_home or not issubclass(kind, BASES):
        raise UserError(f"{where}: {text} is no network; the file is damaged or made to do harm")
    return kind


def class_of_user(path: Any, where: str) -> type:
    """The class that a file of the user's own names, such as a list of judges: of any package.

    Args:
        path: Dotted path of the class.
        where: The file, for messages.

    Raises:
        UserError: There is no such class.
    """
    text = _checked(path, where)
    kind = _imported(text, where)
    if not inspect.isclass(kind):
        raise UserError(f"{where}: {text} is no class; correct class_path")
    return kind


def _checked(path: Any, where: str) -> str:
    """A dotted path of identifiers."""
    if not isinstance(path, str) or not PATH.fullmatch(path):
        raise UserError(f"{where}: class_path {path!r} is malformed; write package.module.Class")
    return path


def _imported(path: str, where: str) -> Any:
    """What a dotted path leads to."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise UserError(
            f"{where}: class {path} does not exist; is its package installed, and new enough?"
        ) from None
