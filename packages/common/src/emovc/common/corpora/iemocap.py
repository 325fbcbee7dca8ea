"""IEMOCAP: Interactive Emotional Dyadic Motion Capture Database, English (Busso et al., 2008).

10 039 turns of 10 actors in 5 sessions of a woman and a man, 16 kHz:
``Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav``. The first letter is who wore the
markers, the last who speaks. Dialogues are improvised (``impro`` in the name) or scripted
(``script``). ``dialog/EmoEvaluation/Ses01F_impro01.txt`` holds a line per turn: times, name, the
raters' common label, means of valence, activation and dominance from 1 to 5;
``dialog/transcriptions`` holds the words, among which events such as [LAUGHTER] are left out.

Ratings are mapped to 1..7 by 1 + 1.5 (x - 1) and clipped there (a few means exceed 5). Excited
(``exc``) counts as happy, as is usual; ``emotion_raw`` tells them apart. Frustrated, other and no
agreement (``fru``, ``oth``, ``xxx``) have no canonical emotion. Turns have no sentence id: no two
are meant to have the same words. Whole dialogues (``dialog/wav``) are not read. All this is known
second-hand, from users' scripts that read the release; the corpus itself was not at hand.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from emovc.common.corpora.reading import (
    Collection,
    Listing,
    find_audio,
    find_files,
    lines_of,
    one_line,
    read_text,
)

LICENCE = "research only, on a release form of USC"
CITE = (
    "Busso et al., IEMOCAP: interactive emotional dyadic motion capture database,"
    " Language Resources and Evaluation 42, 2008"
)
LAYOUT = (
    "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav and"
    " Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
)

EMOTIONS: Final = {
    "neu": "neutral",
    "ang": "angry",
    "hap": "happy",
    "exc": "happy",
    "sad": "sad",
    "sur": "surprise",
    "fea": "fear",
    "dis": "disgust",
    "fru": None,
    "oth": None,
    "xxx": None,
}
EVENT = re.compile(r"\[[^\]]*\]")  # [LAUGHTER], [BREATHING], [GARBAGE]: heard, but no words
NAME = re.compile(r"Ses(0[1-5])[FM]_(?:impro|script)\w+_([FM])\w*\d+")
LABEL = re.compile(r"\[[\d.]+ - [\d.]+\]\s+(\w+)\s+(\w+)\s+\[([\d.]+),\s*([\d.]+),\s*([\d.]+)\]")
TURN = re.compile(r"(Ses\w+)\s+\[[\d.]+-[\d.]+\]:\s*(.*?)\s*")


class Rating(NamedTuple):
    """What the raters said of a turn, dimensions from 1 to 7."""

    label: str
    valence: float
    arousal: float
    dominance: float


def seven_point(rating: float) -> float:
    """A mean rating from 1..5 on the scale from 1 to 7."""
    return min(max(1 + 1.5 * (rating - 1), 1.0), 7.0)


def read(root: Path) -> Listing:
    """Read the turns of all sessions."""
    found = Collection("iemocap", root)
    ratings = _ratings(root)
    texts = _texts(root)
    for path in find_audio(root):
        if path.parts[-4:-2] != ("sentences", "wav"):
            continue
        match = NAME.fullmatch(path.stem)
        if match is None:
            found.skip(path, "is not named like Ses01F_impro01_F000")
            continue
        rating = ratings.get(path.stem)
        if rating is None or rating.label not in EMOTIONS:
            found.skip(path, "has no label, or an unknown one, in dialog/EmoEvaluation")
            continue
        if path.stem not in texts:
            found.skip(path, "has no words in dialog/transcriptions; kept without text")
        found.add(
            replace(
                found.row(path, path.stem, f"Ses{match[1]}{match[2]}"),
                gender=match[2],
                emotion=EMOTIONS[rating.label],
                emotion_raw=rating.label,
                arousal=rating.arousal,
                valence=rating.valence,
                dominance=rating.dominance,
                text=texts.get(path.stem),
                language="en",
            )
        )
    return found.listing(LICENCE, CITE)


def _ratings(root: Path) -> dict[str, Rating]:
    """Ratings by turn; folders inside EmoEvaluation hold single raters' files and don't count."""
    ratings = {}
    for path in find_files(root, ".txt"):
        if path.parent.name != "EmoEvaluation":
            continue
        for line in lines_of(read_text(path).content):
            if match := LABEL.match(line):
                valence, arousal, dominance = (seven_point(float(match[i])) for i in (3, 4, 5))
                ratings[match[1]] = Rating(match[2], valence, arousal, dominance)
    return ratings


def _texts(root: Path) -> dict[str, str]:
    """Words by turn."""
    texts = {}
    for path in find_files(root, ".txt"):
        if path.parent.name == "transcriptions":
            for line in lines_of(read_text(path).content):
                match = TURN.fullmatch(line.rstrip())
                if match and (words := one_line(EVENT.sub(" ", match[2]))):
                    texts[match[1]] = words
    return texts
