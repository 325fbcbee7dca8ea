"""Fixed lists of conversions: the same for every model of a corpus."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from emovc.common.errors import UserError
from emovc.common.files import file_name
from emovc.common.manifest import Utterance


class Pair(NamedTuple):
    """A conversion and the recording it is compared with.

    Attributes:
        id: ``<source id>--<emotion>``, safe in file names.
        source: What is converted.
        target: The same speaker's recording of the same words in the target emotion.
        other: Another recording of the target's speaker and emotion with other words, if any.
        stranger: A recording of the target's emotion by another speaker with other words, if any.
    """

    id: str
    source: Utterance
    target: Utterance
    other: Utterance | None
    stranger: Utterance | None = None


def conversion_pairs(
    utterances: Sequence[Utterance],
    n_pairs: int,
    source_emotion: str = "neutral",
    emotions: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Draw pairs, the target emotions taking turns, without regard to the order of the manifest.

    Args:
        utterances: Utterances of one split.
        n_pairs: How many, or fewer if there are no more.
        source_emotion: Emotion of the sources.
        emotions: Target emotions; by default all others.
        seed: Seed of the draw.

    Raises:
        UserError: There is no pair of the same speaker and words.
    """
    rng = np.random.default_rng(seed)
    rows = sorted(utterances, key=lambda u: u.id)
    sources = {
        (u.speaker, u.sentence): u for u in rows if u.emotion == source_emotion and u.sentence
    }
    targets = [
        u
        for u in rows
        if u.emotion not in (None, source_emotion)
        and (emotions is None or u.emotion in emotions)
        and (u.speaker, u.sentence) in sources
    ]
    if not targets:
        raise UserError(
            f"no two utterances of one speaker say the same words {source_emotion} and in another"
            " emotion; evaluate on a corpus with parallel sentences"
        )
    shuffled = [targets[i] for i in rng.permutation(len(targets))]
    names = sorted({str(u.emotion) for u in shuffled})
    by_emotion = [[u for u in shuffled if u.emotion == name] for name in names]
    turns = [u for group in zip_longest(*by_emotion) for u in group if u is not None]
    apart = np.random.default_rng((seed, 1))  # so that the others stay as they were
    pairs = []
    for target in turns[:n_pairs]:
        source = sources[target.speaker, target.sentence]
        alike = [u for u in rows if u.emotion == target.emotion and u.sentence != target.sentence]
        other = _draw([u for u in alike if u.speaker == target.speaker], rng)
        stranger = _draw([u for u in alike if u.speaker != target.speaker], apart)
        pairs.append(Pair(_name(source, target), source, target, other, stranger))
    return pairs


def _draw(utterances: Sequence[Utterance], rng: np.random.Generator) -> Utterance | None:
    """One of the utterances, if there is one."""
    return utterances[int(rng.integers(len(utterances)))] if utterances else None


def _name(source: Utterance, target: Utterance) -> str:
    """Name of a pair; emotion, intensity and take tell the targets of one source apart."""
    name = f"{source.id}--{target.emotion}"
    return file_name("-".join(filter(None, (name, target.intensity, target.take))))
