"""Phones of an utterance and their times: of an aligner, of EMO-DB's phoneticians, of the toy."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.manifest import Utterance

PhoneSource = Literal["textgrid", "emodb", "toy"]
SILENCE = "sil"  # what an aligner's interval without a label is
SLACK_S = 0.02  # times are rounded, and resampled copies of audio lose a few samples


class Phone(NamedTuple):
    """A phone that was said.

    Attributes:
        label: What it is, in the alphabet of its source.
        start_s: Where it begins, in s.
        end_s: Where it ends, in s.
    """

    label: str
    start_s: float
    end_s: float


def find_phones(
    utterance: Utterance, source: PhoneSource, folder: Path | None = None
) -> list[Phone] | None:
    """Phones of an utterance, checked against its length.

    Args:
        utterance: The utterance, at the times of the labelled audio: not trimmed since.
        source: Who labelled it: ``textgrid`` a forced aligner, ``emodb`` EMO-DB's authors by hand,
            ``toy`` the toy corpus itself.
        folder: Folder of the labels; of ``emodb`` and ``toy`` by default the one that the corpus
            keeps beside that of its audio.

    Returns:
        Phones in order of time; ``None`` if there are none of this utterance.

    Raises:
        UserError: The labels are damaged, or don't fit the audio.
    """
    path = next((p for p in label_files(utterance, source, folder) if p.is_file()), None)
    if path is None:
        return None
    if source == "emodb":
        phones = read_lablaut(path, utterance.seconds)
    else:
        phones = read_textgrid(path) if source == "textgrid" else read_toy(path)
    require_in_order(phones, utterance.seconds, path)
    return phones or None


def label_files(utterance: Utterance, source: PhoneSource, folder: Path | None) -> list[Path]:
    """Where the labels of an utterance may lie, the best place first.

    Raises:
        UserError: TextGrids are asked for without a folder.
    """
    audio, stem = utterance.path, utterance.path.stem
    if source == "toy":
        return [(folder or audio.parent.parent / "annotations") / f"{stem}.json"]
    if source == "emodb":
        labels = folder or audio.parent.parent / "lablaut"
        return [labels / f"{stem}xx.lablaut", labels / f"{stem}.lablaut"]
    if folder is None:
        raise UserError("source textgrid: needs --folder, the aligner's folder of TextGrids")
    name = utterance.id.partition("/")[2]
    places = [folder / name, folder / audio.parent.name / stem, folder / stem]
    return [place.with_name(f"{place.name}.TextGrid") for place in places]


def read_textgrid(path: Path, tier: str = "phones") -> list[Phone]:
    """Read a tier of intervals of a Praat TextGrid, in its long or short text format.

    Args:
        path: The TextGrid, as the Montreal Forced Aligner writes it.
        tier: Name of the tier. Intervals without a label are silences, ``sil``.

    Raises:
        UserError: It is no TextGrid, or has no such tier.
    """
    words = _praat_values(path)
    tiers: dict[str, list[Phone]] = {}
    try:
        if words[:2] != ["ooTextFile", "TextGrid"]:
            raise ValueError
        at = 5  # after the times of the whole and the number of tiers
        for _ in range(int(words[4])):
            kind, name, count = words[at], words[at + 1], int(words[at + 4])
            width = 3 if kind == "IntervalTier" else 2  # or points: a time and a mark
            rows = [words[i : i + width] for i in range(at + 5, at + 5 + width * count, width)]
            if kind == "IntervalTier":
                tiers[name] = [
                    Phone(r[2].strip() or SILENCE, float(r[0]), float(r[1])) for r in rows
                ]
            at += 5 + width * count
    except (ValueError, IndexError):
        raise UserError(
            f"{path}: is no TextGrid in Praat's text format; write it anew with the aligner"
        ) from None
    if tier not in tiers:
        raise UserError(
            f"{path}: has no tier {tier!r} of intervals, but {', '.join(tiers) or 'none'}"
        )
    return tiers[tier]


def read_lablaut(path: Path, seconds: float) -> list[Phone]:
    """Read hand labels of EMO-DB; there are none in some files.

    Each row has the time at which a label begins (so says the sound: bursts are where the releases
    are), its SAMPA symbol (``_t`` the closure of a stop, ``!t`` its release, ``.`` the end of what
    is said), and remarks such as ``+nas`` on how it was said, which are left out. A row of remarks
    alone goes on with the symbol before.

    Args:
        path: The file.
        seconds: Length of the recording in s, at which the last label ends.

    Raises:
        UserError: A row is something else.
    """
    rows = path.read_text(encoding="latin-1").partition("\n#")[2].splitlines()
    starts: list[tuple[str, float]] = []
    for row in filter(str.strip, rows):
        match = re.match(r"\s*(\d+\.\d+)\s+-?\d+ *([^\s+\-\[,]*)", row)
        if match is None:
            raise UserError(f"{path}: row {row.strip()!r} is no label; copy the file again")
        if match[2]:
            starts.append((match[2], float(match[1])))
    times = [*(start_s for _, start_s in starts), seconds]
    return [Phone(label, *span) for (label, _), span in zip(starts, pairwise(times), strict=True)]


def read_toy(path: Path) -> list[Phone]:
    """Read the phones that the toy corpus' annotation tells.

    Raises:
        UserError: It is no such annotation.
    """
    try:
        rows = read_json(path)["phones"]
        return [Phone(row["name"], float(row["start_s"]), float(row["end_s"])) for row in rows]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path}: is no annotation of the toy corpus; make it with emovc prepare toy"
        ) from None


def require_in_order(phones: Sequence[Phone], seconds: float, path: Path) -> None:
    """Refuse phones that overlap, are empty, or lie outside the audio.

    Args:
        phones: Phones of an utterance.
        seconds: Its length in s.
        path: Their file, for the message.

    Raises:
        UserError: One is named with its times.
    """
    before_s = 0.0
    for phone in phones:
        times = f"{path}: phone {phone.label!r} from {phone.start_s:.3f} to {phone.end_s:.3f} s"
        if not phone.start_s < phone.end_s:
            raise UserError(f"{times} has no duration; label the file anew")
        if phone.start_s < before_s - 1e-4:
            raise UserError(f"{times} begins before {before_s:.3f} s; label the file anew")
        if phone.end_s > seconds + SLACK_S:
            raise UserError(
                f"{times} ends after the audio, which has {seconds:.3f} s; use the labels of this"
                " very recording, not trimmed"
            )
        before_s = phone.end_s


def _praat_values(path: Path) -> list[str]:
    """Texts and free-standing numbers of a file of Praat, which are all that counts in it."""
    data = path.read_bytes()
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is neither UTF-8 nor UTF-16; save it as UTF-8 in Praat") from None
    found = re.finditer(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d[\d.eE+-]*)(?!\S)', text)
    return [m[2] if m[1] is None else m[1].replace('""', '"') for m in found]
