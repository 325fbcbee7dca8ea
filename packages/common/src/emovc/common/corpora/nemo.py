"""nEMO: Dataset of Emotional Speech in Polish, acted (Christop, 2024).

4481 files of 9 actors, 24 kHz, in ``samples/``; ``data.tsv`` describes each: file_id
(``EB0_anger_1.wav``: speaker, emotion, sentence), emotion, raw_text, normalized_text, speaker_id,
gender and age. The text taken is the normalised one, lower case without punctuation. Wav files
replaced by flac of the same name are found.
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
    from_own_folder,
    read_text,
    table_lines,
)
from emovc.common.errors import UserError

LICENCE = "CC BY-NC-SA 4.0"
CITE = "Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024"
LAYOUT = "data.tsv and samples/EB0_anger_1.wav"

EMOTIONS: Final = {
    "anger": "angry",
    "fear": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "neutral": "neutral",
}
GENDERS: Final = {"female": "F", "male": "M"}
COLUMNS: Final = ("file_id", "emotion", "normalized_text", "speaker_id", "gender")
NAME = re.compile(r"([A-Z]{2}\d)_([a-z]+)_(\d+)")


def read(root: Path) -> Listing:
    """Read the corpus.

    Raises:
        UserError: ``data.tsv`` is absent or lacks a column.
    """
    found = Collection("nemo", root)
    rows = _rows(root)
    audio = from_own_folder(find_audio(root), "samples", found)
    for path in audio:
        row = rows.get(path.stem)
        match = NAME.fullmatch(path.stem)
        if row is None or match is None:
            found.skip(path, "has no row in data.tsv, or not a name like EB0_anger_1")
            continue
        if row["emotion"] not in EMOTIONS:
            found.skip(path, f"has the unknown emotion {row['emotion']!r} in data.tsv")
            continue
        found.add(
            replace(
                found.row(path, path.stem, row["speaker_id"]),
                gender=GENDERS.get(row["gender"]),
                emotion=EMOTIONS[row["emotion"]],
                emotion_raw=row["emotion"],
                sentence=match[3],
                text=row["normalized_text"],
                language="pl",
            )
        )
    for name in sorted(rows.keys() - {path.stem for path in audio}):
        found.skip(root / "data.tsv", f"names {name}, and there is no such audio file")
    return found.listing(LICENCE, CITE)


def _rows(root: Path) -> dict[str, dict[str, str]]:
    """Rows of ``data.tsv`` by file name without ending; some fields are padded with spaces."""
    tables = find_files(root, "data.tsv")
    if not tables:
        raise UserError(f"{root}: holds no data.tsv; expected {LAYOUT}")
    lines = table_lines(read_text(tables[0]).content)
    reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
    if missing:
        raise UserError(f"{tables[0]}: column {missing[0]} is missing; copy the corpus again")
    rows = [{k: (row[k] or "").strip() for k in COLUMNS} for row in reader]
    return {Path(row["file_id"]).stem: row for row in rows}
