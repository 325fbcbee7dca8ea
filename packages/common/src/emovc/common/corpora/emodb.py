"""EMO-DB: Berlin Database of Emotional Speech, German, acted (Burkhardt et al., 2005).

535 files of 10 actors, 16 kHz, ``wav/03a01Fa.wav``: speaker (2 digits), text (letter and 2 digits),
emotion (letter of the German word), version (letter). The versions are takes that survived a
perception test, so their letters have gaps. Folders other than ``wav`` hold labels or laryngograms
(release 2.0), not speech. Copies with other capitals, or ``xx`` before the ending, are found.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from emovc.common.corpora.reading import (
    Collection,
    Listing,
    find_audio,
    from_own_folder,
)

LICENCE = "free for research"
CITE = "Burkhardt et al., A database of German emotional speech, Interspeech 2005"
LAYOUT = "wav/03a01Fa.wav"

# Letter of the German word: the corpus' label and the canonical one.
EMOTIONS: Final = {
    "W": ("anger", "angry"),
    "L": ("boredom", "bored"),
    "E": ("disgust", "disgust"),
    "A": ("fear", "fear"),
    "F": ("happiness", "happy"),
    "T": ("sadness", "sad"),
    "N": ("neutral", "neutral"),
}
GENDERS: Final = {
    "03": "M",
    "08": "F",
    "09": "F",
    "10": "M",
    "11": "M",
    "12": "M",
    "13": "F",
    "14": "F",
    "15": "M",
    "16": "F",
}
TEXTS: Final = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z])(?:xx)?", re.IGNORECASE)


def read(root: Path) -> Listing:
    """Read the corpus."""
    found = Collection("emodb", root)
    for path in from_own_folder(find_audio(root), "wav", found):
        match = NAME.fullmatch(path.stem)
        if match is None:
            found.skip(path, "is not named like 03a01Fa")
            continue
        speaker, sentence, letter, version = match.groups()
        sentence, letter, version = sentence.lower(), letter.upper(), version.lower()
        if speaker not in GENDERS or sentence not in TEXTS:
            found.skip(path, f"speaker {speaker} or text {sentence} is not of this corpus")
            continue
        raw, emotion = EMOTIONS[letter]
        found.add(
            replace(
                found.row(path, f"{speaker}{sentence}{letter}{version}", speaker),
                gender=GENDERS[speaker],
                emotion=emotion,
                emotion_raw=raw,
                sentence=sentence,
                take=version,
                text=TEXTS[sentence],
                language="de",
            )
        )
    return found.listing(LICENCE, CITE)
