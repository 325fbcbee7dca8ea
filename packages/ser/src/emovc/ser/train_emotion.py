"""``emovc train-emotion``: train an emotion encoder on the corpora of a manifest, in seconds."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.features.extraction import extract
from emovc.common.files import write_text
from emovc.common.fit import code_version
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.parsing import run_function
from emovc.common.splits import require_no_leaks
from emovc.common.weights import save_weights
from emovc.ser.emotion_encoder import EmotionEncoder
from emovc.ser.emotion_network import EmotionNetwork
from emovc.ser.emotion_statistics import EmotionStatistics
from emovc.ser.stored_vectors import read_vectors
from emovc.ser.train_whisper_emotion import Purpose, train_whisper_emotion

BATCH, LR, WEIGHT_DECAY, SMOOTHING, MIXUP = 64, 1e-3, 0.05, 0.1, 0.4
FEWEST_STEPS = 300  # which small corpora need, whatever their epochs come to
MEL_INIT = {"class_path": "emovc.common.audio.LogMel", "init_args": {}}


def train_emotion(
    manifest: Path,
    out: Path,
    kind: Literal["images", "whisper"] = "images",
    purpose: Purpose = "judge",
    epochs: int = 80,
    seed: int = 0,
    whisper: str | None = None,
    vocoder: Path | None = None,
    num_workers: int = 0,
) -> None:
    """Train an emotion encoder on the training part of a manifest.

    Args:
        manifest: Manifest with emotions and splits, of one corpus or by emovc combine of several.
        out: Folder to write; from_pretrained of the encoder reads it.
        kind: The encoder on the log-mel and the pitch, or the one on Whisper.
        purpose: Which of the two on Whisper; they share no trained part.
        epochs: Passes over the training part of the one on the log-mel.
        seed: Seed of weights and order.
        whisper: Folder or name on Hugging Face of Whisper; EMOVC_WHISPER or openai/whisper-base
            where none is given.
        vocoder: Folder of a HiFi-GAN, whose copy-synthesis the one on Whisper learns from too.
        num_workers: Processes that read audio.
    """
    if (out / "model.safetensors").exists():
        raise UserError(f"{out}: holds a model; choose another folder")
    utterances = read_manifest(manifest)
    require_no_leaks(utterances)
    rows = training_rows(utterances, manifest)
    if kind == "whisper":
        root = manifest.parent / "features"
        train_whisper_emotion(rows, root, out, purpose, seed, whisper, vocoder, num_workers)
        return
    values = stored_statistics(manifest, rows, num_workers)
    encoder = EmotionEncoder(trained_on=tuple(sorted({u.corpus for u in rows})))
    encoder.network = fit_network(encoder, values, rows, epochs, seed)
    arguments = {"frontend": MEL_INIT, "trained_on": encoder.trained_on}
    path = f"{EmotionEncoder.__module__}.{EmotionEncoder.__qualname__}"
    record: dict[str, Any] = {
        "model": {"class_path": path, "init_args": arguments},
        "corpus": ",".join(encoder.trained_on),
        "split_id": rows[0].split_id,
        "utterances": len(rows),
        "epochs": epochs,
        "seed": seed,
        "mel_id": encoder.frontend.mel_id,
        "commit": code_version(),
    }
    write_text(out / "config.yaml", yaml.safe_dump(record, sort_keys=False))
    save_weights(encoder, out / "model.safetensors")
    sys.stdout.write(f"{out}: trained on {len(rows)} utterances of {record['corpus']}\n")


def training_rows(utterances: Sequence[Utterance], manifest: Path) -> list[Utterance]:
    """Labelled utterances of the training part.

    Raises:
        UserError: There are none, or of one emotion only.
    """
    rows = [u for u in utterances if u.split == "train" and u.emotion is not None]
    if len({u.emotion for u in rows}) < 2:
        raise UserError(
            f"{manifest}: the training part has {len(rows)} labelled utterances of fewer than two"
            " emotions; prepare it with another split"
        )
    return rows


def stored_statistics(manifest: Path, rows: Sequence[Utterance], num_workers: int) -> Tensor:
    """Statistics of utterances (N, 480), from the store beside the manifest; extracted if absent.

    Raises:
        UserError: The statistics of an utterance are not finite.
    """
    feature = EmotionStatistics()
    root = manifest.parent / "features"
    rate = feature.settings["sample_rate"]
    extract(rows, root, rate, networks=[feature], num_workers=num_workers, accelerator="cpu")
    found = read_vectors(manifest, feature.name, rows)
    if not found.finite.all():
        bad = rows[int(np.flatnonzero(~found.finite)[0])]
        raise UserError(f"{bad.path}: its statistics are not finite; remove the file")
    return torch.from_numpy(found.values)


def fit_network(
    encoder: EmotionEncoder, values: Tensor, rows: Sequence[Utterance], epochs: int, seed: int
) -> EmotionNetwork:
    """Train the network of an encoder: cross-entropy, mixup, label smoothing, AdamW, one cycle.

    A corpus weighs as the square root of its size, so that small ones count.

    Args:
        encoder: Untrained encoder.
        values: Statistics of the utterances, (N, S).
        rows: The utterances, N.
        epochs: Passes over them.
        seed: Seed of weights and order.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EmotionEncoder(emotions=encoder.emotions, dim=encoder.dim).network
        network.fit_scale(values)
        classes = torch.tensor([encoder.emotions.index(str(u.emotion)) for u in rows])
        targets = F.one_hot(classes, len(encoder.emotions)).float()
        corpora = [u.corpus for u in rows]
        weights = torch.tensor([corpora.count(corpus) ** -0.5 for corpus in corpora])
        steps = max(FEWEST_STEPS, epochs * len(rows) // BATCH)
        optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps, pct_start=0.1)
        mixture = torch.distributions.Beta(MIXUP, MIXUP)
        for _ in range(steps):
            chosen = torch.multinomial(weights, BATCH, replacement=True)
            partner, share = chosen[torch.randperm(BATCH)], mixture.sample()
            mixed = torch.lerp(values[partner], values[chosen], share)
            wanted = torch.lerp(targets[partner], targets[chosen], share)
            loss = F.cross_entropy(network(mixed)[1], wanted, label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def main(command: str, args: list[str]) -> None:
    """Run ``emovc train-emotion``."""
    run_function(train_emotion, args, command, out=True)
