"""ESD: Emotional Speech Dataset, English and Mandarin, acted (Zhou et al., 2021, 2022).

35 000 files, 16 kHz: speakers 0001-0010 are Mandarin and 0011-0020 English, each says 350 sentences
of his language in 5 emotions. ``0011/Angry/0011_000351.wav``, or in the first release with a folder
more, ``0011/Angry/train/0011_000351.wav`` (train, evaluation, test); copies write them in lower
case, with blanks at their ends, or ``Surprised``. Numbers run in blocks of 350 (neutral, angry,
happy, sad, surprise), so n = (number - 1) mod 350 + 1 is the sentence, the same for all emotions
and all speakers of a language.

Official split, by position in each block: 1-20 evaluation (our val), 21-50 test, 51-350 train. (A
variant with 30 and 20 circulates, known second-hand.)

Transcripts ``0011/0011.txt``: number, tab, text, tab, emotion (in Mandarin files in Chinese). Their
encodings are mixed: ASCII, UTF-8, UTF-16 with and without byte-order mark, GB 2312, Latin-1; some
lines are separated by spaces, lack a field or are absent; in some the words differ between a
speaker's emotions. Texts are taken as they are, and what looks wrong is reported.

Layout, encodings and Chinese labels are known second-hand, from users' scripts and the authors'
issue tracker; the corpus itself was not at hand.
"""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Final

from emovc.common.corpora.reading import (
    Collection,
    Listing,
    find_audio,
    lines_of,
    read_text,
    words_of,
)
from emovc.common.manifest import Split

LICENCE = "research only, on a signed form"
CITE = (
    "Zhou, Sisman, Liu & Li, Emotional voice conversion: theory, databases and ESD,"
    " Speech Communication 137, 2022"
)
LAYOUT = "0011/Angry/0011_000351.wav and 0011/0011.txt"
SPLIT_ID = "esd-300-20-30"

EMOTIONS: Final = {
    "Neutral": "neutral",
    "Angry": "angry",
    "Happy": "happy",
    "Sad": "sad",
    "Surprise": "surprise",
}
# Folders as people have them, in lower case: copies have other case, blanks, or another word.
FOLDERS: Final = {**{name.lower(): name for name in EMOTIONS}, "surprised": "Surprise"}
# Last field of a transcript line.
LABELS: Final = {
    **FOLDERS,
    "中立": "Neutral",
    "生气": "Angry",
    "快乐": "Happy",
    "伤心": "Sad",
    "惊喜": "Surprise",
}
MEN: Final = (4, 5, 6, 8, 10, 11, 12, 13, 14, 20)
BLOCK: Final = 350
PARTS: Final[dict[str, Split]] = {"evaluation": "val", "test": "test", "train": "train"}
# Some English files were written on a Chinese system, which shows in their quotation marks.
LEGACY: Final = {"zh": ("gb18030",), "en": ("gb2312", "cp1252")}
NAME = re.compile(r"(00(?:0[1-9]|1[0-9]|20))_(\d{6})")
LINE = re.compile(r"\s*(\d{4}_\d{6})\s*(.*?)\s*")

Transcripts = dict[str, str]


def position(number: int) -> int:
    """Place of a recording in its block of 350, from 1: the sentence."""
    return (number - 1) % BLOCK + 1


def official_part(place: int) -> Split:
    """Part of the official split that a place in a block belongs to."""
    return "val" if place <= 20 else "test" if place <= 50 else "train"


def read(root: Path) -> Listing:
    """Read both languages."""
    found = Collection("esd", root)
    transcripts: dict[Path, Transcripts] = {}
    for path in find_audio(root):
        match = NAME.fullmatch(path.stem)
        inner = path.parent.name.strip().lower()
        folder = path.parent.parent if inner in PARTS else path.parent
        raw = FOLDERS.get(folder.name.strip().lower())
        if match is None or raw is None or not 1 <= int(match[2]) <= 5 * BLOCK:
            found.skip(path, "is not named like 0011/Angry/0011_000351")
            continue
        speaker, place = match[1], position(int(match[2]))
        language = "zh" if int(speaker) <= 10 else "en"
        table = folder.parent / f"{speaker}.txt"
        if table not in transcripts:
            transcripts[table] = _transcripts(table, language, found)
        text = transcripts[table].get(path.stem)
        if text is None and transcripts[table]:
            found.skip(path, "has no text in the transcript; kept without text")
        part = official_part(place)
        if PARTS.get(inner, part) != part:
            what = f"lies in {path.parent.name} but is number {place} of its block, which is {part}"
            found.skip(path, f"{what}; the number counts")
        found.add(
            replace(
                found.row(path, path.stem, speaker),
                gender="M" if int(speaker) in MEN else "F",
                emotion=EMOTIONS[raw],
                emotion_raw=raw,
                sentence=f"{language}{place:03d}",
                text=text,
                language=language,
                split=part,
                split_id=SPLIT_ID,
            )
        )
    return found.listing(LICENCE, CITE)


def _transcripts(path: Path, language: str, found: Collection) -> Transcripts:
    """Texts by recording of one speaker; anomalies are reported."""
    if not path.is_file():
        found.skip(path, "is not there; the speaker is kept without texts")
        return {}
    content, encoding = read_text(path, LEGACY[language])
    if "\ufffd" in content:
        found.skip(path, f"holds characters that can't be read as {encoding}")
    texts: Transcripts = {}
    for number, line in enumerate(lines_of(content), 1):
        match = LINE.fullmatch(line)
        if match is None:
            if line.strip():
                found.skip(path, f"line {number} doesn't begin with a recording: {line.strip()!r}")
            continue
        text, label = _text_and_label(match[2])
        if text:
            texts[match[1]] = text
        block = (int(match[1][5:]) - 1) // BLOCK
        if label is not None and label != dict(enumerate(EMOTIONS)).get(block):
            found.skip(path, f"line {number} calls {match[1]} {label}; the folder counts")
    _report_differences(path, texts, found)
    return texts


def _text_and_label(rest: str) -> tuple[str, str | None]:
    """Text and emotion of a line without its number; tabs or spaces may stand between them."""
    text, _, last = rest.rpartition("\t" if "\t" in rest else " ")
    label = LABELS.get(last.strip().lower())
    return (text.strip(), label) if label else (rest.replace("\t", " ").strip(), None)


def _report_differences(path: Path, texts: Transcripts, found: Collection) -> None:
    """Tell where a speaker's emotions have different words for the same sentence."""
    by_place: dict[int, dict[str, str | None]] = defaultdict(dict)
    for name, text in texts.items():
        by_place[position(int(name[5:]))][name] = words_of(text)
    for _, words in sorted(by_place.items()):
        counts = [list(words.values()).count(w) for w in words.values()]
        if counts and min(counts) < len(words):
            usual = list(words.values())[counts.index(max(counts))]
            odd = [name for name, w in words.items() if w != usual]
            found.skip(path, f"words of {', '.join(odd)} differ from the same sentence's elsewhere")
