"""``emovc train-voice``: train the voice encoder on the speakers of a manifest."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from emovc.common.errors import UserError
from emovc.common.files import write_text
from emovc.common.fit import code_version
from emovc.common.manifest import Split, Utterance, read_manifest
from emovc.common.parsing import run_function
from emovc.common.weights import save_weights
from emovc.ser.train_whisper_emotion import extract_moments
from emovc.ser.voice import VoiceEncoder
from emovc.ser.voice_choice import choose_settings
from emovc.ser.voice_training import Recordings, fit_voice, read_recordings

FEWEST = 4  # speakers: two to learn from and two to choose by
PARTS: list[Split] = ["train", "val"]


def train_voice(
    manifest: Path,
    out: Path,
    parts: list[Split] | None = None,
    corpora: list[str] | None = None,
    per_speaker: int = 0,
    whisper: str | None = None,
    num_workers: int = 0,
) -> None:
    """Train a voice encoder; layer and regularization are chosen by held-out speakers.

    Args:
        manifest: Manifest with splits, of one corpus or by emovc combine of several.
        out: Folder to write; VoiceEncoder.from_pretrained reads it.
        parts: Parts of the split to learn from; by default train and val.
        corpora: Corpora to learn from; by default all of the manifest.
        per_speaker: Recordings of each speaker, drawn by the hash of their files from all parts, of
            which those of ``parts`` are learned from; 0: all.
        whisper: Folder or name on Hugging Face of Whisper; EMOVC_WHISPER or openai/whisper-base
            where none is given.
        num_workers: Processes that read audio.
    """
    if (out / "model.safetensors").exists():
        raise UserError(f"{out}: holds a model; choose another folder")
    every, kept = read_manifest(manifest), parts or PARTS
    unknown = sorted(set(corpora or ()) - {u.corpus for u in every})
    if unknown:
        raise UserError(f"{manifest}: has no corpus {unknown[0]}; choose among those it has")
    rows = first_of_each(every, per_speaker)
    rows = [u for u in rows if u.split in kept and (not corpora or u.corpus in corpora)]
    speakers = {u.speaker for u in rows}
    if len(speakers) < FEWEST:
        raise UserError(
            f"{manifest}: {len(speakers)} speakers in {', '.join(kept)}, {FEWEST} are needed;"
            " combine it with other corpora"
        )
    recordings = stored_recordings(manifest.parent / "features", rows, whisper, num_workers)
    settings, compared = choose_settings(recordings, speakers)
    head = fit_voice(recordings, recordings.where(speakers), settings, 0)
    arguments: dict[str, Any] = {
        "layers": list(settings.layers),
        "dim": head.embed.out_features,
        "trained_on": sorted({u.corpus for u in rows}),
        "whisper_weights": recordings.whisper,
        "whisper_dim": head.mean.shape[-1],
    }
    kind = f"{VoiceEncoder.__module__}.{VoiceEncoder.__qualname__}"
    record: dict[str, Any] = {
        "model": {"class_path": kind, "init_args": arguments},
        "corpus": ",".join(arguments["trained_on"]),
        "split_id": rows[0].split_id,
        "parts": list(kept),
        "speakers": len(speakers),
        "utterances": len(rows),
        "training": {k: v for k, v in settings._asdict().items() if k not in arguments},
        "equal_error_rates": compared,
        "degraded": {k: recordings.kinds.count(k) for k in sorted(set(recordings.kinds)) if k},
        "commit": code_version(),
    }
    write_text(out / "config.yaml", yaml.safe_dump(record, sort_keys=False))
    save_weights(nn.ModuleDict({"head": head}), out / "model.safetensors")
    sys.stdout.write(f"{out}: trained on {len(speakers)} speakers of {record['corpus']}\n")


def stored_recordings(
    root: Path, rows: Sequence[Utterance], whisper: str | None, num_workers: int
) -> Recordings:
    """Recordings and their degraded copies, from the feature store; extracted if absent.

    Args:
        root: Root of the store.
        rows: Recordings.
        whisper: Folder or name of Whisper; ``None``: the default.
        num_workers: Processes that read audio.

    Raises:
        UserError: Whisper can't be loaded.
    """
    return read_recordings(extract_moments(rows, root, whisper, None, num_workers), rows)


def first_of_each(utterances: Sequence[Utterance], per_speaker: int) -> list[Utterance]:
    """At most so many recordings of each speaker, those with the least hashes; 0: all."""
    counts: Counter[str] = Counter()
    kept = set()
    for u in sorted(utterances, key=lambda u: u.sha256):
        counts[u.speaker] += 1
        if not per_speaker or counts[u.speaker] <= per_speaker:
            kept.add(u.id)
    return [u for u in utterances if u.id in kept]


def main(command: str, args: list[str]) -> None:
    """Run ``emovc train-voice``."""
    run_function(train_voice, args, command, out=True)
