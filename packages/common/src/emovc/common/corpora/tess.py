"""TESS: Toronto emotional speech set, English, acted (Pichora-Fuller & Dupuis, 2020).

2800 files of 2 women, about 24.4 kHz, ``OAF_angry/OAF_back_angry.wav``: speaker (OAF is the older,
YAF the younger actress), word, emotion (``ps`` is pleasant surprise). Each says "Say the word ..."
with 200 words. Known second-hand; one file is misnamed ``OA_bite_neutral``.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from emovc.common.corpora.reading import Collection, Listing, find_audio

LICENCE = "CC BY-NC-ND 4.0"
CITE = "Pichora-Fuller & Dupuis, Toronto emotional speech set (TESS), doi:10.5683/SP2/E8H2MF, 2020"
LAYOUT = "OAF_angry/OAF_back_angry.wav"

EMOTIONS: Final = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}
SPEAKERS: Final = {"OAF": "OAF", "YAF": "YAF", "OA": "OAF"}
NAME = re.compile(r"(OAF|YAF|OA)_([A-Za-z]+)_([A-Za-z]+)")


def read(root: Path) -> Listing:
    """Read the corpus."""
    found = Collection("tess", root)
    for path in find_audio(root):
        match = NAME.fullmatch(path.stem)
        if match is None or match[3] not in EMOTIONS:
            found.skip(path, "is not named like OAF_back_angry")
            continue
        speaker, word, raw = SPEAKERS[match[1]], match[2].lower(), match[3]
        found.add(
            replace(
                found.row(path, f"{speaker}_{word}_{raw}", speaker),
                gender="F",
                emotion=EMOTIONS[raw],
                emotion_raw=raw,
                sentence=word,
                text=f"Say the word {word}.",
                language="en",
            )
        )
    return found.listing(LICENCE, CITE)
