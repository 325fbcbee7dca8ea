"""SAVEE: Surrey Audio-Visual Expressed Emotion, British English, acted (Haq & Jackson, 2010).

480 files of 4 men, 44.1 kHz, ``AudioData/DC/sa01.wav``: folder = speaker, letters = emotion, digits
= sentence of that emotion (15, and 30 for neutral). Copies that put the speaker before the name
(``DC_sa01.wav``) are read too.

The sentences of one emotion are the same for all speakers, which is what the sentence id says.
Three sentences are common to all emotions; the authors list them first, so numbers 1 to 3 of every
emotion are ``common1`` to ``common3``, parallel recordings on which models can be evaluated. (The
list is known second-hand, and which is said in a note; listen to one.) Twelve emotional ones recur
as neutral, but which numbers these have is not in the release: a split by text therefore shares
words between its parts; split by speaker. The release holds no texts. Known second-hand, from the
release's ``Info.txt`` and users.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from emovc.common.corpora.reading import Collection, Listing, find_audio

LICENCE = "free for research, on registration"
CITE = "Haq & Jackson, Multimodal emotion recognition, in Machine Audition, IGI Global, 2010"
LAYOUT = "AudioData/DC/sa01.wav"

# Letters: the corpus' label and the canonical one.
EMOTIONS: Final = {
    "a": ("anger", "angry"),
    "d": ("disgust", "disgust"),
    "f": ("fear", "fear"),
    "h": ("happiness", "happy"),
    "n": ("neutral", "neutral"),
    "sa": ("sadness", "sad"),
    "su": ("surprise", "surprise"),
}
NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?((sa|su|[adfhn])(\d\d))")
COMMON = 3  # sentences that are said in every emotion
SPEAKERS: Final = ("DC", "JE", "JK", "KL")


def read(root: Path) -> Listing:
    """Read the corpus."""
    found = Collection("savee", root)
    for path in find_audio(root):
        match = NAME.fullmatch(path.stem)
        speaker = (match[1] or path.parent.name) if match else ""
        if match is None or speaker not in SPEAKERS:
            found.skip(path, "is not named like DC/sa01")
            continue
        raw, emotion = EMOTIONS[match[3]]
        number = int(match[4])
        found.add(
            replace(
                found.row(path, f"{speaker}_{match[2]}", speaker),
                gender="M",
                emotion=emotion,
                emotion_raw=raw,
                sentence=f"common{number}" if 1 <= number <= COMMON else match[2],
                language="en",
            )
        )
    listing = found.listing(LICENCE, CITE)
    if any(u.sentence == "common1" for u in listing.utterances):
        found.skip(root, "numbers 01 to 03 count as the same three sentences in every emotion")
    return listing
