"""``emovc average-mels``: what the average-voice encoder is trained to give, for a whole corpus."""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.features.extraction import extract
from emovc.common.features.store import FeatureStore, ShardWriter, open_store, store_folder
from emovc.common.files import short_hash
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.parsing import run_function
from emovc.common.phones import PhoneSource, find_phones, label_files
from emovc.common.splits import speaker_material
from emovc.emoconv_diff.average_mels import (
    Segment,
    Statistic,
    average_mel,
    average_sounds,
    occurrence_medians,
    phone_segments,
)
from emovc.emoconv_diff.pseudo_phones import PseudoPhones, cepstra, speaker_scale, with_context

Source = Literal["textgrid", "emodb", "toy", "pseudo"]
Segments = dict[str, list[Segment]]  # by the id of the utterance
NAME = "average_mel"
MANIFEST = "average_mels.jsonl"
NOT_SPEECH = "spn"  # the aligner's label of what is in no dictionary
SHARD = 500  # files


class MelFeature:
    """Log-mel per frame, as the average mels start from.

    Args:
        frontend: Waveform to log-mel.
    """

    name = "log_mel"

    def __init__(self, frontend: LogMel) -> None:
        self.frontend = frontend
        self.settings: dict[str, Any] = frontend.settings

    @torch.inference_mode()
    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """Log-mel (T, M) of (N,)."""
        return self.frontend(torch.from_numpy(wav)[None])[0].T.numpy()


def write_average_mels(
    manifest: Path,
    source: Source,
    folder: Path | None = None,
    statistic: Statistic = "mode",
    n_phones: int = 100,
    min_frames: int = 3,
    content: str | None = None,
    seed: int = 0,
    frontend: LogMel | None = None,
    num_workers: int = 0,
) -> None:
    """Write the feature ``average_mel`` beside a manifest, and a manifest of what has phones.

    Phones get their average sounds from the training part. Utterances without labels, or with
    speech the aligner doesn't know (``spn``), are ``unused`` in ``average_mels.jsonl``, on which
    the encoder is to be trained.

    Args:
        manifest: Manifest, as ``emovc prepare`` writes it.
        source: Where phones are from: TextGrids of a forced aligner, EMO-DB's hand labels, the
            toy corpus' own times, or ``pseudo``: clusters of alike frames, for any corpus.
        folder: Folder of TextGrids or labels; of ``pseudo`` the folder of the clusters, loaded if
            it is there, else written, by default ``pseudo_phones`` beside the manifest.
        statistic: Average sound of a phone, per band: ``mode`` as DiffVC's authors, or ``median``.
        n_phones: Clusters of ``pseudo``.
        min_frames: Shortest pseudo-phone, in frames.
        content: Stored feature per frame that is clustered, such as frames of HuBERT; by default
            cepstra of the mel.
        seed: Seed of the clusters.
        frontend: Waveform to log-mel; by default that of the official HiFi-GAN.
        num_workers: Processes that compute mels; 0 uses all cores.
    """
    frontend = frontend or LogMel()
    utterances = read_manifest(manifest)
    with tempfile.TemporaryDirectory(prefix=".mels-", dir=manifest.parent) as scratch:
        feature = MelFeature(frontend)
        workers = num_workers or os.cpu_count() or 1
        rate = frontend.sample_rate
        extract(utterances, Path(scratch), rate, [feature], (), workers, accelerator="cpu")
        mels = FeatureStore(store_folder(Path(scratch), feature.name, feature.settings))
        if source == "pseudo":
            clusters = folder or manifest.parent / "pseudo_phones"
            frames = content_frames(utterances, mels, manifest, content)
            segments = pseudo_segments(utterances, frames, clusters, n_phones, min_frames, seed)
        else:
            segments = labelled_segments(utterances, mels, source, folder, frontend)
        written = _write(utterances, mels, segments, manifest, statistic, frontend, source)
    kept = [u if u.id in segments else dataclasses.replace(u, split="unused") for u in utterances]
    write_manifest(manifest.parent / MANIFEST, kept)
    sys.stdout.write(
        f"{len(segments)} of {len(utterances)} utterances have phones\n{written}\n"
        f"{manifest.parent / MANIFEST}\n"
    )


