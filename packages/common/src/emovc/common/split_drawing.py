"""Drawing the parts of a split: what must stay together, and who gets how much."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from emovc.common.errors import UserError
from emovc.common.manifest import Split, Utterance

Drawn = Literal["text", "speaker", "random"]
USED: tuple[Split, ...] = ("test", "val", "train")  # the order in which parts are served
UNITS = {"text": "sentences", "speaker": "speakers", "random": "utterances"}


class Group(NamedTuple):
    """Utterances that must stay together.

    Attributes:
        key: What they share; decides the order of drawing.
        stratum: Where the shares are to hold, as far as possible.
        members: Indices of the utterances.
    """

    key: str
    stratum: str
    members: list[int]


def draw(
    utterances: Sequence[Utterance],
    scheme: Drawn,
    seed: int,
    shares: dict[Split, float],
    held: set[int],
) -> dict[int, Split]:
    """Draw a part for each utterance, see :func:`emovc.common.splits.assign_split`.

    Args:
        utterances: Utterances; their order doesn't matter.
        scheme: What is drawn.
        seed: Seed of the draw.
        shares: Shares of val and test.
        held: Indices of what only may be tested on.

    Returns:
        Part by index; what can't be drawn is absent.

    Raises:
        UserError: There is too little to draw from.
    """
    groups = _groups(utterances, scheme)
    parts: dict[int, Split] = {}
    if held and scheme != "text":
        parts = {i: "test" for g in groups if held & set(g.members) for i in g.members}
        groups = [g for g in groups if not held & set(g.members)]
        if scheme == "speaker":
            shares = {**shares, "test": 0.0}
    served = [part for part in USED if part == "train" or shares[part] > 0]
    groups.sort(key=lambda g: hashlib.sha256(f"{seed}/{g.key}".encode()).digest())
    free = groups
    for n, part in enumerate(served[:-1], 1):
        chosen = _choose(free, groups, shares[part], len(served) - n, scheme == "speaker")
        parts |= {i: part for g in chosen for i in g.members}
        gone = {g.key for g in chosen}
        free = [g for g in free if g.key not in gone]
    parts |= {i: "train" for g in free for i in g.members}
    if not set(served) <= set(parts.values()):
        raise UserError(
            f"{scheme} split: {len(groups)} {UNITS[scheme]} are too few for"
            f" {', '.join(served)}; choose another scheme or other shares"
        )
    return parts


def _choose(
    free: Sequence[Group], groups: Sequence[Group], share: float, later: int, even: bool
) -> list[Group]:
    """Choose groups for one part, in the order given, as near to its share as they allow.

    Args:
        free: Groups left to choose from.
        groups: All groups; the share is of their utterances.
        share: Share of the part.
        later: Number of parts still to serve.
        even: Hold the share in every stratum by itself, and give it at least one group of each
            that has enough; otherwise what one stratum lacks is made up for in the next.
    """
    total: dict[str, int] = defaultdict(int)
    for g in groups:
        total[g.stratum] += len(g.members)
    strata: dict[str, list[Group]] = {stratum: [] for stratum in total}
    for g in free:
        strata[g.stratum].append(g)
    chosen: list[Group] = []
    missing = 0.0
    for stratum, candidates in strata.items():
        missing = share * total[stratum] + (0.0 if even else missing)
        spare = len(candidates) - (later if len(candidates) > later else 1)
        own: list[Group] = []
        for g in candidates:
            fits = abs(missing - len(g.members)) < abs(missing)
            if (fits or (even and not own)) and not (even and len(own) >= spare):
                own.append(g)
                missing -= len(g.members)
        chosen += own
    return chosen or list(free[:1])


def _groups(utterances: Sequence[Utterance], scheme: Drawn) -> list[Group]:
    """Groups of what must stay together: by the scheme, and by identical audio."""
    keys = {i: key for i, u in enumerate(utterances) if (key := _key(u, scheme))}
    root = {key: key for key in keys.values()}

    def find(key: str) -> str:
        while root[key] != key:
            key = root[key]
        return key

    by_audio: dict[str, str] = {}
    for i, key in keys.items():
        a, b = find(key), find(by_audio.setdefault(utterances[i].sha256, key))
        root[max(a, b)] = min(a, b)
    members: dict[str, list[int]] = defaultdict(list)
    for i in sorted(keys, key=lambda i: utterances[i].id):
        members[find(keys[i])].append(i)
    return [Group(k, _stratum(utterances[m[0]], scheme), m) for k, m in members.items()]


def _key(u: Utterance, scheme: Drawn) -> str | None:
    """What an utterance is drawn with; ``None`` if it can't be drawn."""
    if scheme == "speaker":
        return u.speaker
    if scheme == "text":
        return f"{u.corpus}/{u.sentence}" if u.sentence else None
    return f"{u.corpus}/{u.speaker}/{u.sentence}/{u.emotion}" if u.sentence else u.id


def _stratum(u: Utterance, scheme: Drawn) -> str:
    """Where the shares are to hold: by language, gender, or speaker and emotion."""
    if scheme == "text":
        return f"{u.corpus}/{u.language}"
    return str(u.gender) if scheme == "speaker" else f"{u.speaker}/{u.emotion}"
