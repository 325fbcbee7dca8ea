"""A user's own recordings: a table of them, or folders by speaker and emotion.

Table: a CSV file, or a folder with one, separated by commas, semicolons or tabs, with a header. The
columns ``path`` (relative to the table) and ``speaker`` are needed; ``id``, ``corpus`` and all
other columns of the manifest that say something of a recording are optional (gender, emotion,
emotion_raw, intensity, arousal, valence, dominance, sentence, take, text, language, split,
split_id). Further columns are left out, with a note. What the audio file says itself is measured.
Without ``corpus``, the corpus is called like the folder. Back slashes in paths are read as slashes
where no file is called so.

Folders, where there is no table: ``speaker/emotion/file.wav``, or ``speaker/file.wav`` without
labels. In both, an unknown emotion is kept as ``emotion_raw`` only, with a note. Beside wav and
flac, mp3, ogg, opus and aiff are read; audio of other kinds is named.
"""

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from emovc.common.corpora.reading import (
    Collection,
    Listing,
    find_audio,
    find_files,
    one_line,
    read_text,
    table_lines,
)
from emovc.common.emotions import EMOTIONS as CANONICAL
from emovc.common.errors import UserError
from emovc.common.manifest import FIELDS, SPLITS, Split, rating_of
from emovc.common.wav import COMPRESSED, UNREAD

LICENCE = "the recordings' own"
CITE = "the recordings' own"
LAYOUT = "a CSV file with the columns path and speaker, or folders speaker/emotion/file.wav"

EMOTIONS: Final = {
    **{name: name for name in CANONICAL},
    "anger": "angry",
    "boredom": "bored",
    "calmness": "calm",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}
MEASURED: Final = ("sha256", "sample_rate", "num_samples")
COLUMNS: Final = tuple(name for name in FIELDS if name not in MEASURED)
SHOWN: Final = 10  # problems of a table that are spelled out
GENDERS: Final = {"f": "F", "female": "F", "m": "M", "male": "M"}


def read(root: Path) -> Listing:
    """Read a table or folders.

    Raises:
        UserError: The table lacks a needed column or has wrong values, all of which are named, or
            a folder holds several tables.
    """
    tables = [root] if root.is_file() else sorted(root.glob("*.csv"))
    if len(tables) > 1:
        raise UserError(f"{root}: holds {len(tables)} CSV files; name the one to read")
    return _read_table(tables[0]) if tables else _read_folders(root)


def _read_folders(root: Path) -> Listing:
    """Read ``speaker/emotion/file``."""
    found = Collection(_word(root.resolve().name), root)
    for path in find_files(root, *UNREAD):
        found.skip(path, f"{path.suffix} can't be read; convert it to wav or flac")
    for path in find_audio(root, *COMPRESSED):
        *folders, _ = path.relative_to(root).parts
        if not folders:
            found.skip(path, "lies in no speaker's folder")
            continue
        raw = folders[1] if len(folders) > 1 else None
        emotion = EMOTIONS.get(raw.lower()) if raw else None
        if raw and emotion is None:
            found.skip(path, f"has the unknown emotion {raw!r}; kept without emotion")
        name = _safe(path.relative_to(root).with_suffix("").as_posix())
        row = found.row(path, name, _safe(folders[0]))
        found.add(replace(row, emotion=emotion, emotion_raw=raw))
    return found.listing(LICENCE, CITE)


