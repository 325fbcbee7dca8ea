"""The ``emovc`` command: finds the command's function and turns its errors into one line."""

import errno
import importlib
import os
import sys

from emovc.common.errors import UserError
from emovc.common.quiet import quieten

# Name: module, function, what it does. Modules are imported when their command runs, so that
# ``emovc --help`` answers at once.
COMMANDS = {
    "quickstart": ("quickstart", "the whole way on the toy corpus, ending in a page to listen to"),
    "corpora": ("corpora.overview", "list the corpora that can be prepared"),
    "prepare": ("prepare", "corpus folder to manifest, splits, checks and features"),
    "check": ("check", "look for bad files, labels and leaks in a manifest"),
    "fit": ("fit", "train a model from a config"),
    "validate": ("fit", "validation loss of a checkpoint"),
    "test": ("fit", "test loss of a checkpoint"),
    "predict": ("fit", "predictions of a checkpoint through the trainer"),
    "convert": ("convert", "convert files with a trained model"),
    "evaluate": ("evaluate", "convert a fixed list of pairs and score them"),
    "export": ("export", "write a run's model as safetensors, config and card"),
    "reproduce": ("reproduce", "re-run an experiment of a paper on your runs"),
}


def main() -> None:
    """Entry point; returns nothing, or the exit code would be 1."""
    name, args = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("-h", "--help"):
        lines = [f"  {command:<12}{what}" for command, (_, what) in COMMANDS.items()]
        sys.stdout.write("usage: emovc COMMAND ...\n\n" + "\n".join(lines))
        sys.stdout.write("\n\nemovc COMMAND --help describes a command.\n")
        return
    if name == "--version":
        sys.stdout.write(
            f"emovc {importlib.import_module('importlib.metadata').version('emovc-common')}\n"
        )
        return
    quieten()
    try:
        if name not in COMMANDS:
            raise UserError(f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
        module = importlib.import_module(f"emovc.common.{COMMANDS[name][0]}")
        module.main(name, args)
    except UserError as error:
        sys.stderr.write(f"emovc: {_message(error)}\n")
        sys.exit(2)
    except OSError as error:
        if error.errno == errno.EPIPE:  # as of `emovc corpora | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.stderr.write(f"emovc: {error.filename or 'output'}: the disk is full; free some space")
        sys.stderr.write(" and run the command again\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("emovc: interrupted\n")
        sys.exit(130)


def _message(error: UserError) -> str:
    """The error's line, without the traceback that a loader process puts before it."""
    last = str(error).strip().splitlines()[-1]
    return last.removeprefix(f"{UserError.__module__}.{UserError.__qualname__}: ")
