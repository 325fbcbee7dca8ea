"""``emovc reproduce``: experiments of the papers, each defined by the package of its model."""

import sys
from importlib.metadata import entry_points

from emovc.common.errors import UserError
from emovc.common.parsing import run_function

GROUP = "emovc.experiments"


def main(command: str, args: list[str]) -> None:
    """Run ``emovc reproduce EXPERIMENT ...``.

    A package offers an experiment by an entry point of the group ``emovc.experiments``.

    Raises:
        UserError: The experiment is unknown.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if not args or args[0] in ("-h", "--help"):
        sys.stdout.write("usage: emovc reproduce EXPERIMENT ...\n\n")
        sys.stdout.write("".join(f"  {name}\n" for name in sorted(found)))
        return
    if args[0] not in found:
        raise UserError(f"unknown experiment {args[0]!r}; there are {', '.join(sorted(found))}")
    run_function(found[args[0]].load(), args[1:], f"{command} {args[0]}")
