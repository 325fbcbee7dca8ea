"""``emovc compare``: evaluations of several models in one table, in pictures and on one page."""

import sys
from pathlib import Path

from emovc.common.comparison import align, differences
from emovc.common.comparison_page import write_comparison_page
from emovc.common.comparison_plots import write_plots
from emovc.common.comparison_reading import read_evaluations
from emovc.common.comparison_tables import (
    differences_csv,
    pairs_csv,
    to_csv,
    to_json,
    to_markdown,
)
from emovc.common.files import write_json, write_text
from emovc.common.parsing import run_function
from emovc.common.wandb_publish import publish


def compare(
    evaluations: list[Path],
    out: Path,
    names: list[str] | None = None,
    wandb: str | None = None,
    entity: str | None = None,
) -> None:
    """Set evaluations beside each other on the sentences they share.

    Args:
        evaluations: Folders that emovc evaluate wrote, of the same manifest, split and seed.
        out: Folder to write tables, pictures and a page to.
        names: Names of the models, in the same order; by default those of their runs.
        wandb: W&B project to log audio to, and to make the workspace and the report in.
        entity: W&B user or team of the project.
    """
    comparison = align(read_evaluations(evaluations, names))
    table, found = comparison.table(), differences(comparison)
    text = to_markdown(comparison, table, found)
    write_text(out / "table.csv", to_csv(table))
    write_json(out / "table.json", to_json(comparison, table, found))
    write_text(out / "table.md", text)
    write_text(out / "pairs.csv", pairs_csv(comparison))
    write_text(out / "differences.csv", differences_csv(found))
    plots = write_plots(comparison, table, out / "plots")
    write_comparison_page(out / "index.html", comparison, table, found, plots)
    sys.stdout.write(f"{text}\n{out / 'index.html'}\n")
    if wandb:
        for line in publish(comparison, wandb, entity, text):
            sys.stdout.write(f"{line}\n")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc compare``."""
    run_function(compare, args, command, many="evaluations", out=True)
