"""Progress bars of the commands."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Pass items on and show how many have passed, on standard error if that is a terminal.

    Args:
        items: Items.
        what: What is done to them.
        total: How many there are.

    Yields:
        The items.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = not console.is_terminal
    yield from track(items, what, total, console=console, transient=True, disable=hidden)
