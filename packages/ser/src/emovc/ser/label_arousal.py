"""``emovc label-arousal``: pseudo-labels of arousal for a corpus that nobody rated."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emovc.common.errors import UserError
from emovc.common.files import write_json
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.parsing import run_function
from emovc.common.unchanged import require_unchanged
from emovc.common.wav import read_wav
from emovc.ser.arousal import SHIPPED, ArousalRegressor
from emovc.ser.arousal_judge import MspDimJudge
from emovc.ser.functionals import load_functionals, measure
from emovc.ser.msp_dim import NAME


def label_arousal(
    manifest: Path,
    out: Path,
    regressor: Path = SHIPPED,
    lowest: float = 1.0,
    highest: float = 99.0,
    msp_dim: str | None = None,
    num_workers: int = 1,
) -> None:
    """Write a manifest whose arousal is what a regression or a network measures.

    A regression keeps to the middle of its scale. So levels 1 and 7 are where the percentiles
    ``lowest`` and ``highest`` of the training part lie; what is beyond is clipped. Beside ``OUT``
    go ``.arousal.safetensors``, the regression on that scale, which judges can use, and
    ``.arousal.json``, from which training learns where its labels are from. audEERING's network
    was trained on ratings and keeps its own scale.

    Args:
        manifest: Manifest with splits.
        out: Manifest to write, in the same folder, where its features are.
        regressor: File of a regression; by default the one that comes with the package.
        lowest: Percentile of level 1.
        highest: Percentile of level 7.
        msp_dim: Folder or name on Hugging Face of audEERING's network, to label with in place of
            the regression.
        num_workers: Processes of the regression.
    """
    if not 0 <= lowest < highest <= 100:
        raise UserError(f"percentiles {lowest:g} and {highest:g}: give 0 to 100, the lower first")
    utterances = read_manifest(manifest)
    require_unchanged(utterances, manifest)
    if any(u.arousal is not None for u in utterances):
        raise UserError(f"{manifest}: has ratings of arousal; they need no pseudo-labels")
    if out.resolve().parent != manifest.resolve().parent:
        raise UserError(f"{out}: must lie beside {manifest.name}, where its features are")
    if msp_dim is not None:
        judge = MspDimJudge(msp_dim)
        values = [_heard(judge, u) for u in utterances]
        record = {"labels": f"pseudo-labels of {NAME}", "weights": judge.about["weights"]}
    else:
        scale = Scale(manifest, utterances, regressor, num_workers)
        values = scale.values(lowest, highest)
        record = scale.save(out.with_suffix(".arousal.safetensors"))
    rows = [
        replace(u, arousal=round(1 + 6 * value, 3) if np.isfinite(value) else None)
        for u, value in zip(utterances, values, strict=True)
    ]
    write_json(out.with_suffix(".arousal.json"), record)
    write_manifest(out, rows)
    counts = Counter(round(u.arousal) for u in rows if u.split == "train" and u.arousal)
    said = ", ".join(f"{counts[level]} of level {level}" for level in range(1, 8))
    sys.stdout.write(f"training part: {said}\n{out}\n")


class Scale:
    """A regression's measures of a corpus, and the regression on the corpus' own scale.

    Args:
        manifest: Manifest, for messages.
        utterances: Its utterances.
        regressor: File of the regression.
        num_workers: Processes.

    Raises:
        UserError: There is no training part.
    """

    def __init__(
        self, manifest: Path, utterances: Sequence[Utterance], regressor: Path, num_workers: int
    ) -> None:
        self.manifest = manifest
        self.regressor = ArousalRegressor.load(regressor)
        functionals = load_functionals(self.regressor.functionals)
        self.features, silent = measure(functionals, utterances, num_workers)
        sys.stdout.write("".join(f"left out: {reason}\n" for reason in silent))
        spoken = np.isfinite(self.features).all(1)
        self.training = np.array([u.split == "train" for u in utterances]) & spoken
        if not self.training.any():
            raise UserError(f"{manifest}: has no training part; make it with emovc prepare")

    def values(self, lowest: float, highest: float) -> list[float]:
        """Arousal, 0 to 1, of all utterances, once percentiles of the training part are the ends.

        Raises:
            UserError: These are the same.
        """
        raw = self._raw()
        low, high = np.percentile(raw[self.training], [lowest, highest])
        if not high > low:
            raise UserError(f"{self.manifest}: all recordings have one arousal; give more of them")
        of = f"percentiles {lowest:g} and {highest:g} of the training part"
        self.regressor = self.regressor.stretched(float(low), float(high), of)
        return np.clip(self._raw(), 0, 1).tolist()

    def save(self, path: Path) -> dict[str, Any]:
        """Write the regression; gives the record of the labels."""
        self.regressor.save(path)
        return {
            "labels": "pseudo-labels of a regression, nobody rated them",
            "weights": self.regressor.hash,
            "scale": self.regressor.report["scale"],
        }

    def _raw(self) -> np.ndarray:
        """What the regression gives, not clipped, (N,)."""
        return self.features @ self.regressor.weight + self.regressor.bias


def _heard(judge: MspDimJudge, utterance: Utterance) -> float:
    """Arousal, 0 to 1; NaN of a recording that can't be judged."""
    try:
        return judge.hear(*read_wav(utterance.path))
    except UserError as error:
        sys.stdout.write(f"left out: {utterance.id}: {error}\n")
        return float("nan")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc label-arousal``."""
    run_function(label_arousal, args, command, out=True)
