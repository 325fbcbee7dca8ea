"""``emovc evaluate``: convert a fixed list of pairs and score the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emovc.common.convert import parse_settings
from emovc.common.converted import ConvertedFiles
from emovc.common.errors import UserError
from emovc.common.evaluating import Setup, evaluate_pairs
from emovc.common.evaluation_report import ON_PAGE, Record, write_results
from emovc.common.evaluator import PairEvaluator
from emovc.common.files import remove_leftovers, sha256_of, short_hash, write_json
from emovc.common.loggers import log_to_run
from emovc.common.manifest import read_manifest
from emovc.common.metrics import DIALECT
from emovc.common.pair_conversion import Reference
from emovc.common.pairs import Pair, conversion_pairs
from emovc.common.parsing import run_function
from emovc.common.pretrained import find_model
from emovc.common.score_files import read_run_settings
from emovc.common.unchanged import require_unchanged


def evaluate(
    run: Path,
    manifest: Path,
    out: Path,
    split: str = "test",
    pairs: int = 50,
    source_emotion: str = "neutral",
    emotions: list[str] | None = None,
    vocoder: Path | None = None,
    judges: Path | None = None,
    set: list[str] | None = None,
    reference: Reference = "same_speaker",
    seed: int = 0,
    accelerator: str = "auto",
    devices: int = 1,
) -> None:
    """Convert pairs of a split and score them beside source, target and copy-synthesis.

    Pairs that were scored before are kept, so an evaluation that was stopped goes on.

    Args:
        run: Run, checkpoint, exported folder, or folder of audio converted by other means.
        manifest: Manifest with parallel sentences.
        out: Folder to write scores, audio, pictures and a page to.
        split: Part of the manifest.
        pairs: Number of conversions.
        source_emotion: Emotion of the sources.
        emotions: Target emotions; by default all others.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        judges: YAML file that lists the judges; by default a panel that needs no download.
        set: Settings of the model to override, as NAME=VALUE.
        reference: Who speaks the reference, of models that don't need the same words.
        seed: Seed of the list of pairs and of the model.
        accelerator: Lightning's accelerator.
        devices: Processes, each with a GPU of its own where there are GPUs.
    """
    chosen = choose_pairs(manifest, split, pairs, source_emotion, emotions, seed)
    among, languages = _emotions_of(chosen), _languages_of(chosen)
    drawn = frozenset(pair.id for pair in chosen[:ON_PAGE])
    own = parse_settings(set or [])
    setup = Setup(
        run, own, vocoder, judges, manifest, among, languages, out, seed, drawn, reference
    )
    evaluator = setup.open()
    if isinstance(evaluator.converter.model, ConvertedFiles):
        evaluator.converter.model.require_any([pair.id for pair in chosen])
    corpora = sorted({p.target.corpus for p in chosen})
    panel = evaluator.panel.record(corpora, evaluator.converter.model)
    asked = {"split": split, "emotions": emotions or [], "source_emotion": source_emotion}
    settings = _settings(setup, evaluator, panel) | asked | {"set": set or []}
    require_same_settings(out, settings)
    remove_leftovers(out)
    evaluate_pairs(setup, chosen, evaluator, accelerator, devices)
    left_out = evaluator.panel.left_out
    record = Record(settings, panel, left_out, f"{'+'.join(corpora)}_{split}")
    keys = write_results(out, chosen, evaluator, record)
    if (run / "run.json").exists():
        log_to_run(run, keys)


def _emotions_of(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Emotions of sources and targets."""
    return tuple(sorted({str(u.emotion) for p in pairs for u in (p.source, p.target)}))


def _languages_of(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Languages of the targets, where they are known."""
    return tuple(sorted({p.target.language for p in pairs if p.target.language}))


def _settings(
    setup: Setup, evaluator: PairEvaluator, panel: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What the scores depend on, beside the list of pairs."""
    return {
        "model": str(setup.run),
        "weights": _weights(setup.run),
        "manifest": sha256_of(setup.manifest),
        "vocoder": evaluator.converter.vocoder.label,
        "seed": setup.seed,
        "dialect": DIALECT,
        "reference": evaluator.converter.reference_kind,
        "judges": {j["name"]: short_hash(j["about"]) for j in panel},
    }


def choose_pairs(
    manifest: Path,
    split: str,
    pairs: int,
    source_emotion: str,
    emotions: list[str] | None,
    seed: int,
) -> list[Pair]:
    """The fixed list of conversions of a split.

    Raises:
        UserError: No pair is asked for; the split is empty, holds no parallel sentences, or changed
            after the manifest was made.
    """
    if pairs < 1:
        raise UserError(f"--pairs {pairs}: give 1 or more")
    utterances = [u for u in read_manifest(manifest) if u.split == split]
    if not utterances:
        raise UserError(f"{manifest}: split {split} is empty; give --split train, val or test")
    chosen = conversion_pairs(utterances, pairs, source_emotion, emotions, seed)
    heard = [u for p in chosen for u in (p.source, p.target, p.other, p.stranger) if u]
    require_unchanged(list({u.id: u for u in heard}.values()), manifest)
    return chosen


def _weights(run: Path) -> str:
    """Hash of the model, or of the names and contents of converted files."""
    try:
        return sha256_of(find_model(run))
    except UserError:
        return short_hash({p.name: sha256_of(p) for p in sorted(run.iterdir()) if p.is_file()})


def require_same_settings(out: Path, settings: dict[str, Any]) -> None:
    """Refuse to mix the scores of two evaluations in one folder."""
    path = out / "settings.json"
    if path.exists():
        old = read_run_settings(path)
        changed = [k for k in settings if old.get(k) != settings[k]]
        if changed:
            raise UserError(
                f"{out}: holds an evaluation with another {changed[0]} ({old.get(changed[0])});"
                " give another OUT"
            )
    write_json(path, settings)


def main(command: str, args: list[str]) -> None:
    """Run ``emovc evaluate``."""
    run_function(evaluate, args, command, out=True)
