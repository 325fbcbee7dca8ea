"""MSP-Podcast: spontaneous English from podcasts, rated by crowds (Lotfian & Busso, 2019).

``Audios/MSP-PODCAST_0001_0008.wav`` (podcast, segment; in ``Audio`` before release 1.10), 16 kHz;
``Labels/labels_consensus.csv`` (``labels_concensus.csv`` before 1.10) with FileName, EmoClass (a
letter), EmoAct, EmoVal, EmoDom (means from 1 to 7), SpkrID, Gender, Split_Set; from release 1.10 or
so ``Transcripts/MSP-PODCAST_0001_0008.txt``. Known from its readme of release 1.12 and from users.

Official split: Train, Development (val; Validation before 1.10), Test1 (test). Test2 and Test3,
which few publications use, are ``unused``; Test3 comes without labels. The split changes with the
release, so ``split_id`` names it (``msp-podcast-1.12``) where ``readme.txt`` does.

Segments of unknown speakers get one speaker per podcast (``unknown_0001``): a podcast may have
several, and one may be heard in several podcasts. There are no sentence ids: speech is spontaneous.
"""

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from emovc.common.corpora.reading import (
    Collection,
    Listing,
    find_audio,
    find_files,
    read_text,
    table_lines,
)
from emovc.common.errors import UserError
from emovc.common.manifest import Split, rating_of

LICENCE = "research only, under a licence of UT Dallas; no redistribution"
CITE = (
    "Lotfian & Busso, Building naturalistic emotionally balanced speech corpus by retrieving"
    " emotional speech from existing podcast recordings,"
    " IEEE Transactions on Affective Computing 10(4), 2019"
)
LAYOUT = "Labels/labels_consensus.csv and Audios/MSP-PODCAST_0001_0008.wav"

# Letter: the corpus' label and the canonical one.
EMOTIONS: Final = {
    "A": ("angry", "angry"),
    "S": ("sad", "sad"),
    "H": ("happy", "happy"),
    "U": ("surprise", "surprise"),
    "F": ("fear", "fear"),
    "D": ("disgust", "disgust"),
    "C": ("contempt", None),
    "N": ("neutral", "neutral"),
    "O": ("other", None),
    "X": ("no agreement", None),
    "": (None, None),
}
GENDERS: Final = {"Female": "F", "Male": "M"}
PARTS: Final[dict[str, Split]] = {
    "Train": "train",
    "Development": "val",
    "Validation": "val",
    "Test1": "test",
    "Test2": "unused",
    "Test3": "unused",
}
TABLES: Final = ("labels_consensus.csv", "labels_concensus.csv")  # the latter before 1.10
COLUMNS: Final = (
    "FileName",
    "EmoClass",
    "EmoAct",
    "EmoVal",
    "EmoDom",
    "SpkrID",
    "Gender",
    "Split_Set",
)
RELEASE = re.compile(r"Release\s+(\d+(?:\.\d+)*)")


def read(root: Path) -> Listing:
    """Read the corpus.

    Raises:
        UserError: ``labels_consensus.csv`` is absent, lacks a column or holds a bad number.
    """
    found = Collection("msp_podcast", root)
    table, rows = _rows(root)
    texts = {p.stem: p for p in find_files(root, ".txt") if p.parent.name == "Transcripts"}
    split_id = _split_id(root)
    audio = find_audio(root)
    for path in audio:
        row = rows.get(path.stem)
        if row is None:
            found.skip(path, "has no row in labels_consensus.csv")
            continue
        if row["EmoClass"] not in EMOTIONS or row["Split_Set"] not in PARTS:
            what = f"EmoClass {row['EmoClass']!r} or Split_Set {row['Split_Set']!r}"
            found.skip(path, f"has an unknown {what} in labels_consensus.csv")
            continue
        raw, emotion = EMOTIONS[row["EmoClass"]]
        text = read_text(texts[path.stem]).content.strip() if path.stem in texts else ""
        found.add(
            replace(
                found.row(path, path.stem, _speaker(row["SpkrID"], path)),
                gender=GENDERS.get(row["Gender"]),
                emotion=emotion,
                emotion_raw=raw,
                arousal=_rating(row, "EmoAct", table),
                valence=_rating(row, "EmoVal", table),
                dominance=_rating(row, "EmoDom", table),
                text=text or None,
                language="en",
                split=PARTS[row["Split_Set"]],
                split_id=split_id,
            )
        )
    for name in sorted(rows.keys() - {path.stem for path in audio}):
        found.skip(table, f"names {name}, and there is no such audio file")
    return found.listing(LICENCE, CITE)


def _rows(root: Path) -> tuple[Path, dict[str, dict[str, str]]]:
    """The table of labels and its rows by file name without ending."""
    tables = [table for name in TABLES for table in find_files(root, name)]
    if not tables:
        raise UserError(f"{root}: holds no labels_consensus.csv; expected {LAYOUT}")
    reader = csv.DictReader(table_lines(read_text(tables[0]).content))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
    if missing:
        raise UserError(f"{tables[0]}: column {missing[0]} is missing; copy the corpus again")
    rows = [{name: (row[name] or "").strip() for name in COLUMNS} for row in reader]
    return tables[0], {Path(row["FileName"]).stem: row for row in rows}


def _speaker(number: str, path: Path) -> str:
    """Speaker's number, or one unknown speaker per podcast."""
    if number and number.lower() != "unknown":
        return number
    podcast = path.stem.removeprefix("MSP-PODCAST_").rpartition("_")[0]
    return f"unknown_{podcast}"


def _rating(row: dict[str, str], column: str, table: Path) -> float | None:
    return rating_of(row[column], f"{table}: {row['FileName']}: {column}")


def _split_id(root: Path) -> str:
    """Name of the official split with the release, as far as it is known."""
    for path in find_files(root, "readme.txt"):
        if match := RELEASE.search(read_text(path).content):
            return f"msp-podcast-{match[1]}"
    return "msp-podcast"
