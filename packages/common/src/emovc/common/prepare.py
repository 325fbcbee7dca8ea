"""``emovc prepare``: from a corpus folder to a manifest with splits, checks and features."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from emovc.common.audio_copies import Copies, copy_audio
from emovc.common.check import check_manifest, find_bad_audio, summary
from emovc.common.checked_values import read_checked
from emovc.common.corpora import Listing, read_corpus
from emovc.common.errors import UserError, printable
from emovc.common.f0 import F0Tracker, SwiftF0, log_f0_statistics
from emovc.common.features.extractors import (
    EnergyFeature,
    F0Feature,
    NetworkFeature,
    SignalFeature,
)
from emovc.common.features.store import AGAIN, FeatureStore, Meta, missing, store_folder
from emovc.common.files import remove_leftovers, write_json, write_text
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.pretrained import build
from emovc.common.splits import assign_split, require_no_leaks, speaker_material

NOTES = "notes.txt"
SHOWN = 10
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
    """Make ``OUT/manifest.jsonl`` of the usable audio, and extract features to ``OUT/features``.

    A second call completes what the first left unfinished.

    Args:
        corpus: Name of a corpus (``emovc corpora`` lists them) or dotted module of a reader.
        root: Folder of the corpus as its authors distribute it.
        out: Folder to write to.
        split: ``text``: no sentence in two parts; ``speaker``: no speaker in two parts;
            ``official``: the corpus' own; ``random``; ``auto``: official where there is one, else
            by text where 10 sentences or more recur, else by speaker, or with fewer than three
            speakers by text or at random.
        val: Share of the validation part.
        test: Share of the test part.
        test_speakers: Speakers that training never hears.
        seed: Seed of the split.
        copies: Copy the audio to ``OUT/audio`` at one rate (``--copies.sample_rate=22050``), and
            trim and level it (``--copies.help``); by default it stays where it is.
        f0: F0 tracker; by default the one that ``OUT/features`` was made with, in a new folder
            SwiftF0 at 22 050 Hz and hop 256.
        energy: Extract the energy per frame.
        dvector: Extract speaker vectors with Resemblyzer's network.
        emotion2vec: Folder or hub name of an emotion2vec to extract with.
        num_workers: Processes for signal processing; 0 uses all cores.
        accelerator: Lightning's accelerator for the networks.
    """
    if copies is not None and out.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{out}: lies in {root}, where copies would be read as recordings; move it")
    remove_leftovers(out)
    listing = read_corpus(corpus, root)
    workers = num_workers or os.cpu_count() or 1
    utterances, notes = _usable(listing)
    scheme = _scheme(utterances) if split == "auto" else split
    utterances = assign_split(utterances, scheme, seed, val, test, test_speakers or [])
    require_no_leaks(utterances)
    if copies is not None:
        utterances = copy_audio(utterances, out, copies, workers)
    manifest = out / "manifest.jsonl"
    write_manifest(manifest, utterances)
    notes += [f"warning: {p.what}" for p in check_manifest(manifest, utterances)]
    _write_notes(out / NOTES, notes)
    tracker = f0 or usual_tracker(out / "features")
    signals: list[SignalFeature] = [F0Feature(tracker)]
    if energy:
        signals.append(
            EnergyFeature(tracker.sample_rate, 1024, tracker.hop_length, tracker.frame_centre)
        )
    extract_features(utterances, out, tracker, signals, dvector, emotion2vec, workers, accelerator)
    sys.stdout.write(f"{summary(utterances)}\nsplit {utterances[0].split_id}\n")
    sys.stdout.write(f"{corpus}: licence {listing.licence}; cite {listing.cite}\n{manifest}\n")


def usual_tracker(root: Path) -> F0Tracker:
    """The tracker of a feature store that has one, so that a second call completes it.

    Args:
        root: Root of the store, absent before the first call.

    Raises:
        UserError: The store holds F0 of several trackers.
    """
    found = sorted(root.glob("f0-*/meta.json"))
    made = {p.parent.name: read_checked(p, Meta, AGAIN)["settings"] for p in found}
    usual = F0Feature(SwiftF0())
    if not made:
        return usual.tracker
    if len(made) > 1:
        raise UserError(
            f"{root}: holds F0 of several trackers ({', '.join(sorted(made))}); name the one to"
            " complete, as --f0 Dio"
        )
    (settings,) = made.values()
    if settings != usual.settings:
        kind = str(settings.get("class")).rpartition(".")[2]
        sys.stdout.write(f"F0 by {kind}, as what {root} holds; --f0 SwiftF0 adds the default's\n")
    tracker = build(F0Feature.description(settings), str(found[0]))
    if not isinstance(tracker, F0Tracker):
        raise UserError(f"{found[0]}: names a {type(tracker).__name__}, no F0 tracker; {AGAIN}")
    return tracker


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
    from emovc.common.features.networks import DvectorFeature, Emotion2vecFeature

    rate = tracker.sample_rate
    networks: list[NetworkFeature] = []
    if dvector:
        networks.append(DvectorFeature.from_pretrained(rate))
    if emotion2vec is not None:
        networks.append(Emotion2vecFeature.from_pretrained(emotion2vec, rate))
    root = out / "features"
    hashes = {u.sha256 for u in utterances}
    features: list[SignalFeature | NetworkFeature] = [*signals, *networks]
    if any(missing(root, f.name, f.settings, hashes) for f in features):
        from emovc.common.features.extraction import extract

        # Signal features need no device and many processes; networks the reverse.
        extract(utterances, root, rate, signals, num_workers=workers, accelerator="cpu")
        readers = min(workers, 4)
        extract(utterances, root, rate, (), networks, readers, accelerator=accelerator)
    store = FeatureStore(store_folder(root, "f0", F0Feature(tracker).settings))
    write_json(out / "speakers.json", speaker_statistics(utterances, store))


def speaker_statistics(
    utterances: Sequence[Utterance], store: FeatureStore
) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of ln F0 over what describes each speaker."""
    found = {}
    for speaker, rows in speaker_material(utterances).items():
        mean, std = log_f0_statistics(np.concatenate([store.get(u.sha256)[:, 0] for u in rows]))
        found[speaker] = {"log_f0_mean": mean, "log_f0_std": std}
    return found


