"""``emovc corpora``: which corpora can be prepared."""

import sys
from importlib import import_module

from emovc.common.corpora import corpus_names
from emovc.common.parsing import run_function


def overview() -> None:
    """List the corpora that ``emovc prepare`` knows, with their licences and layouts."""
    for name in corpus_names():
        reader = import_module(f"emovc.common.corpora.{name}")
        title = (reader.__doc__ or "").partition("\n")[0]
        sys.stdout.write(f"{name:<12} {title}\n")
        sys.stdout.write(f"{'':<12} licence: {reader.LICENCE}\n")
        sys.stdout.write(f"{'':<12} expects: {reader.LAYOUT}\n")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc corpora``."""
    run_function(overview, args, command)
