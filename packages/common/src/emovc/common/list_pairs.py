"""``emovc pairs``: the fixed list of conversions, for programs that convert by themselves."""

import sys
from pathlib import Path

from emovc.common.csv_text import csv_text
from emovc.common.evaluate import choose_pairs
from emovc.common.files import write_text
from emovc.common.parsing import run_function

COLUMNS = ("pair", "speaker", "emotion", "source", "reference", "same_words", "text", "language")


def list_pairs(
    manifest: Path,
    out: Path,
    split: str = "test",
    pairs: int = 50,
    source_emotion: str = "neutral",
    emotions: list[str] | None = None,
    seed: int = 0,
) -> None:
    """Write the pairs that ``emovc evaluate`` converts with the same arguments.

    Convert each ``source`` to ``<pair>.wav`` at 22 050 Hz in one folder, and give this folder to
    ``emovc evaluate`` in place of a run.

    Args:
        manifest: Manifest with parallel sentences.
        out: CSV file to write; ``reference`` says other words, ``same_words`` is the target itself.
        split: Part of the manifest.
        pairs: Number of conversions.
        source_emotion: Emotion of the sources.
        emotions: Target emotions; by default all others.
        seed: Seed of the list.
    """
    chosen = choose_pairs(manifest, split, pairs, source_emotion, emotions, seed)
    rows = []
    for p in chosen:
        reference = p.other.path if p.other else ""
        target = p.target
        row = [p.id, target.speaker, target.emotion, p.source.path, reference, target.path]
        rows.append([*row, target.text, target.language])
    write_text(out, csv_text(COLUMNS, rows))
    sys.stdout.write(f"{out}: {len(chosen)} pairs\n")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc pairs``."""
    run_function(list_pairs, args, command, out=True)
