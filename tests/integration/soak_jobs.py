"""What the kill loop interrupts: prepare, fit, evaluate and quantize, small, on the toy corpus."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from tests.genner_tts.quantizers import embeddings, fitted
from tests.integration.commands import Commands
from tests.integration.runs import fit_words
from tests.integration.soak import Job

from emovc.common.corpora.toy import make_toy
from emovc.common.features.store import FeatureStore, ShardWriter, store_folder
from emovc.common.files import sha256_of
from emovc.common.manifest import read_manifest
from emovc.common.pretrained import read_checkpoint

STEPS, EVERY = 16, 4  # of a training, and between its checkpoints
CLOCKS = ("progress/hours", "sys/")  # columns of curves that tell of the machine


def hashes(out: Path, *patterns: str) -> dict[str, Any]:
    """Hashes of the files of a folder, hidden ones left out."""
    return {
        str(path.relative_to(out)): sha256_of(path)
        for pattern in patterns
        for path in out.glob(pattern)
        if path.is_file() and not path.name.startswith(".")
    }


def features(out: Path) -> dict[str, Any]:
    """Values of a feature store by feature and file."""
    stores = [FeatureStore(path.parent) for path in out.glob("features/*/meta.json")]
    return {
        f"{s.name} {sha256}": np.array(s.get(sha256)) for s in stores for sha256 in sorted(s._index)
    }


def prepared(out: Path) -> dict[str, Any]:
    """What prepare made; the manifest as bytes, with its own folder left out."""
    text = (out / "manifest.jsonl").read_text().replace(str(out), "OUT")
    return hashes(out, "speakers.json", "audio/**/*.flac") | features(out) | {"manifest": text}


def curves(run: Path) -> dict[str, Any]:
    """Curves of a run, those of the machine left out."""
    if not (run / "metrics.csv").exists():
        return {}
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        f"{row['step']} {key}": value
        for row in rows
        for key, value in row.items()
        if value and not key.startswith(CLOCKS)
    }


def trained(run: Path) -> dict[str, Any]:
    """Weights, optimisers' states and curves of a run."""
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")
    parts = ("state_dict", "optimizer_states", "random_states", "global_step")
    listed = json.loads(json.dumps(curves(run)))
    return {"curves": listed} | {part: flat(state[part]) for part in parts}


def flat(value: Any) -> Any:
    """Lists as dictionaries, so that tensors at any depth are compared."""
    if isinstance(value, list | tuple):
        return {str(i): flat(v) for i, v in enumerate(value)}
    if isinstance(value, dict):
        return {str(k): flat(v) for k, v in value.items()}
    return value


def step_of(run: Path) -> dict[str, Any]:
    """Step of the last checkpoint: it never falls."""
    last = run / "checkpoints" / "last.ckpt"
    return {"last.ckpt": int(read_checkpoint(last)["global_step"])} if last.exists() else {}


def scored(out: Path) -> dict[str, Any]:
    """Scores, audio and pictures of an evaluation, without its costs."""
    summary = json.loads((out / "summary.json").read_text())
    kept = {k: v for k, v in summary.items() if k not in ("cost", "keys")}
    files = hashes(out, "scores.csv", "scores.jsonl", "audio/*/*.wav", "pictures/*.png")
    return files | {"summary": json.dumps(kept)}


def jobs(corpus: Path, manifest: Path, work: Path) -> list[Job]:
    """The four commands on a toy corpus, small enough to be interrupted often.

    Args:
        corpus: Folder of the toy corpus.
        manifest: Its manifest, with features.
        work: Folder for what else they start from; evaluate takes the run in it.
    """
    run, quantizer = work / "run", work / "quantizer"
    _make_quantizer(manifest, quantizer)
    judges = work / "judges.yaml"
    similarity = "emovc.common.judges.speaker_similarity.DvectorSimilarity"
    judges.write_text(f"[{{class_path: {similarity}}}]")
    stream = work / "stream.evcq"
    last = "{class_path: emovc.common.checkpoints.LastCheckpoint, init_args: {every_n_steps: %d}}"
    quick = [f"--trainer.callbacks=[{last % EVERY}]", "--resume=auto"]
    quick += ["--trainer.limit_val_batches=2", "--trainer.num_sanity_val_steps=0"]
    quick += ["--trainer.logger=[{class_path: emovc.common.loggers.CsvCurves}]"]
    score = ["--vocoder", "griffin-lim", "--split", "train", "--pairs", "4"]
    score += ["--judges", str(judges), "--accelerator", "cpu"]
    copies = ["--copies.sample_rate=16000", "--f0=Dio", "--dvector=false", "--num_workers=2"]
    codes = ["encode", str(quantizer), str(manifest), "--feature", "soak"]
    return [
        Job(
            "prepare",
            lambda out: ["prepare", "toy", str(corpus), str(out), *copies],
            prepared,
            lambda out: hashes(out, "audio/**/*.flac") | features(out),
        ),
        Job("fit", lambda out: fit_words(manifest, out, STEPS, quick), trained, step_of),
        Job(
            "evaluate",
            lambda out: ["evaluate", str(run), str(manifest), "-o", str(out), *score],
            scored,
            lambda out: hashes(out, "parts/*.json"),
        ),
        Job(
            "quantize encode",
            lambda out: ["quantize", *codes, "-o", str(out / stream.name)],
            lambda out: hashes(out, "*"),
            lambda out: hashes(out, "*"),
        ),
    ]


def make_ready(commands: Commands, folder: Path, sentences: int) -> list[Job]:
    """Make a toy corpus, its features and a run below a folder, and give the commands on them."""
    corpus, ready = folder / "corpus", folder / "ready"
    make_toy(corpus, sentences)
    manifest = ready / "manifest.jsonl"
    for words in (
        ["prepare", "toy", str(corpus), str(ready), "--f0=Dio", "--num_workers=1"],
        fit_words(manifest, folder / "run", 2, ["--trainer.callbacks=[]"]),
    ):
        done = commands.run(words)
        assert done.returncode == 0, done.output
    return jobs(corpus, manifest, folder)


def _make_quantizer(manifest: Path, folder: Path) -> None:
    """Export a quantiser, and store an embedding for each row of a manifest as ``soak``."""
    quantizer = fitted()
    quantizer.pretrained = True
    quantizer.save_pretrained(folder)
    rows = read_manifest(manifest)
    writer = ShardWriter(store_folder(manifest.parent / "features", "soak", {}), "soak", {})
    for row, vector in zip(rows, embeddings(len(rows)), strict=False):
        writer.add(row.sha256, vector[None].numpy())
    writer.flush()
