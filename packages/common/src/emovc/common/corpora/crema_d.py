"""CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, English, acted (Cao et al., 2014).

7442 clips of 91 actors, 16 kHz, ``AudioWAV/1001_DFA_ANG_XX.wav``: actor, sentence, emotion, level
(LO, MD, HI; XX where none was asked for). ``VideoDemographics.csv`` holds the actors' sex. The
label is the emotion the actor was asked for; the raters' votes are not read. One file is really
called ``1040_ITH_SAD_X``. A clone without Git LFS holds pointers instead of audio. The four broken
clips are those the authors' page lists, known here second-hand from several users of the corpus.
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

LICENCE = "ODbL 1.0"
CITE = (
    "Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset,"
    " IEEE Transactions on Affective Computing 5(4), 2014"
)
LAYOUT = "AudioWAV/1001_DFA_ANG_XX.wav and VideoDemographics.csv"

EMOTIONS: Final = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
INTENSITIES: Final = {"LO": "low", "MD": "medium", "HI": "high", "XX": None, "X": None}
GENDERS: Final = {"Female": "F", "Male": "M"}
TEXTS: Final = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
BROKEN: Final = {
    "1064_IEO_DIS_MD": "holds all emotions of its sentence in one file",
    "1064_TIE_SAD_XX": "is cut off",
    "1076_MTI_NEU_XX": "is nearly empty",
    "1076_MTI_SAD_XX": "is nearly empty",
}
NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX?)")


def read(root: Path) -> Listing:
    """Read the corpus."""
    found = Collection("crema_d", root)
    genders = _genders(root)
    if not genders:
        found.skip(root / "VideoDemographics.csv", "is not there, so the actors' sex is unknown")
    for path in find_audio(root):
        match = NAME.fullmatch(path.stem)
        if match is None or match[2] not in TEXTS or match[3] not in EMOTIONS:
            found.skip(path, "is not named like 1001_DFA_ANG_XX")
            continue
        actor, sentence, raw, level = match.groups()
        if path.stem in BROKEN:
            found.skip(path, f"is broken in the release: {BROKEN[path.stem]}")
            continue
        found.add(
            replace(
                found.row(path, path.stem, actor),
                gender=genders.get(actor),
                emotion=EMOTIONS[raw],
                emotion_raw=raw,
                intensity=INTENSITIES[level],
                sentence=sentence,
                text=TEXTS[sentence],
                language="en",
            )
        )
    return found.listing(LICENCE, CITE)


def _genders(root: Path) -> dict[str, str | None]:
    """Gender of each actor, empty if the table is absent."""
    tables = find_files(root, "videodemographics.csv")
    if not tables:
        return {}
    rows = csv.DictReader(table_lines(read_text(tables[0]).content))
    return {row.get("ActorID", ""): GENDERS.get(row.get("Sex", "")) for row in rows}
