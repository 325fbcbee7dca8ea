"""Which recordings belong together, and what is converted."""

from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.common.pairs import conversion_pairs
from emovc.common.partners import Partners


def utterance(
    speaker: str, emotion: str | None, sentence: str | None, take: str = "1"
) -> Utterance:
    name = f"x/{speaker}-{emotion}-{sentence}-{take}"
    return Utterance(
        name, Path("a.wav"), name, 16_000, 16_000, speaker, "x",
        emotion=emotion, sentence=sentence, take=take,
    )  # fmt: skip


CORPUS = [
    utterance(s, e, n) for s in "ab" for e in ("neutral", "angry", "sad") for n in ("1", "2", "3")
]


def test_parallel_partner_is_the_neutral_recording_of_the_same_words() -> None:
    partners = Partners(CORPUS, "parallel")
    assert len(partners.indices) == 12
    for i in partners.indices:
        (j,) = partners.choose(i, np.random.default_rng(0))
        u, v = CORPUS[i], CORPUS[j]
        assert (v.speaker, v.sentence, v.emotion) == (u.speaker, u.sentence, "neutral")


def test_triplet_is_of_one_speaker_and_prefers_the_same_words() -> None:
    rows = [*CORPUS, utterance("a", "sad", "9")]
    partners = Partners(rows, "triplet")
    rng = np.random.default_rng(0)
    for i in partners.indices:
        positive, negative = (rows[j] for j in partners.choose(i, rng))
        u = rows[i]
        assert positive is not u and positive.emotion == u.emotion != "neutral"
        assert positive.speaker == negative.speaker == u.speaker and negative.emotion == "neutral"
        if u.sentence != "9":
            assert negative.sentence == u.sentence
    assert len(rows) - 1 in partners.indices


@pytest.mark.parametrize("speaker", ["same", "other", "any"])
@pytest.mark.parametrize("emotion", ["same", "other", "any"])
def test_references_match_as_asked(speaker: str, emotion: str) -> None:
    partners = Partners(CORPUS, "reference", speaker, emotion)  # type: ignore[arg-type]
    for i in partners.indices:
        (candidates,) = partners.candidates(i)
        assert i not in candidates
        for j in candidates:
            for match, a, b in (
                (speaker, CORPUS[i].speaker, CORPUS[j].speaker),
                (emotion, CORPUS[i].emotion, CORPUS[j].emotion),
            ):
                assert match == "any" or (a == b) == (match == "same")


def test_a_corpus_without_partners_is_refused_with_the_counts() -> None:
    rows = [utterance("a", "angry", "1"), utterance("a", "neutral", "2")]
    with pytest.raises(UserError, match=r"none of 2 utterances \(1 neutral\).*use grouping single"):
        Partners(rows, "parallel")


def test_conversion_pairs_are_fixed_balanced_and_parallel() -> None:
    pairs = conversion_pairs(CORPUS, 8)
    assert conversion_pairs(CORPUS[::-1], 8) == pairs
    assert conversion_pairs(CORPUS, 8, seed=1) != pairs
    assert conversion_pairs(CORPUS, 4) == pairs[:4]
    assert sum(p.target.emotion == "angry" for p in pairs) == 4
    for p in pairs:
        assert p.source.emotion == "neutral" and p.other is not None
        assert p.source.sentence == p.target.sentence != p.other.sentence
        assert p.source.speaker == p.target.speaker == p.other.speaker
        assert p.other.emotion == p.target.emotion and "/" not in p.id
    assert len({p.id for p in conversion_pairs(CORPUS, 99)}) == 12
    only = conversion_pairs(CORPUS, 99, emotions=["sad"])
    assert {p.target.emotion for p in only} == {"sad"}


def test_no_pairs_is_one_line() -> None:
    with pytest.raises(UserError, match="evaluate on a corpus with parallel sentences"):
        conversion_pairs([utterance("a", "angry", "1")], 5)
