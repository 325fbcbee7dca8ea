"""``emovc reproduce speechflow-mi``: mutual information between the factors."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.codes import untrained
from emovc.common.data import SpeechDataModule
from emovc.common.errors import UserError
from emovc.common.files import write_json, write_text
from emovc.common.mutual_information import (
    cluster,
    compare_labels,
    entropy,
    mean_and_deviation,
)
from emovc.common.pictures import save_figure
from emovc.common.pretrained import load_converter, manifest_of
from emovc.common.probes import probe_r2, probe_recall
from emovc.speechflow.code_table import CodeTable, collect_codes
from emovc.speechflow.converter import SpeechFlow
from emovc.speechflow.mi_report import KINDS, PAIRS, draw, to_csv, to_markdown


def speechflow_mi(
    runs: list[Path],
    out: Path = Path("runs/speechflow-mi"),
    manifest: Path | None = None,
    splits: list[str] | None = None,
    n_clusters: int = 10,
    seeds: int = 5,
) -> None:
    """Mutual information of clustered codes, beside the numbers it was designed to lower.

    Codes of whole held-out utterances are clustered by k-means, each factor alone, one label per
    code step. Controls: an untrained network, shuffled labels, reconstruction error, deviation of
    the codes, linear probes.

    Args:
        runs: Runs or exported folders of SpeechFlow: for instance baseline, cycle loss, your own.
        out: Folder for table, figure and JSON.
        manifest: Manifest; by default that of the first run.
        splits: Parts of the manifest; by default val and test.
        n_clusters: Clusters K.
        seeds: K-means seeds.
    """
    models = {str(run): load_speechflow(run) for run in runs}
    first = next(iter(models.values()))
    data = _data(first, manifest or manifest_of(runs[0]))
    parts = splits or ["val", "test"]
    torch.manual_seed(0)
    tables = {name: collect_codes(model, data, parts) for name, model in models.items()}
    tables["untrained network"] = collect_codes(untrained(first), data, parts)
    results = {name: measure(table, n_clusters, seeds) for name, table in tables.items()}
    settings = {
        "manifest": str(data.manifest),
        "split_id": data.split_id,
        "splits": parts,
        "clusters": n_clusters,
        "seeds": seeds,
        "code_steps": len(next(iter(tables.values())).utterance),
        "unit": "nats",
    }
    write_json(out / "speechflow-mi.json", {"settings": settings, "results": results})
    write_text(out / "speechflow-mi.csv", to_csv(results))
    save_figure(draw(results), out / "speechflow-mi.png")
    sys.stdout.write(to_markdown(results) + "\n")
    sys.stdout.write("; ".join(f"{k} {v}" for k, v in settings.items()) + f"\n{out}\n")


def measure(table: CodeTable, n_clusters: int, seeds: int) -> dict[str, Any]:
    """All numbers of one model: pairs over seeds, entropies, controls, probes."""
    labels = [
        {kind: cluster(table.values[kind], n_clusters, seed) for kind in KINDS}
        for seed in range(seeds)
    ]
    rng = np.random.default_rng(0)
    pairs = {
        f"{a}-{b}": compare_labels(
            [of[a] for of in labels], [of[b] for of in labels], rng.permutation
        )
        for a, b in PAIRS
    }
    return {
        "pairs": pairs,
        "entropy": {k: mean_and_deviation([entropy(of[k]) for of in labels]) for k in KINDS},
        "mel_mse": table.mel_mse,
        "code_sd": {k: float(table.values[k].std(0).mean()) for k in KINDS[1:]},
        "probes": {kind: probes(table, kind) for kind in KINDS},
    }


def probes(table: CodeTable, kind: str) -> dict[str, float]:
    """What a linear reader finds in one factor: per step and, of their means, per utterance."""
    codes, voiced = table.values[kind], table.voiced
    numbers = np.arange(len(table.emotion))
    means = np.stack([codes[table.utterance == i].mean(0) for i in numbers])
    return {
        "energy_r2": probe_r2(codes, table.energy_db, table.utterance),
        "log_f0_r2": probe_r2(codes[voiced], table.log_f0[voiced], table.utterance[voiced]),
        "voicing_recall": probe_recall(codes, voiced, table.utterance),
        "emotion_recall": probe_recall(means, table.emotion, numbers),
        "speaker_recall": probe_recall(means, table.speaker, numbers),
    }


def load_speechflow(run: Path) -> SpeechFlow:
    """The SpeechFlow of a run or an exported folder.

    Raises:
        UserError: It holds another model.
    """
    model = load_converter(run)
    if not isinstance(model, SpeechFlow):
        raise UserError(f"{run}: holds a {type(model).__name__}; this experiment is SpeechFlow's")
    return model


def _data(model: SpeechFlow, manifest: Path) -> SpeechDataModule:
    data = SpeechDataModule(
        manifest,
        model.frontend.sample_rate,
        model.frontend.hop_length,
        features=["f0", "energy", "dvector"],
        speaker_means=["dvector"],
    )
    data.setup("test")
    return data
