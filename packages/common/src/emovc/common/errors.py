"""The one exception that means "the caller can mend this"."""


class UserError(Exception):
    """Bad input, in one line that names the file or key and the remedy.

    The command line prints the line without a traceback and exits with code 2.
    """

    exit_code = 2


class Unfinished(UserError):
    """Some of several items failed; the others are done. The exit code is 1."""

    exit_code = 1
