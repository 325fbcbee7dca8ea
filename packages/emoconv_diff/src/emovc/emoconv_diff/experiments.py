"""``emovc reproduce emoconv-arousal``: every utterance at every level of arousal, and measured."""

from collections.abc import Sequence
from pathlib import Path

from emovc.common.control import Ladder, settings_of
from emovc.common.convert import parse_settings
from emovc.common.errors import UserError
from emovc.common.evaluate import require_same_settings
from emovc.common.evaluating import Setup
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.pairs import Pair
from emovc.common.pretrained import manifest_of
from emovc.common.spread import choose_spread
from emovc.emoconv_diff.arousal_report import Sweep, judges_of, write_report
from emovc.emoconv_diff.bank import LEVELS
from emovc.emoconv_diff.converter import EmoConvDiff
from emovc.emoconv_diff.preparation import label_source


def emoconv_arousal(
    run: Path,
    judges: Path = Path("configs/judges/emoconv.yaml"),
    out: Path = Path("runs/emoconv_arousal"),
    manifest: Path | None = None,
    split: str = "test",
    utterances: int | None = None,
    levels: list[float] | None = None,
    vocoder: Path | None = None,
    set: list[str] | None = None,
    seed: int = 0,
) -> None:
    """Convert each utterance to the levels of arousal: L_mse and L_abs, per level and of all.

    Utterances that were done before are kept, so a run that was stopped goes on.

    Args:
        run: Run, checkpoint or exported folder of EmoConv-Diff.
        judges: YAML file of judges; one at least must measure arousal.
        out: Folder for audio, table, figure and JSON.
        manifest: Manifest; by default that of the run.
        split: Part of the manifest.
        utterances: How many, speakers and emotions taking turns; by default all of the part.
        levels: Levels to ask for; by default 1 to 7.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        set: Settings of the model to override, as NAME=VALUE.
        seed: Seed of the model's noise and of the choice of utterances.
    """
    manifest = manifest or manifest_of(run)
    chosen = choose(read_manifest(manifest), manifest, split, utterances, seed)
    among = tuple(sorted({str(u.emotion) for u in chosen}))
    languages = tuple(sorted({u.language for u in chosen if u.language}))
    own = parse_settings(set or [])
    nothing: frozenset[str] = frozenset()
    setup = Setup(run, own, vocoder, judges, manifest, among, languages, out, seed, nothing)
    evaluator = setup.open()
    model = evaluator.converter.model
    if not isinstance(model, EmoConvDiff):
        raise UserError(f"{run}: holds a {type(model).__name__}; this experiment is EmoConv-Diff's")
    if not judges_of(evaluator.panel.headings):
        raise UserError(f"{judges}: lists no judge of arousal, as configs/judges/emoconv.yaml does")
    asked = sorted(levels or [float(level) for level in LEVELS])
    settings = settings_of(setup, evaluator) | {"split": split, "levels": asked}
    settings |= {"solver": model.solver, "steps": model.steps, "guidance": model.guidance}
    require_same_settings(out, settings)
    # Its own recording stands for the target: speaker and words are to stay.
    pairs = [Pair(u.id.replace("/", "_"), u, u, None) for u in chosen]
    found, gaps = Ladder(evaluator, "arousal", asked).measure(pairs, out)
    scores = [score for score in found if score.row != "target"]
    corpora = sorted({u.corpus for u in chosen})
    write_report(
        out,
        Sweep(asked, {u.id.replace("/", "_"): u.arousal for u in chosen}, scores, gaps),
        evaluator.panel.headings,
        evaluator.panel.record(corpora, model),
        settings | {"utterances": len(chosen), "corpora": corpora},
        label_source(manifest),
    )


def choose(
    rows: Sequence[Utterance], manifest: Path, split: str, count: int | None, seed: int
) -> list[Utterance]:
    """Utterances of a part: all, or so many that speakers and emotions take turns.

    Raises:
        UserError: The part is empty, or the number below 1.
    """
    own = [u for u in rows if u.split == split]
    if not own:
        raise UserError(f"{manifest}: split {split} is empty; give --split train, val or test")
    if count is None:
        return own
    if count < 1:
        raise UserError(f"utterances {count}: give 1 or more")
    return choose_spread(own, count, seed)
