"""Toy corpus: synthetic emotional speech of which F0, phones and their times are known.

Four voices speak the same English sentences in five emotions: espeak-ng says them, WORLD gives them
their prosody. The corpus is made where it is wanted, ``audio/<name>.flac`` with
``annotations/<name>.json`` and ``corpus.json``; docs/toy_corpus.md describes it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from emovc.common.corpora.reading import Collection, Listing
from emovc.common.corpora.toy_script import EMOTIONS, SENTENCES, VOICES
from emovc.common.errors import UserError
from emovc.common.files import read_json, short_hash, write_json
from emovc.common.manifest import Split
from emovc.common.prosody import FRAME_CENTRE, HOP_LENGTH, perform
from emovc.common.signals import in_processes
from emovc.common.synth import Prompt, Spoken, speak
from emovc.common.wav import write_wav

LICENCE = "none needed: synthetic speech"
CITE = "emovc; espeak-ng; Morise et al., WORLD, IEICE Transactions E99-D(7), 2016"
LAYOUT = "corpus.json, audio/anna_angry_s01.flac; name a folder that isn't there, and it is made"

FORMAT: Final = "emovc toy corpus"
DEFAULT_SENTENCES: Final = 12
RECIPE: Final = 1  # to be raised when a change of the code changes the audio
ESPEAK_PITCH_RANGE: Final = 0  # WORLD analyses an even pitch better, and the contour is replaced


@dataclass(frozen=True)
class Line:
    """One recording to be made.

    Attributes:
        name: Speaker, emotion and sentence.
        speaker: Key of ``VOICES``.
        emotion: Key of ``EMOTIONS``.
        sentence: ``s01`` and so on.
        text: What is said.
        split: Part of the official split.
    """

    name: str
    speaker: str
    emotion: str
    sentence: str
    text: str
    split: Split


def script(n_sentences: int) -> list[Line]:
    """All recordings, sentence by sentence: fewer sentences are a beginning of more.

    Of each six sentences the second is in val and the third in test.

    Args:
        n_sentences: Number of sentences.

    Raises:
        UserError: There are not so many sentences, or too few for three parts.
    """
    if not 3 <= n_sentences <= len(SENTENCES):
        raise UserError(
            f"n_sentences={n_sentences}: the toy corpus has 3 to {len(SENTENCES)} sentences"
        )
    parts: dict[int, Split] = {1: "val", 2: "test"}
    return [
        Line(f"{speaker}_{emotion}_s{i + 1:02}", speaker, emotion, f"s{i + 1:02}", text, part)
        for i, text in enumerate(SENTENCES[:n_sentences])
        for part in [parts.get(i % 6, "train")]
        for speaker in VOICES
        for emotion in EMOTIONS
    ]


def make_toy(folder: Path, n_sentences: int = DEFAULT_SENTENCES) -> None:
    """Make the toy corpus; what is there already is kept, what is missing is added.

    The same call gives the same bytes on the same machine and versions. Files of another recipe, or
    of more sentences, are removed.

    Args:
        folder: Where to; absent, empty, or a toy corpus, finished or not.
        n_sentences: Number of sentences, each said by 4 speakers in 5 emotions.

    Raises:
        UserError: The folder holds something else, the number is impossible, espeakng-loader is not
            installed, or the disk is full.
    """
    lines = script(n_sentences)
    names = [line.name for line in lines]
    before = _made_before(folder)
    recipe = short_hash([RECIPE, VOICES, {k: asdict(v) for k, v in EMOTIONS.items()}, SENTENCES])
    kept = set(names) if before.get("recipe") == recipe else set()
    todo = [n for n in names if n not in kept or not all(p.exists() for p in _paths(folder, n))]
    old = [row["name"] for row in before.get("utterances", [])]
    if before.get("complete") and not todo and old == names:
        return
    # Also for a few: what espeak-ng says depends on what it said before.
    spoken = dict(zip(names, speak([_prompt(line) for line in lines]), strict=True))
    for path in (p for n in old if n not in kept for p in _paths(folder, n)):
        path.unlink(missing_ok=True)
    header = {"format": FORMAT, "recipe": recipe, "complete": False}
    header["utterances"] = [asdict(line) for line in lines]
    write_json(folder / "corpus.json", header)
    _perform_all(folder, [line for line in lines if line.name in set(todo)], spoken)
    write_json(folder / "corpus.json", header | {"complete": True})


def make(root: Path) -> None:
    """Make the corpus, or complete the one that is there with as many sentences as it has."""
    sentences = {row["sentence"] for row in _made_before(root).get("utterances", [])}
    make_toy(root, len(sentences) or DEFAULT_SENTENCES)


def read(root: Path) -> Listing:
    """Read a corpus that was made before.

    Raises:
        UserError: The folder holds no toy corpus, or a half made one.
    """
    header = _made_before(root)
    if not header.get("complete"):
        raise UserError(f"{root}: holds no complete toy corpus; emovc prepare toy makes it")
    found = Collection("toy", root)
    for row in header["utterances"]:
        audio, _ = _paths(root, row["name"])
        found.add(
            replace(
                found.row(audio, row["name"], row["speaker"]),
                gender=VOICES[row["speaker"]].gender,
                emotion=row["emotion"],
                emotion_raw=row["emotion"],
                sentence=row["sentence"],
                text=row["text"],
                language="en",
                split=row["split"],
                split_id="toy-official",
            )
        )
    return found.listing(LICENCE, CITE)


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Audio and annotation of a recording."""
    return folder / "audio" / f"{name}.flac", folder / "annotations" / f"{name}.json"


def _made_before(folder: Path) -> dict[str, Any]:
    """``corpus.json`` of the folder, empty where there is nothing yet.

    Raises:
        UserError: The folder is a file or holds something else.
    """
    path = folder / "corpus.json"
    if not path.exists():
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UserError(f"{folder}: holds something else; name a new folder for the toy corpus")
        return {}
    header = read_json(path)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{path}: is not of a toy corpus; name a new folder for it")
    return header


def _prompt(line: Line) -> Prompt:
    voice, prosody = VOICES[line.speaker], EMOTIONS[line.emotion]
    rate = round(voice.rate * prosody.rate)
    return Prompt(line.text, voice.variant, rate, pitch_range=ESPEAK_PITCH_RANGE)


def _perform_all(folder: Path, lines: Sequence[Line], spoken: dict[str, Spoken]) -> None:
    """Write recordings from several processes, with a progress bar."""
    jobs = [(line, spoken[line.name]) for line in lines]
    in_processes(partial(_perform, folder), jobs, None, "making the toy corpus")


def _perform(folder: Path, job: tuple[Line, Spoken]) -> None:
    """Write one recording and what is known of it."""
    line, spoken = job
    voice, prosody = VOICES[line.speaker], EMOTIONS[line.emotion]
    rng = np.random.default_rng(zlib.crc32(line.name.encode()))
    made = perform(spoken, voice.f0_hz, prosody, rng)
    audio, annotation = _paths(folder, line.name)
    known = {
        "sample_rate": spoken.sample_rate,
        "hop_length": HOP_LENGTH,
        "frame_centre": FRAME_CENTRE,
        "f0_hz": [round(hz, 3) for hz in made.f0_hz.tolist()],
        "phones": [
            {"name": p.name, "start_s": round(p.start_s, 5), "end_s": round(p.end_s, 5)}
            for p in made.phones
        ],
    }
    write_wav(audio, made.wav, spoken.sample_rate)
    write_json(annotation, known)