def _read_table(table: Path) -> Listing:
    """Read a CSV file."""
    content = read_text(table).content
    header = content.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(table_lines(content), delimiter=delimiter, skipinitialspace=True)
    names = [(name or "").strip() for name in reader.fieldnames or []]
    for name in ("path", "speaker"):
        if name not in names:
            raise UserError(f"{table}: column {name} is missing; needed are path and speaker")
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise UserError(f"{table}: column {twice[0]} stands twice; keep one")
    reader.fieldnames = names
    found: dict[str, Collection] = {}
    problems: list[str] = []
    for row in reader:
        where = f"{table}:{reader.line_num}"
        values = {k: one_line(v) for k, v in row.items() if k in COLUMNS and v and v.strip()}
        corpus = _word(values.get("corpus", table.parent.resolve().name))
        collection = found.setdefault(corpus, Collection(corpus, table.parent))
        try:
            _add(collection, table, values, where)
        except UserError as error:
            problems.append(str(error))
    if problems:
        more = f" - and {len(problems) - 1} more lines have problems" if len(problems) > 1 else ""
        others = "".join(f"; {p.removeprefix(str(table))}" for p in problems[1:SHOWN])
        raise UserError(problems[0] + more + others)
    for name in names:
        if name and name not in COLUMNS:
            why = "is measured" if name in MEASURED else f"is none of {', '.join(COLUMNS)}"
            for collection in list(found.values())[:1]:
                collection.skip(table, f"column {name!r} {why}, and is left out")
    listings = [collection.listing(LICENCE, CITE) for collection in found.values()]
    utterances = [u for listing in listings for u in listing.utterances]
    skipped = [line for listing in listings for line in listing.skipped]
    return Listing(utterances, skipped, LICENCE, CITE)


def _add(found: Collection, table: Path, values: dict[str, str], where: str) -> None:
    """Check one row of a table and take its recording."""
    for name in ("path", "speaker"):
        if name not in values:
            raise UserError(f"{where}: {name} is empty; every recording needs one")
    split = _choice(values, "split", {name: name for name in SPLITS}, where)
    path_text = values["path"].replace("\\", "/")
    name = values.get("id", Path(path_text).with_suffix("").as_posix())
    name = _safe(name.removeprefix(f"{found.corpus}/"))
    speaker = _safe(values["speaker"].removeprefix(f"{found.corpus}_").replace("/", "_"))
    for column, safe in (("id" if "id" in values else "path", name), ("speaker", speaker)):
        if not safe:
            raise UserError(f"{where}: {column} {values[column]!r} names nothing; use letters")
    if "\0" in values["path"]:
        raise UserError(f"{where}: path holds a NUL character; save the table as text again")
    path = _path(table, values["path"])
    raw = values.get("emotion")
    emotion = EMOTIONS.get(raw.lower()) if raw else None
    if raw and emotion is None:
        found.skip(path, f"has the unknown emotion {raw!r}; kept without emotion")
    found.add(
        replace(
            found.row(path, name, speaker),
            gender=_choice(values, "gender", GENDERS, where),
            emotion=emotion,
            emotion_raw=values.get("emotion_raw", raw),
            intensity=values.get("intensity"),
            arousal=_number(values, "arousal", where),
            valence=_number(values, "valence", where),
            dominance=_number(values, "dominance", where),
            sentence=values.get("sentence"),
            take=values.get("take"),
            text=values.get("text"),
            language=values.get("language"),
            split=cast(Split | None, split),
            split_id=values.get("split_id", f"{found.corpus}-own" if split else None),
        )
    )


def _choice(values: dict[str, str], name: str, known: dict[str, str], where: str) -> str | None:
    """The manifest's word for a value, whatever its case."""
    if name not in values:
        return None
    if values[name].lower() not in known:
        remedy = f"use one of {', '.join(dict.fromkeys(known.values()))}, or leave it empty"
        raise UserError(f"{where}: unknown {name} {values[name]!r}; {remedy}")
    return known[values[name].lower()]


def _number(values: dict[str, str], name: str, where: str) -> float | None:
    return rating_of(values.get(name, ""), f"{where}: {name}")


def _path(table: Path, text: str) -> Path:
    """The audio file of a row; a table made on Windows parts folders by back slashes."""
    path = table.parent / text
    slashes = table.parent / text.replace("\\", "/")
    return slashes if "\\" in text and not path.exists() else path


def _word(name: str) -> str:
    """A name, for instance of a folder, as the name of a corpus."""
    return re.sub(r"\W+", "_", name.lower()).strip("_") or "table"


def _safe(name: str) -> str:
    """A name that is safe as part of ids and file names."""
    parts = re.sub(r"[^\w./+-]+", "_", name).split("/")
    return "/".join(part for part in parts if part.strip("."))
