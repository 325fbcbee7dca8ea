"""Tables and files of the quantisation experiment."""

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from emovc.common.csv_text import csv_text
from emovc.common.files import without_nan, write_json, write_text
from emovc.common.markdown import markdown_table
from emovc.common.pictures import save_figure
from emovc.genner_tts.quantization_claims import Claim, claims_of
from emovc.genner_tts.quantization_findings import SIMILARITIES, Biased, Findings
from emovc.genner_tts.quantization_pictures import draw_curves, draw_direct, draw_pull

TITLES = {
    "raw": "cosine to itself",
    "centred": "cosine, both less the corpus mean",
    "progress": "share of the way to neutral",
    "at_neutral": "nearest centroid is neutral",
    "radius": "distance from the corpus mean, relative",
    "clean": "recall, probe of clean embeddings",
    "matched": "recall, probe of quantised embeddings",
    "speaker": "speaker recognised, probe of clean embeddings",
}


def write_report(out: Path, found: Findings, settings: dict[str, Any]) -> None:
    """Write ``quantization.{md,csv,json}`` and figures, and print the tables.

    Args:
        out: Folder.
        found: What was measured.
        settings: What it depends on.
    """
    claims = claims_of(found)
    text = "\n\n".join([_heading(settings), _claims(claims), *_tables(found)])
    write_json(
        out / "quantization.json",
        {"settings": settings, "claims": [c._asdict() for c in claims], "found": _plain(found)},
    )
    write_text(out / "quantization.csv", _csv(found))
    write_text(out / "quantization.md", text + "\n")
    save_figure(draw_curves(found, TITLES), out / "curves.png")
    save_figure(draw_direct(found), out / "direct.png")
    save_figure(draw_pull(found), out / "codebooks.png")
    sys.stdout.write(f"\n{text}\n\n{out}\n")


def _heading(settings: dict[str, Any]) -> str:
    """What the numbers are of."""
    sizes = settings["sizes"]
    return (
        f"{settings['embeddings']}: {settings['train']} for training, {settings['test']} for tests"
        f" of {settings['speakers']} speakers; {sizes['n_groups']} groups, {sizes['n_stages']}"
        f" stages, {sizes['codebook_size']} codes, {settings['steps']} steps, seeds"
        f" {', '.join(map(str, settings['seeds']))}. Lambda is the squared error that a bit may"
        " cost, of embeddings of unit size."
    )


def _claims(claims: Sequence[Claim]) -> str:
    """A line for each claim."""
    lines = [["claim", "", "measured"]]
    lines += [[c.letter, "held" if c.held else "**not held**", c.text] for c in claims]
    return markdown_table(lines)


def _tables(found: Findings) -> Iterator[str]:
    """All tables."""
    for name, title in TITLES.items():
        head = ["lambda", "bits", "distortion", *found.emotions]
        yield f"{title}:\n\n" + markdown_table(
            [head, *([f"{p.lam:.2g}", f"{p.bits:.1f}", f"{p.distortion:.3f}",
              *map(_cell, p.measures[name])] for p in found.curve)]
        )  # fmt: skip
    for way, rows in found.direct.items():
        lines = [["cosine", *found.emotions]]
        lines += [[f"{s}", *map(_cell, row)] for s, row in zip(SIMILARITIES, rows, strict=True)]
        yield f"recall where embeddings are turned {way}:\n\n{markdown_table(lines)}"
    yield "distortion at equal bits:\n\n" + markdown_table(
        [["bits", "one lambda", "bits", "bisection per item", "one lambda", "bits",
          "greedy, no entropy model", "one lambda"],
         *([f"{r.bits:.1f}", f"{r.fixed:.3f}", f"{r.bisected_bits:.1f}", f"{r.bisected:.3f}",
            f"{r.fixed_at_bisected:.3f}", f"{r.greedy_bits:.1f}", f"{r.greedy:.3f}",
            f"{r.fixed_at_greedy:.3f}"] for r in found.encoders)]
    )  # fmt: skip
    for one in found.biased:
        yield from _pull(one, "codebook of", found.emotions, found.emotions)
    for one in found.lean:
        yield from _pull(one, "codebook with ten times as much", found.dominant, found.emotions)
    for one in found.some:
        yield from _pull(one, "codebook of as many at random, to", found.emotions, found.emotions)


def _pull(
    found: Biased, title: str, codebooks: Sequence[str], emotions: Sequence[str]
) -> Iterator[str]:
    """What codebooks do to each emotion."""
    measures = {
        "cosine to itself": found.kept,
        "share of the way to the codebook's emotion": found.gone,
        "nearest to its centroid": found.arrived,
    }
    for name, rows in measures.items():
        lines = [[title, *emotions]]
        lines += [[c, *map(_cell, row)] for c, row in zip(codebooks, rows, strict=True)]
        yield f"{name}, lambda {found.lam:.2g}:\n\n{markdown_table(lines)}"


def _cell(value: float) -> str:
    """A number of a table."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def _plain(found: Findings) -> dict[str, Any]:
    """Findings as JSON takes them."""
    lists = ("curve", "encoders", "biased", "lean", "some")
    records = {name: [one._asdict() for one in getattr(found, name)] for name in lists}
    return without_nan(found._asdict() | records)


def _csv(found: Findings) -> str:
    """One line per lambda, measure and emotion."""
    lines = [
        [p.lam, p.bits, p.distortion, measure, emotion, value]
        for p in found.curve
        for measure, values in p.measures.items()
        for emotion, value in zip(found.emotions, values, strict=True)
    ]
    return csv_text(["lambda", "bits", "distortion", "measure", "emotion", "value"], lines)
