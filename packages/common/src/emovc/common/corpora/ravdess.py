"""RAVDESS: Ryerson Audio-Visual Database of Emotional Speech and Song (Livingstone & Russo, 2018).

Audio-only speech: 1440 files of 24 actors, 48 kHz, ``Actor_01/03-01-05-02-01-01-01.wav``: modality,
vocal channel, emotion, intensity, statement, repetition, actor; odd actors are men. Song files
(channel 02) are skipped: they are sung. Two sentences are all the text there is, so three parts
that share no words can't be made. 03-01-03-01-02-01-07 and 03-01-03-01-02-02-07 are the same bytes.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from emovc.common.corpora.reading import Collection, Listing, find_audio

LICENCE = "CC BY-NC-SA 4.0"
CITE = (
    "Livingstone & Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song,"
    " PLoS ONE 13(5), 2018"
)
LAYOUT = "Actor_01/03-01-05-02-01-01-01.wav"

# Code: the corpus' label and the canonical one.
EMOTIONS: Final = {
    "01": ("neutral", "neutral"),
    "02": ("calm", "calm"),
    "03": ("happy", "happy"),
    "04": ("sad", "sad"),
    "05": ("angry", "angry"),
    "06": ("fearful", "fear"),
    "07": ("disgust", "disgust"),
    "08": ("surprised", "surprise"),
}
INTENSITIES: Final = {"01": "normal", "02": "strong"}
TEXTS: Final = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
NAME = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")


def read(root: Path) -> Listing:
    """Read the speech files."""
    found = Collection("ravdess", root)
    for path in find_audio(root):
        match = NAME.fullmatch(path.stem)
        if match is None:
            found.skip(path, "is not named like 03-01-05-02-01-01-01")
            continue
        modality, channel, code, intensity, statement, repetition, actor = match.groups()
        if channel == "02":
            found.skip(path, "is song, not speech")
            continue
        if modality != "03":
            found.skip(path, f"is of modality {modality}, not audio-only (03)")
            continue
        raw, emotion = EMOTIONS[code]
        found.add(
            replace(
                found.row(path, path.stem, actor),
                gender="M" if int(actor) % 2 else "F",
                emotion=emotion,
                emotion_raw=raw,
                intensity=INTENSITIES[intensity],
                sentence=statement,
                take=repetition,
                text=TEXTS[statement],
                language="en",
            )
        )
    return found.listing(LICENCE, CITE)
