"""The one exception that means "the caller can mend this"."""


class UserError(Exception):
    """Bad input, in one line that names the file or key and the remedy.

    The command line prints the line without a traceback and exits with code 2.
    """

    exit_code = 2


class Unfinished(UserError):
    """Some of several items failed; the others are done. The exit code is 1."""

    exit_code = 1


def printable(text: str) -> str:
    """A text for a terminal, in which what would move its cursor or break its line is spelled out.

    Names of files and cells of tables reach messages as they are.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