def labelled_segments(
    utterances: Sequence[Utterance],
    mels: FeatureStore,
    source: PhoneSource,
    folder: Path | None,
    frontend: LogMel,
) -> Segments:
    """Frames of the labelled phones of each utterance that has usable ones.

    Raises:
        UserError: None has, or labels don't fit their audio.
    """
    found: Segments = {}
    for utterance in utterances:
        phones = find_phones(utterance, source, folder)
        if phones is not None and NOT_SPEECH not in {p.label for p in phones}:
            n_frames = len(mels.get(utterance.sha256))
            found[utterance.id] = phone_segments(
                phones, n_frames, frontend.sample_rate, frontend.hop_length
            )
    if not found:
        raise UserError(
            f"no utterance has usable phones; {label_files(utterances[0], source, folder)[0]} was"
            " looked for, set --folder"
        )
    return found


def content_frames(
    utterances: Sequence[Utterance], mels: FeatureStore, manifest: Path, content: str | None
) -> Callable[[Utterance], np.ndarray]:
    """What pseudo-phones are found in: frames (T, D), scaled by the speaker's statistics.

    Args:
        utterances: All utterances.
        mels: Their log-mels.
        manifest: Manifest with the stored features beside it.
        content: Feature in place of cepstra with context.
    """
    store = None if content is None else open_store(manifest.parent / "features", content)

    def raw(utterance: Utterance) -> np.ndarray:
        mel = mels.get(utterance.sha256)
        if store is None:
            return cepstra(mel)
        rows = store.get(utterance.sha256)
        return np.pad(rows, ((0, max(0, len(mel) - len(rows))), (0, 0)), "edge")[: len(mel)]

    scales = {k: speaker_scale(map(raw, v)) for k, v in speaker_material(utterances).items()}

    def frames(utterance: Utterance) -> np.ndarray:
        mean, sd = scales[utterance.speaker]
        scaled = (raw(utterance) - mean) / sd
        return with_context(scaled) if store is None else scaled

    return frames


def pseudo_segments(
    utterances: Sequence[Utterance],
    frames: Callable[[Utterance], np.ndarray],
    folder: Path,
    n_phones: int,
    min_frames: int,
    seed: int,
) -> Segments:
    """Pseudo-phones of all utterances; clusters not in ``folder`` yet are written there.

    Raises:
        UserError: The folder holds clusters of other numbers.
    """
    if (folder / "config.json").exists():
        phones = PseudoPhones.from_pretrained(folder)
        given = {"n_phones": n_phones, "min_frames": min_frames}
        wrong = [k for k, v in given.items() if phones.settings[k] != v]
        if wrong:
            raise UserError(
                f"{folder}: holds pseudo-phones with {wrong[0]} {phones.settings[wrong[0]]}, not"
                f" {given[wrong[0]]}; name another --folder"
            )
    else:
        train = [frames(u) for u in utterances if u.split in ("train", None)]
        phones = PseudoPhones.fit(train, n_phones, min_frames, seed)
        phones.save_pretrained(folder)
    return {u.id: phones(frames(u)) for u in utterances}


def _write(
    utterances: Sequence[Utterance],
    mels: FeatureStore,
    segments: Segments,
    manifest: Path,
    statistic: Statistic,
    frontend: LogMel,
    source: Source,
) -> Path:
    """Average the phones of the training part, and write what the store lacks; its folder."""
    labels: list[str] = []
    medians = [np.empty((0, frontend.n_mels), np.float32)]
    for utterance in utterances:
        if utterance.split in ("train", None) and utterance.id in segments:
            labels += [s.label for s in segments[utterance.id]]
            medians.append(occurrence_medians(mels.get(utterance.sha256), segments[utterance.id]))
    if not labels:
        raise UserError(f"{manifest}: no training utterance has phones; split it another way")
    sounds = average_sounds(labels, np.concatenate(medians), statistic)
    made = short_hash({label: row.tolist() for label, row in sounds.items()})
    settings = {**frontend.settings, "source": source, "statistic": statistic, "sounds": made}
    folder = store_folder(manifest.parent / "features", NAME, settings)
    writer = ShardWriter(folder, NAME, settings)
    there = FeatureStore(folder)
    todo = {u.sha256: u for u in utterances if u.id in segments and u.sha256 not in there}
    for i, (sha256, utterance) in enumerate(todo.items(), 1):
        writer.add(sha256, average_mel(mels.get(sha256), segments[utterance.id], sounds))
        if i % SHARD == 0:
            writer.flush()
    writer.flush()
    return folder


def main(command: str, args: list[str]) -> None:
    """Run ``emovc average-mels``."""
    run_function(write_average_mels, args, command)
