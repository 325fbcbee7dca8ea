"""The ``emovc`` command: finds the command's function and turns its errors into one line."""

import importlib
import os
import re
import sys
from importlib.metadata import entry_points

from emovc.common.errors import UserError, printable
from emovc.common.explain import explain
from emovc.common.quiet import quieten
from emovc.common.signals import INTERRUPTED, end_when_interrupted, end_when_terminated

# Name: module, function, what it does. Modules are imported when their command runs, so that
# ``emovc --help`` answers at once.
COMMANDS = {
    "quickstart": ("quickstart", "the whole way on the toy corpus, ending in a page to listen to"),
    "corpora": ("corpora.overview", "list the corpora that can be prepared"),
    "prepare": ("prepare", "corpus folder to manifest, splits, checks and features"),
    "combine": ("combine", "one manifest of several corpora"),
    "check": ("check", "look for bad files, labels and leaks in a manifest"),
    "fit": ("fit", "train a model from a config"),
    "validate": ("fit", "validation loss of a checkpoint"),
    "test": ("fit", "test loss of a checkpoint"),
    "predict": ("fit", "predictions of a checkpoint through the trainer"),
    "convert": ("convert", "convert files with a trained model"),
    "pairs": ("list_pairs", "list the pairs that evaluate converts, for other programs"),
    "evaluate": ("evaluate", "convert a fixed list of pairs and score them"),
    "control": ("control", "convert at rising levels of strength or arousal, and measure them"),
    "compare": ("compare", "set evaluations of several models beside each other"),
    "disentangle": ("disentanglement", "what a model's codes tell of emotion, speaker, words, F0"),
    "export": ("export", "write a run's model as safetensors, config and card"),
    "reproduce": ("reproduce", "re-run an experiment of a paper on your runs"),
}

TRAINING = ("fit", "validate", "test")  # Lightning answers their signals
TRUST = (
    "With --trust PACKAGE, any command loads models whose classes are of a package other than"
    " emovc's.\n"
)

LONG_VALUE = re.compile(r"'([^']{60})[^']{60,}'")  # quoted in messages
GROUP = "emovc.commands"  # entry points with which other packages offer commands


def main() -> None:
    """Entry point; returns nothing, or the exit code would be 1."""
    name, args = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("-h", "--help"):
        sys.stdout.write(_usage())
        return
    if name == "--version":
        sys.stdout.write(
            f"emovc {importlib.import_module('importlib.metadata').version('emovc-common')}\n"
        )
        return
    quieten()
    end_when_interrupted()
    if name not in TRAINING:
        end_when_terminated()
    try:
        _run(name, _without_trust(args))
    except UserError as error:
        sys.stderr.write(f"emovc: {_message(error)}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # as of `emovc corpora | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        sys.stderr.write(f"emovc: {printable(str(known))}\n")
        sys.exit(known.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("emovc: interrupted\n")
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            sys.stderr.write("emovc: interrupted\n")
        raise


def _run(name: str, args: list[str]) -> None:
    """Run a command of this package, or one that another package offers.

    Raises:
        UserError: There is none of this name.
    """
    if name in COMMANDS:
        importlib.import_module(f"emovc.common.{COMMANDS[name][0]}").main(name, args)
        return
    others = {point.name: point for point in entry_points(group=GROUP)}
    if name not in others:
        raise UserError(f"unknown command {name!r}; there are {', '.join([*COMMANDS, *others])}")
    others[name].load()(name, args)


def _without_trust(args: list[str]) -> list[str]:
    """Trust the packages that ``--trust`` names, and leave the other words.

    Raises:
        UserError: One has no name behind it.
    """
    rest: list[str] = []
    words = iter(args)
    for word in words:
        option, equals, package = word.partition("=")
        if option != "--trust":
            rest.append(word)
            continue
        from emovc.common.trust import trust

        trust(package if equals else next(words, ""))
    return rest


def _usage() -> str:
    """All commands, those of other packages with the package's name."""
    lines = [f"  {command:<16}{what}" for command, (_, what) in COMMANDS.items()]
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        package = point.dist.name if point.dist else "another package"
        lines.append(f"  {point.name:<16}of {package}")
    body = "\n".join(lines)
    return (
        f"usage: emovc COMMAND ...\n\n{body}\n\nemovc COMMAND --help describes a command.\n{TRUST}"
    )


def _message(error: UserError) -> str:
    """The error's line, without the traceback that a loader process puts before it."""
    last = LONG_VALUE.sub(r"'\1...'", str(error).strip().split("\n")[-1])
    return printable(last.removeprefix(f"{UserError.__module__}.{UserError.__qualname__}: "))