def _scheme(
    utterances: Sequence[Utterance],
) -> Literal["official", "text", "speaker", "random"]:
    """The split that fits a corpus."""
    if any(u.split is not None for u in utterances):
        return "official"
    spoken = [u.sentence for u in utterances if u.sentence]
    sentences = len(set(spoken))
    if 10 <= sentences < len(spoken) / 2:
        return "text"
    if len({u.speaker for u in utterances}) >= 3:
        return "speaker"
    return "text" if sentences >= 3 else "random"


def _usable(listing: Listing) -> tuple[list[Utterance], list[str]]:
    """The utterances whose audio has no errors, and what to note on the corpus."""
    problems = find_bad_audio(listing.utterances)
    bad = {p.where: p.what for p in problems if p.level == "error"}
    good = [u for u in listing.utterances if str(u.path) not in bad]
    if not good:
        where, what = next(iter(bad.items()))
        raise UserError(f"{where}: {what} - and no other file of the corpus is usable")
    notes = [*listing.skipped, *(f"left out: {where}: {what}" for where, what in bad.items())]
    notes += [f"warning: {p.where}: {p.what}" for p in problems if p.where not in bad]
    return good, notes


def _write_notes(path: Path, notes: Sequence[str]) -> None:
    """Write what was left out or is unusual, and show the first of it."""
    if not notes:
        path.unlink(missing_ok=True)
        return
    write_text(path, "\n".join(map(printable, notes)) + "\n")
    sys.stdout.write("\n".join(map(printable, notes[:SHOWN])) + "\n")
    if len(notes) > SHOWN:
        sys.stdout.write(f"... and {len(notes) - SHOWN} more notes, see {path}\n")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc prepare``."""
    from emovc.common.parsing import run_function

    run_function(prepare, args, command)
