"""``emovc reproduce ainn``: conversion measures of the ablations, beside the paper's."""

from math import nan
from pathlib import Path
from typing import Any, TypedDict

from emovc.ainn.converter import AINN
from emovc.ainn.properties import look_at
from emovc.ainn.report import Row, write_report
from emovc.common.checked_values import read_checked
from emovc.common.errors import UserError
from emovc.common.evaluate import evaluate
from emovc.common.files import read_json, sha256_of, write_json
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.pair_conversion import Reference
from emovc.common.pretrained import find_model, load_converter, manifest_of


def ainn(
    runs: list[Path],
    judges: Path = Path("configs/judges/ainn.yaml"),
    names: list[str] | None = None,
    out: Path = Path("runs/ainn"),
    manifest: Path | None = None,
    split: str = "test",
    pairs: int = 100,
    vocoder: Path | None = None,
    reference: Reference = "same_speaker",
    accelerator: str = "auto",
    devices: int = 1,
) -> None:
    """MCD, accuracy and strength error of conversions from neutral, one row per run.

    Accuracy is that of judges which never saw the model, strength that of a ranker; neither is the
    model's own. Beside it: what the cue, the strengths and the codes of each model look like.

    Args:
        runs: Runs of AINN: baseline, Stage I without cue, Stage I, Stage I and II, or others.
        judges: YAML file of judges; one must be a strength ranker (``emovc rank`` makes one), as in
            configs/judges/ainn.yaml.
        names: Name of each row; by default the run's folder.
        out: Folder for the evaluations, table, figure and JSON.
        manifest: Manifest; by default that of the first run.
        split: Part of the manifest.
        pairs: Number of conversions.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        reference: Who speaks the references.
        accelerator: Lightning's accelerator.
        devices: Processes, each with a GPU of its own where there are GPUs.
    """
    titles = names or [run.name for run in runs]
    if len(titles) != len(runs) or len(set(titles)) != len(titles):
        raise UserError(f"--names: give {len(runs)} different names, one for each run")
    models = {title: _load(run) for title, run in zip(titles, runs, strict=True)}
    emotions = sorted({e for m in models.values() for e in m.encoders.emotions} - {"neutral"})
    corpus = manifest or manifest_of(runs[0])
    rows = [u for u in read_manifest(corpus) if u.split == split]
    results = []
    for (title, model), run in zip(models.items(), runs, strict=True):
        folder = out / title.replace(" ", "_").replace("/", "_")
        evaluate(
            run,
            corpus,
            folder,
            split=split,
            pairs=pairs,
            emotions=emotions,
            vocoder=vocoder,
            judges=judges,
            reference=reference,
            accelerator=accelerator,
            devices=devices,
        )
        own = [u for u in rows if u.emotion in model.encoders.emotions]
        found = _properties(model, run, own, folder / "properties.json")
        results.append(Row(title, str(run), read_json(folder / "summary.json"), found))
    _require_strength(results[0].summary, judges)
    write_report(out, results, corpus, split)


def _load(run: Path) -> AINN:
    """The AINN of a run or an exported folder.

    Raises:
        UserError: It holds another model.
    """
    model = load_converter(run)
    if not isinstance(model, AINN):
        raise UserError(f"{run}: holds a {type(model).__name__}; this experiment is AINN's")
    return model


class _Kept(TypedDict):
    of: dict[str, Any]
    found: dict[str, float | None]


def _properties(model: AINN, run: Path, rows: list[Utterance], path: Path) -> dict[str, float]:
    """Properties of a model, kept in a file with the weights' hash."""
    setting = {"weights": sha256_of(find_model(run)), "utterances": [u.sha256 for u in rows]}
    if path.exists():
        kept: _Kept = read_checked(path, _Kept, "remove it, and give the same command again")
        if kept["of"] == setting:
            return {name: nan if v is None else v for name, v in kept["found"].items()}
    found = look_at(model, rows)
    write_json(path, {"of": setting, "found": found})
    return found


def _require_strength(summary: dict[str, Any], judges: Path) -> None:
    """Refuse a panel without a ranker."""
    if not any(metric.startswith("strength_rmse") for metric in summary["rows"]["target"]):
        raise UserError(
            f"{judges}: lists no strength ranker; make one with emovc rank MANIFEST -o FILE and"
            " list it as configs/judges/ainn.yaml does"
        )
