"""VCTK: CSTR corpus of 110 English speakers with various accents (Yamagishi et al., 2019).

Two releases: 0.80 ``wav48/p225/p225_001.wav`` and 0.92
``wav48_silence_trimmed/p225/p225_001_mic1.flac``, both 48 kHz, with ``txt/p225/p225_001.txt`` and
``speaker-info.txt`` (where 0.80 leaves out the ``p``). The second microphone of 0.92 recorded the
same speech and is left out. The texts of p315 were lost.

VCTK has no emotion labels. It is calm reading of newspaper sentences, so ``emotion`` is neutral,
and ``emotion_raw`` stays empty to tell that no one labelled it so. Sentence numbers do not mean the
same words for all speakers (each reads newspaper sentences of his own), hence the sentence id is
the words. Layouts are known second-hand, from users' scripts and copies of ``speaker-info.txt``.
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from emovc.common.corpora.reading import (
    Collection,
    Listing,
    find_audio,
    find_files,
    lines_of,
    read_text,
    words_of,
)

LICENCE = "CC BY 4.0 (0.92), ODC-By 1.0 (0.80)"
CITE = "Yamagishi, Veaux & MacDonald, CSTR VCTK Corpus, doi:10.7488/ds/2645, 2019"
LAYOUT = "wav48_silence_trimmed/p225/p225_001_mic1.flac or wav48/p225/p225_001.wav, and txt/"

FOLDERS = ("wav48", "wav48_silence_trimmed")
NAME = re.compile(r"((p\d{3}|s5)_\d{3})(?:_mic([12]))?")


def read(root: Path) -> Listing:
    """Read the corpus."""
    found = Collection("vctk", root)
    genders = _genders(root)
    texts = {path.stem: path for path in find_files(root, ".txt")}
    mute: Counter[str] = Counter()
    second = 0
    for path in find_audio(root):
        if not set(FOLDERS) & set(path.relative_to(root).parts[:-1] + (root.name,)):
            continue
        match = NAME.fullmatch(path.stem)
        if match is None:
            found.skip(path, "is not named like p225_001 or p225_001_mic1")
            continue
        if match[3] == "2":
            second += 1
            continue
        name, speaker = match[1], match[2]
        text = read_text(texts[name]).content.strip() if name in texts else None
        mute[speaker] += not text
        found.add(
            replace(
                found.row(path, name, speaker),
                gender=genders.get(speaker),
                emotion="neutral",
                sentence=words_of(text) if text else None,
                text=text or None,
                language="en",
            )
        )
    if second:
        what = f"{second} recordings of the second microphone (mic2), which hold the same speech"
        found.skip(root / FOLDERS[1], what)
    for speaker, count in sorted((+mute).items()):
        found.skip(root / "txt" / speaker, f"{count} texts are missing; kept without text")
    return found.listing(LICENCE, CITE)


def _genders(root: Path) -> dict[str, str]:
    """Gender of each speaker from ``speaker-info.txt`` (ID AGE GENDER ...), if it is there."""
    tables = find_files(root, "speaker-info.txt")
    lines = lines_of(read_text(tables[0]).content)[1:] if tables else []
    rows = [line.split() for line in lines if len(line.split()) >= 3]
    return {row[0] if row[0][0] in "ps" else f"p{row[0]}": row[2][0].upper() for row in rows}
