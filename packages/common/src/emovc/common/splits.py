"""Splits of a corpus into train, val and test, and guards against leaks between them."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from emovc.common.errors import UserError
from emovc.common.files import short_hash
from emovc.common.manifest import Split, Utterance
from emovc.common.split_drawing import USED, draw

Scheme = Literal["official", "text", "speaker", "random"]
Disjoint = Literal["speaker", "sentence"]
LONGEST_ID = 64


def assign_split(
    utterances: Sequence[Utterance],
    scheme: Scheme,
    seed: int = 0,
    val: float = 0.13,
    test: float = 0.13,
    test_speakers: Sequence[str] = (),
) -> list[Utterance]:
    """Give each utterance its part, whatever the order of the utterances.

    * ``official`` keeps the reader's parts; utterances without one become ``unused``.
    * ``text`` draws sentences: all recordings of a sentence are in one part, whoever speaks. Those
      without a sentence id become ``unused``, for nobody knows what they say.
    * ``speaker`` draws speakers, women and men by the same shares: of three or more there is one
      in each part, even if that makes it larger than asked.
    * ``random`` draws from each speaker and emotion; takes of one sentence by one speaker in one
      emotion stay together.

    Files with identical bytes are never parted; where ``official`` parts them, only those in test,
    or else in val, are used.

    ``test_speakers`` are never in train or val. Under ``text`` and ``official`` their test
    utterances stay in test, beside those of other speakers, and the rest of theirs is ``unused``,
    so that test stays disjoint in text. Under ``speaker`` they are the test part, whatever ``test``
    says. Under ``random`` all of theirs is in test, and the shares hold for the other speakers.

    Args:
        utterances: Utterances of one or more corpora.
        scheme: What is drawn.
        seed: Seed of the draw.
        val: Share of the utterances in val.
        test: Share of the utterances in test.
        test_speakers: Speakers, by their names in the manifest, that are only tested on.

    Returns:
        The utterances in the order given, with ``split`` and a ``split_id`` that names the rest.

    Raises:
        UserError: Shares or speakers are impossible, or there is too little to draw from.
    """
    _check(utterances, val, test, test_speakers)
    held = _held_out(utterances, test_speakers)
    if scheme == "official":
        parts = _official(utterances)
    else:
        parts = draw(utterances, scheme, seed, {"val": val, "test": test}, held)
    if scheme in ("official", "text"):
        parts = {i: p for i, p in parts.items() if i not in held or p == "test"}
        heard = {utterances[i].speaker for i, part in parts.items() if part == "test"}
        for speaker in sorted(set(test_speakers) - heard):
            raise UserError(f"test speaker {speaker} has no utterance in test; enlarge its share")
    drawn = None if scheme == "official" else f"{scheme}-{val:g}-{test:g}-s{seed}"
    return [
        replace(
            u,
            split=parts.get(i, "unused"),
            split_id=_split_id(drawn or u.split_id or "official", test_speakers),
        )
        for i, u in enumerate(utterances)
    ]


def speaker_material(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """What describes each speaker: his training utterances, or all of his if he has none."""
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for u in utterances:
        by_speaker[u.speaker].append(u)
    return {
        speaker: [u for u in own if u.split == "train"] or own
        for speaker, own in sorted(by_speaker.items())
    }


def find_leaks(utterances: Iterable[Utterance], disjoint: Collection[Disjoint] = ()) -> list[str]:
    """Describe what train, val and test share and must not, one line each.

    They must not share audio, nor (corpus, speaker, sentence, emotion, intensity, take) where the
    sentence is known.

    Args:
        utterances: Utterances with splits; those without one, or unused, are passed over.
        disjoint: What train and test must not share either.
    """
    rows = [u for u in utterances if u.split in USED]
    ends = [u for u in rows if u.split != "val"]
    leaks = _shared(rows, "have the same audio", lambda u: u.sha256)
    leaks += _shared(
        rows,
        "are the same sentence, speaker, emotion and take",
        lambda u: u.sentence and (u.corpus, u.speaker, u.sentence, u.emotion, u.intensity, u.take),
    )
    if "speaker" in disjoint:
        leaks += _shared(ends, "have the same speaker", lambda u: u.speaker)
    if "sentence" in disjoint:
        leaks += _shared(
            ends, "have the same sentence", lambda u: u.sentence and (u.corpus, u.sentence)
        )
    return leaks


def require_no_leaks(utterances: Iterable[Utterance], disjoint: Collection[Disjoint] = ()) -> None:
    """Refuse splits that leak, see :func:`find_leaks`.

    Raises:
        UserError: They do; the first leak and the number of them are named.
    """
    leaks = find_leaks(utterances, disjoint)
    if leaks:
        raise UserError(
            f"splits leak: {leaks[0]} ({len(leaks)} such in all);"
            " make the manifest again with emovc prepare"
        )


def require_splits(utterances: Sequence[Utterance], manifest: Path) -> None:
    """Refuse a manifest that can't be trained on: without splits, or with leaks between them.

    Raises:
        UserError: It can't be.
    """
    if all(u.split is None for u in utterances):
        raise UserError(f"{manifest}: has no splits; make it with emovc prepare")
    require_no_leaks(utterances)


def rows_of_split(utterances: Sequence[Utterance], split: str, manifest: Path) -> list[Utterance]:
    """Utterances of one split.

    Raises:
        UserError: It has none.
    """
    rows = [u for u in utterances if u.split == split]
    if not rows:
        raise UserError(f"{manifest}: split {split} is empty; prepare it with another split")
    return rows


def _shared(
    rows: Sequence[Utterance], what: str, key: Callable[[Utterance], Hashable]
) -> list[str]:
    """One line for each true value of ``key`` that occurs in several parts."""
    by_value: dict[Hashable, dict[str, Utterance]] = defaultdict(dict)
    for u in rows:
        if value := key(u):
            by_value[value].setdefault(str(u.split), u)
    found = [parts.values() for parts in by_value.values() if len(parts) > 1]
    return [" and ".join(f"{u.id} ({u.split})" for u in us) + f" {what}" for us in found]


def _check(
    utterances: Sequence[Utterance], val: float, test: float, test_speakers: Sequence[str]
) -> None:
    if not utterances:
        raise UserError("there are no utterances to split")
    if val < 0 or test < 0 or val + test >= 1:
        raise UserError(f"shares val={val} and test={test}: must be >= 0 and leave some for train")
    known = {u.speaker for u in utterances}
    for speaker in test_speakers:
        if speaker not in known:
            some = ", ".join(sorted(known)[:10])
            raise UserError(f"test speaker {speaker}: no such speaker; there are {some} ...")


def _held_out(utterances: Sequence[Utterance], test_speakers: Sequence[str]) -> set[int]:
    """Indices of what the test speakers said, under whatever name it is filed."""
    audio = {u.sha256 for u in utterances if u.speaker in test_speakers}
    return {i for i, u in enumerate(utterances) if u.sha256 in audio}


def _official(utterances: Sequence[Utterance]) -> dict[int, Split]:
    """The reader's parts by index, identical audio only in the first of test, val, train."""
    if all(u.split is None for u in utterances):
        raise UserError("the corpus has no official split; choose text, speaker or random")
    best: dict[str, Split] = {}
    for part in reversed(USED):
        best |= {u.sha256: part for u in utterances if u.split == part}
    return {
        i: u.split for i, u in enumerate(utterances) if u.split and best.get(u.sha256) == u.split
    }


def _split_id(name: str, test_speakers: Collection[str]) -> str:
    """Name of a split with its test speakers, or their number and hash where that is too long."""
    speakers = sorted(set(test_speakers))
    long = "-".join([name, *speakers])
    if len(long) <= LONGEST_ID:
        return long
    return f"{name}-{len(speakers)}speakers-{short_hash(speakers)}"
