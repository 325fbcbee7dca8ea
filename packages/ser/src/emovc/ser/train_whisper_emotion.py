"""Training of the emotion encoder on Whisper by command: moments to the store, a head, weights."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import nn

from emovc.common.audio import LogMel
from emovc.common.combine import by_fold
from emovc.common.features.extraction import extract
from emovc.common.features.extractors import NetworkFeature
from emovc.common.features.store import FeatureStore, store_folder
from emovc.common.files import write_text
from emovc.common.fit import code_version
from emovc.common.griffin_lim import GriffinLim
from emovc.common.manifest import Utterance
from emovc.common.vocoder import HiFiGAN
from emovc.common.weights import save_weights
from emovc.ser.degraded import CopySynthesis, Degradation, DegradedFeature, Noise
from emovc.ser.whisper_emotion import WhisperEmotion, whisper_source
from emovc.ser.whisper_folds import fit_temperatures, places
from emovc.ser.whisper_moments import WhisperMoments
from emovc.ser.whisper_training import HeadSettings, fit_embedding, fit_head, read_examples

Purpose = Literal["judge", "condition"]
# Chosen on validation speakers inside the training folds; see the card of the weights.
SETTINGS: dict[Purpose, HeadSettings] = {
    "judge": HeadSettings(layers=(1, 2)),
    "condition": HeadSettings(layers=(0, 3)),
}
RATE = 22_050
DEGRADED_SHARE = 10  # every tenth recording has degraded copies
HELD_FOLDS = 5  # a fifth of the speakers sets the temperatures


def degradations(vocoder: Path | None) -> list[Degradation]:
    """Noise, Griffin-Lim, and HiFi-GAN where its folder is given.

    Raises:
        UserError: The folder holds no generator.
    """
    frontend = LogMel()
    found: list[Degradation] = [
        Noise(),
        CopySynthesis(GriffinLim(frontend), frontend, "griffin_lim"),
    ]
    if vocoder is not None:
        network = HiFiGAN.from_pretrained(vocoder)
        found.append(CopySynthesis(network, network.frontend, "hifigan"))
    return found


def is_degraded(utterance: Utterance) -> bool:
    """Whether a recording is among those that have degraded copies."""
    return int(utterance.sha256[:8], 16) % DEGRADED_SHARE == 0


def extract_moments(
    utterances: Sequence[Utterance],
    root: Path,
    whisper: str | None,
    vocoder: Path | None,
    num_workers: int,
) -> dict[str, FeatureStore]:
    """Stored moments of recordings and of their degraded copies; extracted where absent.

    Args:
        utterances: Recordings.
        root: Root of the store.
        whisper: Folder or name of Whisper; ``None``: the default.
        vocoder: Folder of a HiFi-GAN, or none.
        num_workers: Processes that read audio.

    Returns:
        Stores by degradation; the empty name is the recordings'.

    Raises:
        UserError: Whisper or the vocoder can't be loaded.
    """
    feature = WhisperMoments.from_pretrained(whisper_source(whisper), RATE)
    worse = [DegradedFeature(feature, how) for how in degradations(vocoder)]
    copied = [u for u in utterances if is_degraded(u)]
    every: list[NetworkFeature] = [feature, *worse]
    for rows, features in ((utterances, every[:1]), (copied, every[1:])):
        extract(rows, root, RATE, (), features, num_workers, accelerator="cpu")
    names = ["", *(one.degradation.name for one in worse)]
    return {
        name: FeatureStore(store_folder(root, one.name, one.settings))
        for name, one in zip(names, every, strict=True)
    }


def held_speakers(utterances: Sequence[Utterance]) -> set[str]:
    """A fifth of the speakers of each corpus, one at least; none of a corpus with one speaker."""
    held: set[str] = set()
    for corpus in {u.corpus for u in utterances}:
        own = [u for u in utterances if u.corpus == corpus]
        folds = min(HELD_FOLDS, len({u.speaker for u in own}))
        if folds > 1:
            held |= {u.speaker for u in by_fold(own, folds, 0) if u.split == "test"}
    return held


def train_whisper_emotion(
    rows: Sequence[Utterance],
    root: Path,
    out: Path,
    purpose: Purpose,
    seed: int,
    whisper: str | None,
    vocoder: Path | None,
    num_workers: int,
) -> None:
    """Train a head on recordings and write its weights.

    Args:
        rows: Labelled recordings to learn from.
        root: Root of the feature store.
        out: Folder to write.
        purpose: Which of the two settings.
        seed: Seed of the embedding's training.
        whisper: Folder or name of Whisper; ``None``: the default.
        vocoder: Folder of a HiFi-GAN for copy-synthesis, or none.
        num_workers: Processes that read audio.

    Raises:
        UserError: Whisper or the vocoder can't be loaded.
    """
    settings = SETTINGS[purpose]
    stores = extract_moments(rows, root, whisper, vocoder, num_workers)
    examples = read_examples(stores, rows, settings.layers)
    every = torch.arange(len(examples.kinds))
    head = fit_head(examples, every, settings)
    fit_embedding(head, examples, every, settings, seed)
    held = held_speakers(rows)
    if held and len({u.speaker for u in rows}) > len(held):
        learn, test = places(examples, held, False), places(examples, held, True)
        head.temperature.copy_(fit_temperatures(examples, learn, test, settings))
    arguments: dict[str, Any] = {
        "layers": list(settings.layers),
        "trained_on": sorted({u.corpus for u in rows}),
        "whisper_weights": stores[""].settings["weights"],
        "whisper_dim": head.mean.shape[-1],
    }
    kind = f"{WhisperEmotion.__module__}.{WhisperEmotion.__qualname__}"
    record: dict[str, Any] = {
        "model": {"class_path": kind, "init_args": arguments},
        "purpose": purpose,
        "corpus": ",".join(arguments["trained_on"]),
        "split_id": rows[0].split_id,
        "utterances": len(rows),
        "degraded": {name: examples.kinds.count(name) for name in stores if name},
        "training": {k: v for k, v in settings._asdict().items() if k not in arguments},
        "temperatures": [round(t, 3) for t in head.temperature.tolist()],
        "seed": seed,
        "commit": code_version(),
    }
    head.embed.half()  # most of the weights, and the precision of an embedding doesn't matter
    network = nn.ModuleDict({"head": head})
    write_text(out / "config.yaml", yaml.safe_dump(record, sort_keys=False))
    save_weights(network, out / "model.safetensors")
    sys.stdout.write(f"{out}: trained on {len(rows)} utterances of {record['corpus']}\n")
