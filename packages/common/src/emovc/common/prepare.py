"""``emovc prepare``: from a corpus folder to a manifest with splits, checks and features."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from emovc.common.audio_copies import Copies, copy_audio
from emovc.common.check import find_problems, summary
from emovc.common.corpora import Listing, read_corpus
from emovc.common.errors import UserError
from emovc.common.f0 import Dio, F0Tracker, log_f0_statistics
from emovc.common.features.extractors import (
    EnergyFeature,
    F0Feature,
    NetworkFeature,
    SignalFeature,
)
from emovc.common.features.store import FeatureStore, store_folder
from emovc.common.files import write_json
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.splits import assign_split, require_no_leaks

Scheme = Literal["auto", "official", "text", "speaker", "random"]


def prepare(
    corpus: str,
    root: Path,
    out: Path,
    split: Scheme = "auto",
    val: float = 0.13,
    test: float = 0.13,
    test_speakers: list[str] | None = None,
    seed: int = 0,
    copies: Copies | None = None,
    f0: F0Tracker | None = None,
    energy: bool = True,
    dvector: bool = True,
    emotion2vec: str | None = None,
    num_workers: int = 0,
    accelerator: str = "auto",
) -> None:
    """Make ``OUT/manifest.jsonl``, check it, and extract features to ``OUT/features``.

    A second call completes what the first left unfinished.

    Args:
        corpus: Name of a corpus (``emovc prepare list . .`` shows them) or module of a reader.
        root: Folder of the corpus as its authors distribute it.
        out: Folder to write to.
        split: ``text``: no sentence in two parts; ``speaker``: no speaker in two parts;
            ``official``: the corpus' own; ``random``; ``auto``: official where there is one, else
            by text where sentences recur, else by speaker.
        val: Share of the validation part.
        test: Share of the test part.
        test_speakers: Speakers that training never hears.
        seed: Seed of the split.
        copies: Copy the audio at one rate (and trim and level it); by default it stays where it is.
        f0: F0 tracker; by default DIO with StoneMask at 22 050 Hz and hop 256.
        energy: Extract the energy per frame.
        dvector: Extract speaker vectors with Resemblyzer's network.
        emotion2vec: Folder or hub name of an emotion2vec to extract with.
        num_workers: Processes for signal processing; 0 uses all cores.
        accelerator: Lightning's accelerator for the networks.
    """
    listing = read_corpus(corpus, root)
    utterances = listing.utterances
    workers = num_workers or os.cpu_count() or 1
    if copies is not None:
        utterances = copy_audio(utterances, out, copies, workers)
    scheme = _scheme(utterances) if split == "auto" else split
    utterances = assign_split(utterances, scheme, seed, val, test, test_speakers or [])
    require_no_leaks(utterances)
    manifest = out / "manifest.jsonl"
    good = _without_bad_audio(manifest, utterances, listing)
    write_manifest(manifest, good)
    tracker = f0 or Dio()
    signals: list[SignalFeature] = [F0Feature(tracker)]
    if energy:
        signals.append(
            EnergyFeature(tracker.sample_rate, 1024, tracker.hop_length, tracker.frame_centre)
        )
    extract_features(good, out, tracker, signals, dvector, emotion2vec, workers, accelerator)
    _report(corpus, listing, good, manifest)


def extract_features(
    utterances: Sequence[Utterance],
    out: Path,
    tracker: F0Tracker,
    signals: Sequence[SignalFeature],
    dvector: bool,
    emotion2vec: str | None,
    workers: int,
    accelerator: str,
) -> None:
    """Fill the feature store and ``speakers.json`` beside the manifest."""
    from emovc.common.features.extraction import extract
    from emovc.common.features.networks import DvectorFeature, Emotion2vecFeature

    rate = tracker.sample_rate
    networks: list[NetworkFeature] = []
    if dvector:
        networks.append(DvectorFeature.from_pretrained(rate))
    if emotion2vec is not None:
        networks.append(Emotion2vecFeature.from_pretrained(emotion2vec, rate))
    root = out / "features"
    # Signal features need no device and many processes; networks the reverse.
    extract(utterances, root, rate, signals=signals, num_workers=workers, accelerator="cpu")
    if networks:
        extract(utterances, root, rate, networks=networks, accelerator=accelerator)
    store = FeatureStore(store_folder(root, "f0", F0Feature(tracker).settings))
    write_json(out / "speakers.json", speaker_statistics(utterances, store))


def speaker_statistics(
    utterances: Sequence[Utterance], store: FeatureStore
) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of ln F0 of each speaker, over his training utterances.

    Speakers without any are described by all of theirs.
    """
    found = {}
    for speaker in sorted({u.speaker for u in utterances}):
        own = [u for u in utterances if u.speaker == speaker]
        rows = [u for u in own if u.split == "train"] or own
        mean, std = log_f0_statistics(np.concatenate([store.get(u.sha256)[:, 0] for u in rows]))
        found[speaker] = {"log_f0_mean": mean, "log_f0_std": std}
    return found


def _scheme(utterances: Sequence[Utterance]) -> Literal["official", "text", "speaker"]:
    """The split that fits a corpus."""
    if any(u.split is not None for u in utterances):
        return "official"
    spoken = [u.sentence for u in utterances if u.sentence]
    recurring = len(set(spoken)) < len(spoken) / 2 and len(set(spoken)) >= 10
    return "text" if recurring else "speaker"


def _without_bad_audio(
    manifest: Path, utterances: Sequence[Utterance], listing: Listing
) -> list[Utterance]:
    """Leave files with errors out, and say so."""
    problems = find_problems(manifest, utterances)
    bad = {p.where: p.what for p in problems if p.level == "error"}
    listing.skipped.extend(f"{where}: {what}" for where, what in sorted(bad.items()))
    good = [u for u in utterances if str(u.path) not in bad]
    if not good:
        first = next(iter(bad.items()))
        raise UserError(f"{first[0]}: {first[1]} - and no other file of the corpus is usable")
    return good


def _report(corpus: str, listing: Listing, utterances: Sequence[Utterance], manifest: Path) -> None:
    """Say what was made, left out, and under which licence."""
    for line in listing.skipped[:20]:
        sys.stdout.write(f"skipped: {line}\n")
    if len(listing.skipped) > 20:
        sys.stdout.write(f"skipped: {len(listing.skipped) - 20} more, see skipped.txt\n")
    if listing.skipped:
        from emovc.common.files import write_text

        write_text(manifest.parent / "skipped.txt", "\n".join(listing.skipped) + "\n")
    sys.stdout.write(summary(utterances) + f"\nsplit {utterances[0].split_id}\n")
    sys.stdout.write(f"{corpus}: licence {listing.licence}; cite {listing.cite}\n{manifest}\n")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc prepare``."""
    from emovc.common.parsing import run_function

    run_function(prepare, args, command)
