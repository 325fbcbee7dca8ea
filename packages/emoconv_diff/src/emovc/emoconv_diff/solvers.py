"""``emovc reproduce emoconv-solvers``: samplers at equal numbers of evaluations."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor

from emovc.common.conversion import EmotionTarget
from emovc.common.convert import read_speech
from emovc.common.errors import UserError
from emovc.common.files import sha256_of, write_json, write_text
from emovc.common.manifest import read_manifest
from emovc.common.markdown import markdown_table
from emovc.common.pictures import save_figure
from emovc.common.pretrained import find_model, load_converter, manifest_of
from emovc.common.progress import progress
from emovc.emoconv_diff.converter import EmoConvDiff
from emovc.emoconv_diff.experiments import choose
from emovc.emoconv_diff.samplers import Conditions, Solver, sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOLVERS: tuple[Solver, ...] = get_args(Solver)
Rows = dict[str, dict[int, tuple[float, float]]]  # by solver and evaluations


def emoconv_solvers(
    run: Path,
    out: Path = Path("runs/emoconv_solvers"),
    manifest: Path | None = None,
    split: str = "test",
    utterances: int = 10,
    evaluations: list[int] | None = None,
    reference: int = 100,
    seed: int = 0,
) -> None:
    """Mel L1 of each sampler at few evaluations, to its own result at many and to the recording.

    Each utterance is rebuilt with its own emotion, by all samplers from the same noise.

    Args:
        run: Run, checkpoint or exported folder of EmoConv-Diff.
        out: Folder for table, figure and JSON.
        manifest: Manifest; by default that of the run.
        split: Part of the manifest.
        utterances: How many, speakers and emotions taking turns.
        evaluations: Evaluations of the score; by default 1, 2, 4, 6, 10 and 30.
        reference: Evaluations of the result that others are compared with.
        seed: Seed of the noise.
    """
    counts = sorted(evaluations or [1, 2, 4, 6, 10, 30])
    if counts[0] < 1 or reference <= counts[-1]:
        raise UserError(f"evaluations {counts}: give numbers from 1 to below reference {reference}")
    manifest = manifest or manifest_of(run)
    chosen = choose(read_manifest(manifest), manifest, split, utterances, seed)
    model = load_converter(run)
    if not isinstance(model, EmoConvDiff):
        raise UserError(f"{run}: holds a {type(model).__name__}; this experiment is EmoConv-Diff's")
    found: list[Rows] = []
    average: list[float] = []
    for u in progress(chosen, "sampling", len(chosen)):
        speech = read_speech(u.path, model.frontend.sample_rate)
        mel = model.frontend(speech.wav[None])
        with torch.no_grad():
            given = model.conditions([speech], [EmotionTarget([speech])])
            average.append(_l1(given.y, mel))
            found.append(compare(model, given, mel, counts, reference, seed))
    rows: Rows = {
        s: {n: _mean([one[s][n] for one in found]) for n in (*counts, reference)} for s in SOLVERS
    }
    settings = {
        "model": str(run),
        "weights": sha256_of(find_model(run)),
        "split": split,
        "utterances": len(chosen),
        "seed": seed,
        "average_voice_l1": float(np.mean(average)),
    }
    _write(out, rows, settings, reference)


def compare(
    model: EmoConvDiff,
    given: Conditions,
    mel: Tensor,
    counts: Sequence[int],
    reference: int,
    seed: int,
) -> Rows:
    """Mel L1 of one utterance, to the solver's result at ``reference`` and to the recording.

    Args:
        model: The converter.
        given: What the mel is drawn from.
        mel: Log-mel of the recording, (1, M, T).
        counts: Evaluations of the score.
        reference: Evaluations of the result compared with.
        seed: Seed of the noise.
    """
    score = model.score_function(given)

    def drawn(solver: Solver, steps: int) -> Tensor:
        """A mel, (1, M, T)."""
        noise = torch.Generator().manual_seed(seed)
        y, mask, schedule, bounds = given.y, given.mask, model.schedule, model.bounds
        return sample(score, y, mask, schedule, steps, solver, generator=noise, bounds=bounds)

    rows: Rows = {}
    for solver in SOLVERS:
        best = drawn(solver, reference)
        rows[solver] = {reference: (0.0, _l1(best, mel))}
        for n in counts:
            one = drawn(solver, n)
            rows[solver][n] = _l1(one, best), _l1(one, mel)
    return rows


def _l1(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference."""
    return float((one - other).abs().mean())


def _mean(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Means of both distances."""
    own, real = np.mean(values, axis=0)
    return float(own), float(real)


def _write(out: Path, rows: Rows, settings: dict[str, Any], reference: int) -> None:
    """Write ``emoconv_solvers.{md,json,png}`` and print the tables."""
    names = [str(n) for n in rows[SOLVERS[0]]]
    tables = []
    for i, title in enumerate((f"L1 to its own {reference} evaluations", "L1 to the recording")):
        lines = [[title, *names]]
        lines += [[s, *(f"{v[i]:.3f}" for v in own.values())] for s, own in rows.items()]
        tables.append(markdown_table(lines))
    said = (
        f"{settings['utterances']} utterances ({settings['split']}), seed {settings['seed']}; L1 of"
        f" the average voice to the recording {settings['average_voice_l1']:.3f}"
    )
    text = "\n\n".join([*tables, said])
    write_json(out / "emoconv_solvers.json", {"settings": settings, "rows": rows})
    write_text(out / "emoconv_solvers.md", text + "\n")
    save_figure(draw(rows, reference), out / "emoconv_solvers.png")
    sys.stdout.write(f"\n{text}\n\n{out}\n")


def draw(rows: Rows, reference: int) -> "Figure":
    """Both distances against the number of evaluations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    for solver, own in rows.items():
        counts = sorted(own)
        axes[0].plot(counts[:-1], [own[n][0] for n in counts[:-1]], "o-", label=solver)
        axes[1].plot(counts, [own[n][1] for n in counts], "o-", label=solver)
    titles = f"mel L1 to {reference} evaluations", "mel L1 to the recording"
    for axis, title in zip(axes, titles, strict=True):
        axis.set_xscale("log")
        axis.set_xlabel("evaluations of the score")
        axis.set_ylabel(title)
        axis.grid(color="#dddddd")
        axis.legend(fontsize="small")
    return figure
