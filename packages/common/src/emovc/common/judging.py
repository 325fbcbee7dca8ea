"""What a judge of converted speech is: something that hears recordings and compares them.

A judge hears each recording once, in :meth:`Judge.hear`; what it keeps of it (an embedding, a
transcript, a posterior) is used for every row and pair the recording takes part in.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np


class Goal(NamedTuple):
    """What the speech of a pair should be.

    Attributes:
        emotion: Canonical emotion wanted.
        text: Words, where they are known.
        language: ISO 639-1 code, where it is known.
        speaker: Speaker of source and target.
        arousal: Arousal asked for, 1 to 7.
        strength: Strength asked for, 0 to 1.
        among: Emotions that occur in the evaluation: a classifier decides among these.
    """

    emotion: str
    text: str | None
    language: str | None
    speaker: str
    arousal: float | None = None
    strength: float | None = None
    among: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What a judge says of one row of a pair.

    Attributes:
        metrics: Values by name; only names that the judge announces in ``metrics``.
        labels: Decisions by name, such as the emotion recognised.
        gaps: Why something couldn't be judged, a short line each (the same words for the same
            reason, so that they can be counted).
    """

    metrics: dict[str, float]
    labels: dict[str, str] = {}
    gaps: tuple[str, ...] = ()


class Judge(Protocol):
    """Scores recordings.

    Attributes:
        name: Short name, part of the names of its metrics.
        metrics: Column heading of each metric, by name (``<metric>_<name>``).
    """

    name: str
    metrics: Mapping[str, str]

    @property
    def about(self) -> dict[str, Any]:
        """For the record: settings, hash of the weights, and what every table must say of it.

        ``trained_on`` lists the corpora the judge saw (``[]`` for none); a corpus it is used on is
        then marked. ``weights`` is the hash of its weights, by which a model that was trained
        against it is found.
        """
        ...

    def hear(self, wav: np.ndarray, sample_rate: int) -> Any:
        """What the judge needs of a recording (N,); called once per recording.

        Raises:
            UserError: The recording can't be judged; it becomes a gap in the result.
        """
        ...

    def judge(self, heard: Any, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """Judge one row of a pair.

        Args:
            heard: What was heard of the row.
            recordings: What was heard of the real recordings of the pair: always ``source`` and
                ``target``; where the corpus has one also ``same_speaker`` (the target's speaker and
                emotion, other words) and ``other_speaker`` (its emotion, another speaker and other
                words).
            goal: What the row should be.
        """
        ...


@runtime_checkable
class LanguageJudge(Protocol):
    """What a judge has besides, if what it keeps of a recording depends on the language."""

    def hear_in_language(self, wav: np.ndarray, sample_rate: int, language: str) -> Any:
        """Instead of :meth:`Judge.hear` where the language of a recording (N,) is known.

        Args:
            wav: The recording.
            sample_rate: Its rate in Hz.
            language: ISO 639-1 code. What is kept for a language that the judge does not know must
                become a gap in :meth:`Judge.judge`.

        Raises:
            UserError: The recording can't be judged; it becomes a gap in the result.
        """
        ...
