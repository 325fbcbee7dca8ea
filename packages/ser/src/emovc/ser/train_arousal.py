"""Make the regression of arousal that comes with the package."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.metrics import correlation
from emovc.common.parsing import run_function
from emovc.ser.arousal import ArousalRegressor, pseudo_arousal
from emovc.ser.functionals import load_functionals, measure
from emovc.ser.world_functionals import WorldFunctionals

RIDGE = 0.1


def train_arousal(
    manifests: list[Path],
    out: Path,
    functionals: str = WorldFunctionals.name,
    ridge: float = RIDGE,
    held_out: float = 0.2,
    seed: int = 0,
    num_workers: int = 1,
) -> None:
    """Learn arousal from the emotions of acted corpora, and test it on speakers left out.

    Args:
        manifests: Manifests of corpora with emotions; their splits aren't used.
        out: File to write, .safetensors.
        functionals: Functionals to measure.
        ridge: Penalty of the weights.
        held_out: Share of each corpus' speakers that it is tested on and not learned from.
        seed: Seed of the choice of speakers.
        num_workers: Processes.
    """
    described = load_functionals(functionals)
    utterances = [u for path in manifests for u in read_manifest(path) if u.emotion]
    features, silent = measure(described, utterances, num_workers)
    spoken = np.isfinite(features).all(1)
    utterances = [u for u, keep in zip(utterances, spoken, strict=True) if keep]
    features = features[spoken]
    speakers = draw_speakers(utterances, held_out, seed)
    tested = np.array([u.speaker in speakers for u in utterances])
    learned = [u for u, test in zip(utterances, tested, strict=True) if not test]
    regressor = ArousalRegressor.fit(learned, features[~tested], described.name, ridge)
    labels = np.array([pseudo_arousal(u.emotion, u.intensity) for u in utterances], dtype=float)
    found = regressor.predict(features)
    results = {}
    for corpus in regressor.corpora:
        own = np.array([u.corpus == corpus for u in utterances])
        rows = tested & own
        results[corpus] = {
            "correlation": round(correlation(found[rows], labels[rows]), 3),
            "rmse": round(float(np.sqrt(np.square(found - labels)[rows].mean())), 3),
            "utterances": int(rows.sum()),
        }
        if not own.all():  # how it does on a corpus it has never heard
            rest = [u for u, here in zip(utterances, own, strict=True) if not here]
            other = ArousalRegressor.fit(rest, features[~own], described.name, ridge)
            across = correlation(other.predict(features[own]), labels[own])
            results[corpus]["correlation_without_the_corpus"] = round(across, 3)
    report = {"held_out_speakers": speakers, "ridge": ridge, "held_out": results}
    replace(regressor, report=report).save(out)
    sys.stdout.write(_said(results, silent) + f"\n{out}\n")


def _said(results: Mapping[str, Mapping[str, float]], silent: Sequence[str]) -> str:
    """What is printed at the end."""
    lines = ["arousal of speakers left out against their pseudo-labels:"]
    for corpus, numbers in results.items():
        lines.append(f"  {corpus}: {', '.join(f'{k} {v}' for k, v in numbers.items())}")
    return "\n".join([*lines, *(f"left out: {reason}" for reason in silent)])


def draw_speakers(utterances: Sequence[Utterance], share: float, seed: int) -> list[str]:
    """Speakers to test on: a share of those of each corpus, at least one.

    Raises:
        UserError: A corpus has one speaker only.
    """
    rng = np.random.default_rng(seed)
    chosen: list[str] = []
    for corpus in sorted({u.corpus for u in utterances}):
        speakers = sorted({u.speaker for u in utterances if u.corpus == corpus})
        if len(speakers) < 2:
            raise UserError(f"{corpus}: has one speaker; two are needed to learn and to test")
        n = min(max(round(share * len(speakers)), 1), len(speakers) - 1)
        chosen += sorted(rng.choice(speakers, n, replace=False).tolist())
    return chosen


def main(command: str, args: list[str]) -> None:
    """Run it from the command line, ``MANIFEST... -o FILE``."""
    run_function(train_arousal, args, command, many="manifests", out=True)
