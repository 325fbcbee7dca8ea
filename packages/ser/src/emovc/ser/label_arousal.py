"""``emovc label-arousal``: pseudo-labels of arousal for a corpus that nobody rated."""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from emovc.common.errors import UserError
from emovc.common.files import write_json
from emovc.common.manifest import read_manifest, write_manifest
from emovc.common.parsing import run_function
from emovc.ser.arousal import SHIPPED, ArousalRegressor
from emovc.ser.functionals import load_functionals, measure


def label_arousal(
    manifest: Path,
    out: Path,
    regressor: Path = SHIPPED,
    lowest: float = 1.0,
    highest: float = 99.0,
    num_workers: int = 1,
) -> None:
    """Write a manifest whose arousal is what a regression measures in each recording.

    A regression keeps to the middle of its scale. So levels 1 and 7 are where the percentiles
    ``lowest`` and ``highest`` of the training part lie; what is beyond is clipped. Beside ``OUT``
    go ``.arousal.safetensors``, the regression on that scale, which judges can use, and
    ``.arousal.json``, from which training learns where its labels are from.

    Args:
        manifest: Manifest with splits.
        out: Manifest to write, in the same folder, where its features are.
        regressor: File of a regression; by default the one that comes with the package.
        lowest: Percentile of level 1.
        highest: Percentile of level 7.
        num_workers: Processes.
    """
    if not 0 <= lowest < highest <= 100:
        raise UserError(f"percentiles {lowest:g} and {highest:g}: give 0 to 100, the lower first")
    utterances = read_manifest(manifest)
    if any(u.arousal is not None for u in utterances):
        raise UserError(f"{manifest}: has ratings of arousal; they need no pseudo-labels")
    if out.resolve().parent != manifest.resolve().parent:
        raise UserError(f"{out}: must lie beside {manifest.name}, where its features are")
    plain = ArousalRegressor.load(regressor)
    features, silent = measure(load_functionals(plain.functionals), utterances, num_workers)
    raw = features @ plain.weight + plain.bias
    training = np.array([u.split == "train" for u in utterances]) & np.isfinite(raw)
    if not training.any():
        raise UserError(f"{manifest}: has no training part; make it with emovc prepare")
    low, high = np.percentile(raw[training], [lowest, highest])
    if not high > low:
        raise UserError(f"{manifest}: all recordings have one arousal; labels need more of them")
    scale = f"percentiles {lowest:g} and {highest:g} of the training part"
    stretched = plain.stretched(float(low), float(high), scale)
    levels = 1 + 6 * np.clip(features @ stretched.weight + stretched.bias, 0, 1)
    rows = [
        replace(u, arousal=round(float(level), 3) if np.isfinite(level) else None)
        for u, level in zip(utterances, levels, strict=True)
    ]
    stretched.save(out.with_suffix(".arousal.safetensors"))
    record = {
        "labels": "pseudo-labels of a regression, nobody rated them",
        "weights": stretched.hash,
        "scale": stretched.report["scale"],
    }
    write_json(out.with_suffix(".arousal.json"), record)
    write_manifest(out, rows)
    counts = Counter(round(u.arousal) for u in rows if u.split == "train" and u.arousal)
    sys.stdout.write("".join(f"left out: {reason}\n" for reason in silent))
    said = ", ".join(f"{counts[level]} of level {level}" for level in range(1, 8))
    sys.stdout.write(f"training part: {said}\n{out}\n")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc label-arousal``."""
    run_function(label_arousal, args, command, out=True)
