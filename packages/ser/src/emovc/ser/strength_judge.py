"""The judge of emotional strength, and the command that makes its rankings."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emovc.common.errors import UserError
from emovc.common.judging import Goal, Verdict
from emovc.common.manifest import read_manifest
from emovc.common.parsing import run_function
from emovc.ser.functionals import Functionals, load_functionals, measure
from emovc.ser.ranking import MAX_PAIRS, C
from emovc.ser.strength import (
    Ordering,
    StrengthRanker,
    intensity_accuracy,
    ordering_accuracy,
)

NEAR_CHANCE = 0.6  # share of pairs in the right order below which a ranking says little


class StrengthJudge:
    """Measures how strongly the wanted emotion is expressed, 0 to 1, by relative attributes.

    ``strength_<functionals>`` is what was measured and ``strength_rmse_<functionals>`` the signed
    error, whose root mean square the table shows: against the strength asked for, or else against
    that measured in the target recording.

    Args:
        ranker: File of ``emovc rank``.

    Raises:
        UserError: The file is none, or openSMILE is needed and missing.
    """

    def __init__(self, ranker: str | Path) -> None:
        self.ranker = StrengthRanker.load(Path(ranker))
        self.functionals: Functionals = load_functionals(self.ranker.functionals)
        self.name = self.functionals.name
        self.metrics: Mapping[str, str] = {
            f"strength_{self.name}": f"strength ({self.name})",
            f"strength_rmse_{self.name}": f"strength RMSE ({self.name})",
        }

    @property
    def about(self) -> dict[str, Any]:
        """See :class:`~emovc.common.judging.Judge`."""
        return {
            "functionals": self.name,
            "trained_on": list(self.ranker.corpora),
            "weights": self.ranker.hash,
            "scale": "0 and 1: least and most of the neutral and emotional training utterances",
            **self.ranker.report,
        }

    def hear(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """Functionals (D,) of a recording (N,).

        Raises:
            UserError: There is no speech in it.
        """
        return self.functionals(wav, sample_rate)

    def judge(self, heard: np.ndarray, recordings: Mapping[str, np.ndarray], goal: Goal) -> Verdict:
        """See :class:`~emovc.common.judging.Judge`; neutral has no strength."""
        try:
            found = self.ranker.score(heard, goal.speaker, goal.emotion)
        except UserError as error:
            return Verdict({}, gaps=(str(error),))
        labels = {"strength_ranker": "pooled over speakers" if found.pooled else "the speaker's"}
        wanted = goal.strength
        if wanted is None and "target" in recordings:
            target = recordings["target"]
            wanted = self.ranker.score(target, goal.speaker, goal.emotion).value
        metrics = {f"strength_{self.name}": found.value}
        if wanted is None:
            return Verdict(metrics, labels, ("the target recording has no strength",))
        return Verdict({**metrics, f"strength_rmse_{self.name}": found.value - wanted}, labels)


def rank_strength(
    manifest: Path,
    out: Path,
    functionals: str | None = None,
    held_out: str = "test",
    c: float = C,
    max_pairs: int = MAX_PAIRS,
    seed: int = 0,
    num_workers: int = 1,
) -> None:
    """Learn how strongly emotions are expressed from the training split of a corpus.

    Args:
        manifest: Manifest with neutral and emotional speech of the same speakers.
        out: File to write, .safetensors.
        functionals: opensmile-is09, opensmile-egemapsv02 or emovc-functionals-1; by default the
            first where openSMILE is installed, else the last.
        held_out: Split whose pairs tell how good the rankings are.
        c: Weight of the pairs against the size of the ranking's weights.
        max_pairs: Pairs of each kind to learn a ranking from.
        seed: Seed of the sample of pairs.
        num_workers: Processes.
    """
    described = load_functionals(functionals)
    used = ("train", held_out)
    utterances = [u for u in read_manifest(manifest) if u.emotion and u.split in used]
    if not any(u.split == "train" for u in utterances):
        raise UserError(f"{manifest}: split train has no emotions; strength is learned from it")
    features, silent = measure(described, utterances, num_workers)
    spoken = np.isfinite(features).all(1)
    parts = {}
    for split in used:
        rows = np.array([u.split == split for u in utterances]) & spoken
        parts[split] = [u for u, keep in zip(utterances, rows, strict=True) if keep], features[rows]
    ranker = StrengthRanker.fit(*parts["train"], described.name, c, max_pairs, seed)
    accuracy = ordering_accuracy(ranker, *parts[held_out])
    intensity = intensity_accuracy(ranker, *parts[held_out])
    report = {
        "ordering_accuracy": {e: round(found.share, 4) for e, found in accuracy.items()},
        "pairs": {e: found.pairs for e, found in accuracy.items()},
        "held_out": held_out,
    }
    replace(ranker, report=report).save(out)
    _print(accuracy, intensity, held_out, silent)
    sys.stdout.write(f"{out}\n")


def _print(
    accuracy: Mapping[str, Ordering], intensity: Ordering, split: str, silent: list[str]
) -> None:
    """Tell how good the rankings are, and what should be doubted."""
    lines = [f"pairs of split {split} whose emotional utterance ranks above the neutral:"]
    lines += [f"  {e:10} {100 * a.share:5.1f} % of {a.pairs}" for e, a in accuracy.items()]
    if intensity.pairs:
        share = f"{100 * intensity.share:.1f} % of {intensity.pairs}"
        lines.append(f"pairs whose strong utterance ranks above the normal: {share}")
    doubtful = [e for e, a in accuracy.items() if not a.share >= NEAR_CHANCE]
    if doubtful or not accuracy:
        lines.append(
            f"warning: near chance (50 %) or not tested for {', '.join(doubtful) or 'all emotions'}"
            "; don't judge strength there"
        )
    lines += [f"left out: {reason}" for reason in silent]
    sys.stdout.write("\n".join(lines) + "\n")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc rank``."""
    run_function(rank_strength, args, command, out=True)
