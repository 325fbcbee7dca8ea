"""Which recordings belong together: parallel pairs, triplets, source and reference."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

import numpy as np

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance

Grouping = Literal["single", "parallel", "triplet", "reference"]
Match = Literal["any", "same", "other"]
NONE = np.empty(0, dtype=int)


class Partners:
    """The possible partners of each utterance of a split.

    ``parallel``: an emotional utterance and the neutral one of the same speaker and words.
    ``triplet``: an emotional utterance, another one of the same speaker and emotion, and a neutral
    one of the speaker, with the same words where there is one. ``reference``: a source and another
    utterance chosen by speaker and emotion. ``single``: nobody has partners.

    Args:
        utterances: Utterances of the split.
        grouping: What belongs together.
        speaker: Whether a reference is of the same, another, or any speaker.
        emotion: Whether a reference has the same, another, or any emotion.

    Attributes:
        indices: The utterances that have all the partners they need.

    Raises:
        UserError: No utterance has the partners asked for.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        grouping: Grouping,
        speaker: Match = "same",
        emotion: Match = "any",
    ) -> None:
        self.utterances = utterances
        self.grouping = grouping
        self.speaker = speaker
        self.emotion = emotion
        self._speakers = np.array([u.speaker for u in utterances])
        self._emotions = np.array([u.emotion or "" for u in utterances])
        self._alike = _groups((u.speaker, u.emotion) for u in utterances)
        self._parallel = _groups((u.speaker, u.emotion, u.sentence) for u in utterances)
        every = range(len(utterances))
        self.indices = [i for i in every if all(map(len, self.candidates(i)))]
        if not self.indices:
            neutral = sum(u.emotion == "neutral" for u in utterances)
            raise UserError(
                f"grouping {grouping}: none of {len(utterances)} utterances ({neutral} neutral) has"
                " the partners it needs; use grouping single, or a corpus with parallel sentences"
            )

    def choose(self, index: int, rng: np.random.Generator) -> list[int]:
        """Draw one utterance for each partner of utterance ``index``."""
        return [int(rng.choice(candidates)) for candidates in self.candidates(index)]

    def candidates(self, index: int) -> list[np.ndarray]:
        """The utterances that can be each partner of utterance ``index``."""
        if self.grouping == "single":
            return []
        if self.grouping == "reference":
            fits = _fits(self._speakers, index, self.speaker)
            fits &= _fits(self._emotions, index, self.emotion)
            fits[index] = False
            return [np.flatnonzero(fits)]
        u = self.utterances[index]
        emotional = u.emotion not in (None, "neutral")
        words = (u.speaker, "neutral", u.sentence)
        neutral = self._parallel.get(words, NONE) if emotional and u.sentence else NONE
        if self.grouping == "parallel":
            return [neutral]
        positive = self._alike[u.speaker, u.emotion] if emotional else NONE
        if emotional and not len(neutral):
            neutral = self._alike.get((u.speaker, "neutral"), NONE)
        return [positive[positive != index], neutral]


def _groups(keys: Iterable[Hashable]) -> dict[Hashable, np.ndarray]:
    """Numbers of the utterances of each key."""
    groups: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return {key: np.array(numbers) for key, numbers in groups.items()}


def _fits(values: np.ndarray, i: int, match: Match) -> np.ndarray:
    """Which values match the i-th."""
    if match == "any":
        return np.ones(len(values), dtype=bool)
    return values == values[i] if match == "same" else values != values[i]
