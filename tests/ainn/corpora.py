"""A small corpus of parallel sounds, and what trains on it."""

from pathlib import Path
from typing import Any

import lightning as L
from tests.ainn.networks import RATE, sound

from emovc.common.data import SpeechDataModule
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.sampling import Crop
from emovc.common.wav import write_wav

PITCHES = {"neutral": 150.0, "happy": 220.0, "angry": 190.0}


def make_corpus(folder: Path) -> Path:
    """Two speakers say five sentences in three emotions; the last two are for validation."""
    rows = []
    for speaker in range(2):
        for emotion, pitch in PITCHES.items():
            for sentence in range(5):
                name = f"{speaker}_{emotion}_{sentence}"
                wav = sound(0.3 + 0.03 * sentence, pitch * (1 + 0.5 * speaker) + 5 * sentence)
                write_wav(folder / f"{name}.wav", wav.numpy(), RATE)
                labels: Any = dict(emotion=emotion, sentence=str(sentence), speaker=f"s{speaker}")
                split: Any = "val" if sentence >= 3 else "train"
                where: Any = dict(path=folder / f"{name}.wav", sha256=name, corpus="tones")
                size: Any = dict(sample_rate=RATE, num_samples=len(wav), split_id="test")
                rows.append(Utterance(id=f"tones/{name}", split=split, **labels, **where, **size))
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


def data(manifest: Path, **changes: Any) -> SpeechDataModule:
    """Crops of 24 frames, six to a batch."""
    settings: dict[str, Any] = dict(sample_rate=RATE, batch_size=6, crop=Crop(24, 24))
    return SpeechDataModule(manifest, **{**settings, **changes})


def trainer(folder: Path, **changes: Any) -> L.Trainer:
    """A trainer that writes nothing but what it is told to."""
    settings: dict[str, Any] = dict(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, max_epochs=1,
    )  # fmt: skip
    return L.Trainer(default_root_dir=folder, **{**settings, **changes})
