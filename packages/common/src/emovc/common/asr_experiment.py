"""``emovc reproduce asr``: word errors of recordings and of what vocoders make of them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from torch import nn

from emovc.common.asr_report import Transcript, write_tables
from emovc.common.audio import LogMel
from emovc.common.checked_values import read_checked
from emovc.common.conversion import Vocoder
from emovc.common.convert import load_vocoder
from emovc.common.errors import UserError
from emovc.common.files import sha256_of, short_hash, write_json
from emovc.common.griffin_lim import GriffinLim
from emovc.common.judges.intelligibility import Intelligibility, normalise
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.panel import read_judges
from emovc.common.progress import progress
from emovc.common.spread import choose_spread
from emovc.common.vocoder import HiFiGAN
from emovc.common.wav import read_wav
from emovc.common.weights import weights_hash

RECOGNISERS = Path(__file__).parent / "judges" / "asr.yaml"
RECORDING, GRIFFIN_LIM, SHIPPED = "recording", "griffin-lim", "shipped"


class Row(NamedTuple):
    """One kind of speech of the table.

    Attributes:
        name: Its name.
        vocoder: What synthesizes it from the mel of a recording, or nothing for the recording.
        identity: Hash of the vocoder's classes, settings and weights.
    """

    name: str
    vocoder: Vocoder | None
    identity: str


def asr(
    manifests: list[Path],
    out: Path = Path("runs/asr"),
    rows: list[str] | None = None,
    networks: list[str] | None = None,
    judges: Path | None = None,
    split: str = "test",
    utterances: int = 60,
    batch_size: int = 8,
    seed: int = 0,
) -> None:
    """Word and character error rates of recordings and of their copy-synthesis.

    Transcripts that were made before are kept, so a second call goes on, and adds rows.

    Args:
        manifests: Manifests of corpora, with texts and languages.
        out: Folder for tables, JSON, and the transcripts.
        rows: Kinds of speech: recording, griffin-lim, shipped (the vocoder that comes with emovc),
            or the folder of a HiFi-GAN, as FOLDER or NAME=FOLDER; by default the first two.
        networks: Folders of HiFi-GANs that synthesize mels as they are, without bringing them to
            the level they learned, as FOLDER or NAME=FOLDER.
        judges: YAML file that lists the recognisers as judges (Intelligibility); by default
            Whisper where it is on this machine, and PocketSphinx for English.
        split: Part of the manifests.
        utterances: Recordings of each corpus; speakers and emotions take turns.
        batch_size: Recordings recognised together.
        seed: Seed of the choice.
    """
    if utterances < 1 or batch_size < 1:
        raise UserError("--utterances and --batch_size: give 1 or more")
    chosen = {path: choose(path, split, utterances, seed) for path in manifests}
    languages = {u.language for own in chosen.values() for u in own if u.language}
    recognisers, left_out = read_recognisers(judges or RECOGNISERS, languages)
    frontend = LogMel()
    kinds = read_rows(rows or [RECORDING, GRIFFIN_LIM], networks or [], frontend)
    found = []
    for own in chosen.values():
        for row in kinds:
            found += transcribe(own, row, recognisers, frontend, out / "parts", batch_size)
    settings = {
        "manifests": {str(path): sha256_of(path) for path in manifests},
        "split": split,
        "utterances": utterances,
        "seed": seed,
        "rows": {row.name: row.identity for row in kinds},
        "recognisers": {judge.name: judge.about for judge in recognisers},
        "left_out": left_out,
    }
    sys.stdout.write(write_tables(out, found, settings) + f"\n\n{out}\n")


def choose(manifest: Path, split: str, utterances: int, seed: int) -> list[Utterance]:
    """Utterances of a part with a text and a language.

    Raises:
        UserError: There are none.
    """
    own = [u for u in read_manifest(manifest) if u.split == split]
    if not own:
        raise UserError(f"{manifest}: split {split} is empty; give --split train, val or test")
    own = [u for u in own if u.language and normalise(u.text or "")]
    if not own:
        raise UserError(
            f"{manifest}: split {split} has no text with a language; fill in both columns"
        )
    return choose_spread(own, utterances, seed)


def read_recognisers(path: Path, languages: set[str]) -> tuple[list[Intelligibility], list[str]]:
    """Recognisers of a file of judges that know one of the languages, and what was left out.

    Raises:
        UserError: The file lists another judge, or none remains.
    """
    judges, left_out = read_judges(path, languages)
    recognisers = [judge for judge in judges if isinstance(judge, Intelligibility)]
    others = [judge.name for judge in judges if not isinstance(judge, Intelligibility)]
    if others:
        raise UserError(f"{path}: {others[0]} recognises no words; list Intelligibility only")
    if not recognisers:
        raise UserError(f"{path}: no recogniser is left: {'; '.join(left_out)}")
    twice = {j.name for j in recognisers if [k.name for k in recognisers].count(j.name) > 1}
    if twice:
        raise UserError(f"{path}: {min(twice)} stands twice; give one of them another name")
    return recognisers, left_out


def read_rows(rows: Sequence[str], networks: Sequence[str], frontend: LogMel) -> list[Row]:
    """Kinds of speech by their names, see :func:`asr`.

    Raises:
        UserError: A vocoder can't be loaded or is of another mel, or two rows have one name.
    """
    found = []
    for text in rows:
        name, _, folder = text.rpartition("=")
        vocoder: Vocoder | None
        if text == RECORDING:
            vocoder = None
        elif text == GRIFFIN_LIM:
            vocoder = GriffinLim(frontend)
        else:
            vocoder = load_vocoder(None if text == SHIPPED else Path(folder), frontend, "cpu")
        found.append(Row(name or folder, vocoder, _identity(vocoder)))
    for text in networks:
        name, _, folder = text.rpartition("=")
        network = HiFiGAN.from_pretrained(folder)
        network.require_mel(frontend)
        found.append(Row(name or f"{folder}, as is", network, _identity(network)))
    names = [row.name for row in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"--rows: {twice[0]} stands twice; write NAME=FOLDER with another NAME")
    return found


def _identity(vocoder: Vocoder | None) -> str:
    """Hash of all that the waveforms of a vocoder depend on."""
    if not isinstance(vocoder, nn.Module):
        return short_hash(type(vocoder).__name__)
    parts = [
        [type(part).__name__, {k: v for k, v in vars(part).items() if _is_setting(k, v)}]
        for part in vocoder.modules()
    ]
    return short_hash([parts, weights_hash(vocoder)])


def _is_setting(name: str, value: Any) -> bool:
    """Whether an attribute of a module is a plain setting."""
    public = not name.startswith("_") and name not in ("training", "pretrained")
    return public and isinstance(value, int | float | str)


def transcribe(
    utterances: Sequence[Utterance],
    row: Row,
    recognisers: Sequence[Intelligibility],
    frontend: LogMel,
    parts: Path,
    batch_size: int,
) -> list[Transcript]:
    """Transcripts of one kind of speech by all recognisers that know its language.

    Args:
        utterances: The recordings.
        row: The kind of speech.
        recognisers: The recognisers.
        frontend: Mel of the vocoder.
        parts: Folder of the transcripts, one JSON file each; those that are there are read.
        batch_size: Recordings recognised together.
    """
    jobs = [(judge, u) for judge in recognisers for u in utterances if _knows(judge, u)]
    places = {(j.name, u.id): parts / f"{_key(j, u, row)}.json" for j, u in jobs}
    todo = [u for u in utterances if any(_missing(places, judge, u) for judge in recognisers)]
    starts = range(0, len(todo), batch_size)
    for start in progress(starts, f"{utterances[0].corpus}: {row.name}", len(starts)):
        batch = todo[start : start + batch_size]
        clips = {u.id: speech(u, row, frontend) for u in batch}
        for judge in recognisers:
            own = [u for u in batch if _missing(places, judge, u)]
            for u, done in zip(own, _recognise(judge, own, clips), strict=True):
                write_json(places[judge.name, u.id], {"id": u.id, "row": row.name, **done})
    return [
        Transcript(u.corpus, row.name, judge.name, u.id, u.speaker, u.emotion,
                   normalise(str(u.text)), **_read(places[judge.name, u.id]))
        for judge, u in jobs
    ]  # fmt: skip


def speech(utterance: Utterance, row: Row, frontend: LogMel) -> tuple[np.ndarray, int]:
    """Waveform (N,) of an utterance as one kind of speech, and its rate in Hz."""
    if row.vocoder is None:
        return read_wav(utterance.path)
    wav, rate = read_wav(utterance.path, frontend.sample_rate)
    with torch.inference_mode():
        synthesized = row.vocoder(frontend(torch.from_numpy(wav)[None]))[0]
    return synthesized.clamp(-1, 1).numpy(), rate


def _recognise(
    judge: Intelligibility, own: Sequence[Utterance], clips: dict[str, tuple[np.ndarray, int]]
) -> list[dict[str, Any]]:
    """Transcript of each utterance, or why there is none."""
    if not own:
        return []
    wavs, rates = zip(*(clips[u.id] for u in own), strict=True)
    if len(set(rates)) == 1:
        try:
            texts = judge.hear_batch(wavs, rates[0], [u.language for u in own])
            return [{"transcript": text} for text in texts]
        except UserError:
            pass  # one of them: it is found below
    found: list[dict[str, Any]] = []
    for u in own:
        try:
            found.append({"transcript": judge.hear_batch([clips[u.id][0]], clips[u.id][1],
                                                         [u.language])[0]})  # fmt: skip
        except UserError as error:
            found.append({"transcript": None, "gap": str(error)})
    return found


def _knows(judge: Intelligibility, utterance: Utterance) -> bool:
    """Whether a recogniser knows the language of an utterance."""
    return utterance.language in judge.recogniser.languages


def _missing(places: dict[tuple[str, str], Path], judge: Intelligibility, u: Utterance) -> bool:
    """Whether a recogniser that knows the language has not done an utterance."""
    return _knows(judge, u) and not places[judge.name, u.id].exists()


def _key(judge: Intelligibility, utterance: Utterance, row: Row) -> str:
    """Hash of all that a transcript depends on.

    Where the recogniser lies is none of it, nor how texts are compared, which is done when they are
    read.
    """
    about = {k: v for k, v in judge.about.items() if k not in ("source", "normaliser")}
    return short_hash([utterance.sha256, utterance.language, row.identity, judge.name, about])


class _Part(TypedDict):
    transcript: str | None
    gap: NotRequired[str | None]


def _read(path: Path) -> dict[str, Any]:
    """Transcript and gap of a finished part."""
    done: _Part = read_checked(path, _Part, "remove it, and give the same command again")
    text = done["transcript"]
    return {"transcript": None if text is None else normalise(text), "gap": done.get("gap")}
