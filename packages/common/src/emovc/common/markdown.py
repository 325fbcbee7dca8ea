"""Tables in Markdown."""

from collections.abc import Sequence


def markdown_table(lines: Sequence[Sequence[object]]) -> str:
    """A table whose first line is the head.

    Args:
        lines: Cells of each line, all lines of one length.
    """
    head, *body = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *body])
