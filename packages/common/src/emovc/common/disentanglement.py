"""``emovc disentangle``: which of a model's codes holds what, and which code carries it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from emovc.common.code_measures import examine
from emovc.common.disentanglement_report import to_markdown, write_report
from emovc.common.disentanglement_tables import Report
from emovc.common.errors import UserError
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.page import Sample
from emovc.common.parsing import run_function
from emovc.common.pretrained import find_model, load_converter
from emovc.common.speakers_file import known_speakers
from emovc.common.swap_tests import OTHER, SAME, Swap, SwapPair, run_swaps, swap_pairs
from emovc.common.unchanged import require_unchanged
from emovc.common.wav import write_wav

HEARD = 4  # pairs with players on the page


def disentangle(
    run: Path,
    manifest: Path,
    out: Path,
    splits: list[str] | None = None,
    utterances: int = 600,
    pairs: int = 20,
    n_clusters: int = 10,
    seeds: int = 3,
    steps: int = 2000,
    seed: int = 0,
) -> None:
    """Report what each code of a model holds: mutual information, probes, swap tests.

    Every number stands beside what the spectrogram, an untrained network, shuffled values and
    chance give.

    Args:
        run: Run, checkpoint or exported folder of a model that shows its codes.
        manifest: Manifest.
        out: Folder to write the report to.
        splits: Parts of the manifest; by default val and test.
        utterances: Most utterances, drawn.
        pairs: Swap tests, half within speakers and half between them; 0 leaves them out.
        n_clusters: Clusters K of the mutual information.
        seeds: K-means seeds.
        steps: Most code steps that a probe reads, drawn.
        seed: Seed of all draws.
    """
    model = load_converter(run)
    if not hasattr(model, "encode") or not hasattr(model, "code_hop"):
        raise UserError(
            f"{run}: {type(model).__name__} shows no codes; give it encode and code_hop"
        )
    parts = splits or ["val", "test"]
    rows = _choose(manifest, parts, utterances, seed)
    speakers = known_speakers(manifest)
    found = examine(model, rows, speakers, n_clusters, seeds, steps, seed)
    swaps, samples, gaps = _swap_tests(model, rows, speakers, pairs, seed, out)
    settings = {
        "model": str(run),
        "weights": sha256_of(find_model(run)),
        "manifest": str(manifest),
        "splits": parts,
        **found.settings,
        "swap_pairs": len({s.pair for s in swaps}),
    }
    report = Report(settings, [*found.gaps, *gaps], found.information, found.probes, swaps)
    write_report(out, report, samples)
    sys.stdout.write(f"{to_markdown(report)}\n{out / 'index.html'}\n")


def _swap_tests(
    model: Any,
    rows: Sequence[Utterance],
    speakers: Mapping[str, Any],
    n_pairs: int,
    seed: int,
    out: Path,
) -> tuple[list[Swap], list[Sample], list[str]]:
    """Swaps, the first of them to listen to, and what could not be tested."""
    if not hasattr(model, "decode_codes"):
        return [], [], [f"no swap tests: {type(model).__name__} has no decode_codes"]
    if n_pairs < 1:
        return [], [], ["no swap tests: none were asked for (--pairs)"]
    drawn = swap_pairs(rows, n_pairs, seed)
    heard = _Recorder(out, model.frontend.sample_rate)
    swaps = run_swaps(model, drawn, speakers, heard.write)
    return swaps, heard.samples(), _missing_kinds({p.kind for p in drawn})


class _Recorder:
    """Writes the first pairs' waveforms, for the page.

    Args:
        out: Folder of the page.
        rate: Rate in Hz.
    """

    def __init__(self, out: Path, rate: int) -> None:
        self.out = out
        self.rate = rate
        self.files: dict[SwapPair, dict[str, str]] = {}

    def write(self, pair: SwapPair, what: str, wav: Tensor) -> None:
        """Write one waveform (N,) of a pair, unless there are enough pairs."""
        if pair not in self.files and len(self.files) == HEARD:
            return
        file = f"audio/{pair.id}/{what.replace(' ', '_')}.wav"
        write_wav(self.out / file, wav.cpu().numpy(), self.rate)
        self.files.setdefault(pair, {})[what] = file

    def samples(self) -> list[Sample]:
        """Sections of the page."""
        return [
            Sample(
                f"{pair.kind}: {pair.host.id} with codes of {pair.donor.id}",
                " / ".join(u.text or "" for u in (pair.host, pair.donor)),
                files,
                [],
            )
            for pair, files in self.files.items()
        ]


def _choose(manifest: Path, splits: list[str], limit: int, seed: int) -> list[Utterance]:
    """Utterances of the splits, or as many of them as asked for, drawn."""
    rows = [u for u in read_manifest(manifest) if u.split in splits]
    if not rows:
        raise UserError(f"{manifest}: no utterance in {', '.join(splits)}; give other --splits")
    rng = np.random.default_rng(seed)
    chosen = [rows[i] for i in sorted(rng.permutation(len(rows))[:limit])]
    require_unchanged(chosen, manifest)
    return chosen


def _missing_kinds(kinds: set[str]) -> list[str]:
    """What pairs there are none of."""
    return [
        f"no swap tests of {kind} pairs: there are none of different words"
        for kind in (SAME, OTHER)
        if kind not in kinds
    ]


def main(command: str, args: list[str]) -> None:
    """Run ``emovc disentangle``."""
    run_function(disentangle, args, command, out=True)
