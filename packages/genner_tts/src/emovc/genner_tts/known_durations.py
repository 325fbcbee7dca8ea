"""``emovc import-durations`` and ``measure-durations``: phones whose times others have labelled."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.markdown import markdown_table
from emovc.common.parsing import run_function
from emovc.common.phones import PhoneSource, find_phones, label_files
from emovc.common.progress import progress
from emovc.genner_tts.durations_file import (
    Timed,
    durations_path,
    read_durations,
    write_durations,
)
from emovc.genner_tts.phone_times import boundary_errors, edges_of_times, frames_of_edges
from emovc.genner_tts.phonemes import Alphabet, pronounce
from emovc.genner_tts.text_data import text_of

HEAD = ("part", "durations", "utterances", "beginnings", "median", "mean", "within 20", "within 50")


class Labelled(NamedTuple):
    """An utterance whose phones have known times.

    Attributes:
        utterance: The utterance.
        phones: L phones of its text.
        edges: Where each begins, and where the last one ends, in s, (L + 1).
        places: Which of the phones have a label of their own.
    """

    utterance: Utterance
    phones: list[str]
    edges: list[float]
    places: list[int]


def labelled_utterances(
    manifest: Path, source: PhoneSource, folder: Path | None, alphabet: Alphabet
) -> list[Labelled]:
    """Utterances whose labels agree with their texts; how many don't is printed.

    Raises:
        UserError: There are none, or labels are damaged.
    """
    utterances = read_manifest(manifest)
    found = []
    for utterance in progress(utterances, "reading labels", len(utterances)):
        labels = find_phones(utterance, source, folder)
        if labels is not None and utterance.text and utterance.language:
            said = pronounce(*text_of(utterance), alphabet)
            edges = edges_of_times(said, labels, utterance.seconds)
            if edges is not None:
                found.append(Labelled(utterance, said.phones, *edges))
    if not found:
        raise UserError(
            f"{manifest}: no utterance has labels that agree with its text;"
            f" {label_files(utterances[0], source, folder)[0]} was looked for, set --folder"
        )
    sys.stdout.write(f"{len(found)} of {len(utterances)} utterances have labels of their text\n")
    return found


def import_durations(
    manifest: Path,
    source: PhoneSource,
    folder: Path | None = None,
    sample_rate: int = 22_050,
    hop_length: int = 256,
    alphabet: Alphabet = "ipa",
    out: Path | None = None,
) -> None:
    """Write the frames of each phone by labels: of a forced aligner, or by hand.

    Phones of the text are matched with the labels by what they sound like; utterances in which
    fewer than 60 % find one are left out.

    Args:
        manifest: Manifest with texts.
        source: TextGrids of a forced aligner, EMO-DB's hand labels, or the toy corpus' own times.
        folder: Folder of the labels; ``textgrid`` needs it.
        sample_rate: Rate of the model's audio in Hz.
        hop_length: Samples per frame of the model's mel.
        alphabet: What phones of the texts are written in.
        out: File to write; by default ``<manifest>.durations.jsonl`` beside the manifest.
    """
    rows = labelled_utterances(manifest, source, folder, alphabet)
    found = {}
    for row in rows:
        utterance = row.utterance
        n_frames = int(utterance.seconds * sample_rate) // hop_length
        frames = frames_of_edges(row.edges, n_frames, sample_rate, hop_length)
        found[utterance.sha256] = Timed(row.phones, frames)
    path = out or durations_path(manifest)
    made = {"source": source, "sample_rate": sample_rate, "hop_length": hop_length, "weights": None}
    write_durations(path, made, found)
    sys.stdout.write(f"{path}\n")


def measure_durations(
    manifest: Path,
    source: PhoneSource,
    durations: Path | None = None,
    folder: Path | None = None,
    alphabet: Alphabet = "ipa",
) -> None:
    """Print how far the beginnings of phones are from labelled ones.

    Beside it stands what equal durations for all phones come to.

    Args:
        manifest: Manifest with texts.
        source: TextGrids of a forced aligner, EMO-DB's hand labels, or the toy corpus' own times.
        durations: File of durations; by default ``<manifest>.durations.jsonl``.
        folder: Folder of the labels; ``textgrid`` needs it.
        alphabet: What phones of the texts are written in.
    """
    path = durations or durations_path(manifest)
    made, timed = read_durations(path)
    rows = []
    for row in labelled_utterances(manifest, source, folder, alphabet):
        own = timed.get(row.utterance.sha256)
        if own is not None and own.phones != row.phones:
            raise UserError(f"{path}: was made for another text of {row.utterance.id}; make it new")
        if own is not None:
            rows.append((row, own.durations))
    if not rows:
        raise UserError(f"{path}: has none of the labelled utterances; make it of {manifest}")
    frame_s = made["hop_length"] / made["sample_rate"]
    lines: list[Sequence[str]] = [HEAD]
    for part in ("train", "val", "test", None):
        own_rows = [r for r in rows if part in (None, r[0].utterance.split)]
        if own_rows:
            lines += part_lines(part or "all", own_rows, frame_s)
    sys.stdout.write(f"{markdown_table(lines)}\n")


def part_lines(
    part: str, rows: Sequence[tuple[Labelled, Sequence[int]]], frame_s: float
) -> Iterable[Sequence[str]]:
    """Cells of a part of the corpus: of its durations, and of equal ones."""
    known = [(row.edges, row.places) for row, _ in rows]
    given = [list(map(float, frames)) for _, frames in rows]
    for name, found in (
        ("measured", given),
        ("all phones alike", [[sum(d) / len(d)] * len(d) for d in given]),
    ):
        errors = boundary_errors(found, known, frame_s)
        shares = (f"{100 * share:.0f} %" for share in (errors.within_20_ms, errors.within_50_ms))
        times = (f"{errors.median_ms:.1f} ms", f"{errors.mean_ms:.1f} ms")
        yield part, name, str(len(rows)), str(errors.boundaries), *times, *shares


def main_import(command: str, args: list[str]) -> None:
    """Run ``emovc import-durations``."""
    run_function(import_durations, args, command)


def main_measure(command: str, args: list[str]) -> None:
    """Run ``emovc measure-durations``."""
    run_function(measure_durations, args, command)
