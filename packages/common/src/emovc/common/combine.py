"""``emovc combine``: one manifest of several corpora, with their splits or by speaker folds."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emovc.common.errors import UserError
from emovc.common.features.store import gather_features, open_store
from emovc.common.files import short_hash, write_json
from emovc.common.manifest import Split, Utterance, read_manifest, write_manifest
from emovc.common.parsing import run_function
from emovc.common.prepare import speaker_statistics
from emovc.common.speakers_file import read_speakers
from emovc.common.splits import require_no_leaks
from emovc.common.unchanged import require_unchanged

VAL_SHARE = 20  # every twentieth recording of the training speakers, in a split by folds


def combine(manifests: list[Path], out: Path, folds: int = 0, fold: int = 0, seed: int = 0) -> None:
    """Write one manifest of several corpora.

    Without ``folds`` every utterance keeps its part. With them the speakers of each corpus are
    dealt to the folds in turn, women and men alike; those of one fold are the test part, and a
    twentieth of the recordings of the others is there to watch the training by.

    Features that all corpora were given come along, to ``features`` beside the new manifest, and
    so do the speakers' F0 statistics.

    Args:
        manifests: Manifests made by emovc prepare.
        out: Manifest to write; the audio stays where it is.
        folds: Number of folds, or 0 to keep the parts.
        fold: The fold that is tested on, from 0.
        seed: Seed of the order in which speakers are dealt.
    """
    corpora = [read_manifest(path) for path in manifests]
    for rows, path in zip(corpora, manifests, strict=True):
        require_unchanged(rows, path)
    rows = [u for corpus in corpora for u in corpus]
    ids = [u.id for u in rows]
    twice = {i for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else set()
    if twice:
        raise UserError(f"{manifests[-1]}: id {min(twice)} is in two manifests; give each once")
    rows = by_fold(rows, folds, fold, seed) if folds else _kept(corpora)
    require_no_leaks(rows, ["speaker"] if folds else [])
    write_manifest(out, rows)
    _gather([path.parent for path in manifests], out.parent, rows)
    parts = {p: sum(u.split == p for u in rows) for p in ("train", "val", "test", "unused")}
    said = ", ".join(f"{n} {p}" for p, n in parts.items() if n)
    sys.stdout.write(f"{out}: {said}; split {rows[0].split_id}\n")


def _gather(folders: Sequence[Path], out: Path, rows: Sequence[Utterance]) -> None:
    """Give the new manifest the features that all corpora have, and its ``speakers.json``."""
    features, path = out / "features", out / "speakers.json"
    names = gather_features([folder / "features" for folder in folders], features)
    pitch = [name for name in names if name.rpartition("-")[0] == "f0"]
    if len(pitch) != 1:
        own = [sorted(p.name for p in (f / "features").glob("f0-*")) for f in folders]
        if not pitch and all(own):
            trackers = "; ".join(
                f"{f.name}: {', '.join(o)}" for f, o in zip(folders, own, strict=True)
            )
            sys.stdout.write(
                f"no F0 comes along, since the corpora's is of different trackers ({trackers});"
                " give emovc prepare the same --f0 for all\n"
            )
        return
    f0 = open_store(features, pitch[0])
    if any(u.sha256 not in f0 for u in rows):
        return
    beside = any(out.resolve() == folder.resolve() for folder in folders) and path.exists()
    stays = read_speakers(path) if beside else {}  # what a corpus says of its own speakers
    write_json(path, speaker_statistics(rows, f0) | stays)


def by_fold(
    utterances: Sequence[Utterance], folds: int, fold: int, seed: int = 0
) -> list[Utterance]:
    """Give each utterance its part: test for the speakers of one fold.

    Args:
        utterances: Utterances of one or more corpora.
        folds: Number of folds F.
        fold: The fold that is tested on, 0 to F - 1.
        seed: Seed of the order in which speakers are dealt.

    Raises:
        UserError: The fold doesn't exist, or a corpus has too few speakers.
    """
    if not 0 <= fold < folds or folds < 2:
        raise UserError(f"fold {fold} of {folds}: give two or more folds, and a fold from 0 on")
    genders: dict[str, dict[str, str]] = defaultdict(dict)
    for u in utterances:
        genders[u.corpus][u.speaker] = str(u.gender)
    held: set[str] = set()
    for corpus, speakers in sorted(genders.items()):
        if len(speakers) < folds:
            raise UserError(f"{corpus}: {len(speakers)} speakers are too few for {folds} folds")
        names = list(np.random.default_rng(seed).permutation(sorted(speakers)))
        names.sort(key=lambda name: speakers[name])  # women, then men, each in drawn order
        held |= set(names[fold::folds])
    name = f"speaker-fold{fold}of{folds}-s{seed}"
    return [replace(u, split=_part(u, held), split_id=name) for u in utterances]


def _part(u: Utterance, held: set[str]) -> Split:
    """Part of an utterance; identical files fall into the same one."""
    if u.speaker in held:
        return "test"
    return "val" if int(u.sha256[:8], 16) % VAL_SHARE == 0 else "train"


def _kept(corpora: Sequence[Sequence[Utterance]]) -> list[Utterance]:
    """Utterances with their own parts, under one name for all their splits."""
    names = {rows[0].corpus: rows[0].split_id for rows in corpora}
    name = f"kept-{short_hash(names)}"
    return [replace(u, split=u.split or "unused", split_id=name) for rows in corpora for u in rows]


def main(command: str, args: list[str]) -> None:
    """Run ``emovc combine``."""
    run_function(combine, args, command, many="manifests", out=True)
