"""Readers of speech corpora as their authors distribute them.

Each module of this package that defines ``read`` is a corpus, called by the module's name; a reader
of one's own is a module anywhere, called by its dotted name. A reader defines ``LICENCE`` and
``CITE``, ``LAYOUT`` (what its files look like, for the message when there are none), and
``read(root)`` which returns a :class:`Listing`. One that synthesises its corpus also defines
``make(root)``, which is called first and makes or completes what is not there.
"""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from emovc.common.corpora.reading import Listing, find_files
from emovc.common.errors import UserError
from emovc.common.wav import COMPRESSED, UNREAD

__all__ = ["Listing", "corpus_names", "read_corpus"]


def corpus_names() -> list[str]:
    """Names of the corpora that can be read, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in names if hasattr(import_module(f"{__name__}.{name}"), "read")]


def read_corpus(name: str, root: Path) -> Listing:
    """Read a corpus.

    Args:
        name: One of :func:`corpus_names`, or the dotted name of a module with a reader.
        root: Folder of the corpus (for ``table`` also a CSV file).

    Raises:
        UserError: The name is unknown, ``root`` is absent, or it holds no usable recording.
    """
    module = _reader(name)
    if hasattr(module, "make"):
        module.make(root)
    if not root.exists():
        raise UserError(f"{root}: no such folder; give the folder of the corpus {name}")
    listing: Listing = module.read(root)
    if root.is_dir() and name != "table":  # whose reader takes them, or names each
        listing.skipped.extend(_not_read(root))
    if not listing.utterances:
        layout = getattr(module, "LAYOUT", "the reader's own layout")
        first = f"; first skipped: {listing.skipped[0]}" if listing.skipped else ""
        raise UserError(
            f"{root}: holds no usable file of the corpus {name}, expected {layout}{first}"
        )
    return listing


def _not_read(root: Path) -> Iterator[str]:
    """A line for each kind of audio below a corpus' folder that its reader doesn't look for."""
    for ending in (*COMPRESSED, *UNREAD):
        files = find_files(root, ending)
        if files:
            first = files[0].relative_to(root).as_posix()
            yield f"{first}: is one of {len(files)} {ending} files, which are not read"


def _reader(name: str) -> ModuleType:
    """Import the module of a reader."""
    if "." not in name:
        if name not in corpus_names():
            raise UserError(
                f"{name}: no such corpus; known are {', '.join(corpus_names())},"
                " or name a module with a reader of your own (my_package.my_corpus)"
            )
        return import_module(f"{__name__}.{name}")
    try:
        found = find_spec(name) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise UserError(f"{name}: no such module; is its folder on PYTHONPATH?")
    module = import_module(name)
    if not hasattr(module, "read"):
        raise UserError(f"{name}: defines no read(root); see emovc.common.corpora")
    return module
