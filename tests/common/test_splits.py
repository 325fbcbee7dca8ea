"""Splits keep together what belongs together, and the guards find what does not."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emovc.common.corpora import read_corpus
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.common.splits import Disjoint, Scheme, assign_split, find_leaks, require_no_leaks

EMOTIONS = ("neutral", "angry", "sad")


def utterance(
    speaker: str,
    sentence: str | None,
    emotion: str = "neutral",
    take: str | None = None,
    gender: str | None = None,
    audio: str | None = None,
) -> Utterance:
    name = f"x/{speaker}-{sentence}-{emotion}-{take}"
    return Utterance(
        name, Path("a.wav"), audio or name, 16_000, 16_000, speaker, "x",
        gender=gender, emotion=emotion, sentence=sentence, take=take,
    )  # fmt: skip


def corpus(n_speakers: int, n_sentences: int, n_takes: int = 1) -> list[Utterance]:
    return [
        utterance(f"s{s}", f"t{t}", e, str(k), "FM"[s % 2])
        for s in range(n_speakers)
        for t in range(n_sentences)
        for e in EMOTIONS
        for k in range(n_takes)
    ]


def parts(rows: list[Utterance]) -> dict[str, str | None]:
    return {u.id: u.split for u in rows}


def shares(rows: list[Utterance]) -> dict[str | None, float]:
    return {k: n / len(rows) for k, n in Counter(u.split for u in rows).items()}


@settings(deadline=None, max_examples=60)
@given(
    scheme=st.sampled_from(["text", "speaker", "random"]),
    seed=st.integers(0, 999),
    sizes=st.tuples(st.integers(6, 12), st.integers(3, 15), st.integers(1, 3)),
    share=st.floats(0.1, 0.3),
    data=st.data(),
)
def test_properties_of_any_draw(
    scheme: Scheme, seed: int, sizes: tuple[int, int, int], share: float, data: st.DataObject
) -> None:
    rows = corpus(*sizes)
    # Some files are byte-identical copies of another.
    for i, j in data.draw(st.lists(st.tuples(*[st.integers(0, len(rows) - 1)] * 2), max_size=2)):
        rows[i] = replace(rows[i], sha256=rows[j].sha256)
    try:
        done = assign_split(rows, scheme, seed, val=share, test=share)
    except UserError as error:  # copies may join all there is
        assert "are too few for test, val, train" in str(error)
        return
    assert [u.id for u in done] == [u.id for u in rows]
    assert {u.split for u in done} == {"train", "val", "test"}
    assert len({u.split_id for u in done}) == 1
    shuffled = data.draw(st.permutations(rows))
    assert parts(assign_split(shuffled, scheme, seed, val=share, test=share)) == parts(done)
    disjoint: dict[str, tuple[Disjoint, ...]] = {"text": ("sentence",), "speaker": ("speaker",)}
    require_no_leaks(done, disjoint.get(scheme, ()))
    names = {**disjoint, "random": ("speaker", "sentence", "emotion")}[scheme]
    kept = {(tuple(getattr(u, n) for n in names), u.split) for u in done}
    assert len(kept) == len({key for key, _ in kept})


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 9999), val=st.floats(0.02, 0.3), test=st.floats(0.02, 0.3))
def test_shares_are_met_to_the_nearest_group(seed: int, val: float, test: float) -> None:
    rows = corpus(8, 50)
    for scheme, group in (("text", 1 / 50), ("random", 1 / 1200)):
        found = shares(assign_split(rows, scheme, seed, val, test))  # type: ignore[arg-type]
        assert found["val"] == pytest.approx(val, abs=group / 2 + 1e-9)
        assert found["test"] == pytest.approx(test, abs=group / 2 + 1e-9)


def test_no_share_no_part() -> None:
    assert set(shares(assign_split(corpus(4, 9), "text", 0, 0.0, 0.2))) == {"train", "test"}


def test_random_draw_is_even_over_speakers_and_emotions() -> None:
    done = assign_split(corpus(6, 40), "random", 0, 0.1, 0.2)
    counts = Counter((u.speaker, u.emotion) for u in done if u.split == "test")
    assert len(counts) == 18 and set(counts.values()) == {8}


@pytest.mark.parametrize("seed", range(5))
def test_each_part_hears_women_and_men(seed: int) -> None:
    rows = corpus(9, 5)  # 5 women, 4 men
    for val, test in ((0.13, 0.13), (0.05, 0.4)):
        done = assign_split(rows, "speaker", seed, val, test)
        for split in ("train", "val", "test"):
            assert {u.gender for u in done if u.split == split} == {"F", "M"}
    few = assign_split(corpus(6, 2), "speaker", seed, 0.1, 0.6)  # three of each
    assert set(Counter((u.split, u.gender) for u in few).values()) == {6}
    even = assign_split(corpus(20, 2), "speaker", seed, 0.1, 0.2)
    count = Counter((u.split, u.gender) for u in even)
    assert count["test", "F"] == count["test", "M"] == 12
    assert count["val", "F"] == count["val", "M"] == 6


def test_seeds_differ_and_more_data_keeps_the_order_of_sentences() -> None:
    rows = corpus(4, 30)
    drawn = [
        {u.sentence for u in assign_split(rows, "text", seed) if u.split == "test"}
        for seed in range(4)
    ]
    assert len({frozenset(d) for d in drawn}) == 4
    more = assign_split(corpus(6, 30), "text", 0)
    assert {u.sentence for u in more if u.split == "test"} == drawn[0]


def test_sentence_ids_are_those_of_a_corpus_and_unknown_words_are_unused() -> None:
    rows = corpus(2, 30)
    other = [replace(u, id="y" + u.id, corpus="y", sha256="y" + u.sha256) for u in rows]
    done = assign_split([*rows, *other, utterance("s0", None)], "text", test=0.2)
    assert done[-1].split == "unused"
    drawn = [{u.sentence for u in done if u.corpus == c and u.split == "test"} for c in "xy"]
    assert drawn[0] != drawn[1] and len(drawn[0]) == len(drawn[1]) == 6


def test_test_speakers_are_unseen_and_test_is_disjoint_in_text() -> None:
    done = assign_split(corpus(4, 20), "text", 0, 0.1, 0.2, ["s1"])
    spoken = {u.sentence for u in done if u.split == "test"}
    for u in done:
        if u.speaker == "s1":
            assert u.split == ("test" if u.sentence in spoken else "unused")
        else:
            assert (u.split == "test") == (u.sentence in spoken)
    require_no_leaks(done, ["sentence"])
    assert done[0].split_id == "text-0.1-0.2-s0-s1"


def test_test_speakers_of_the_other_schemes() -> None:
    rows = corpus(6, 10)
    done = assign_split(rows, "speaker", 0, 0.2, 0.2, ["s1", "s4"])
    assert {u.speaker for u in done if u.split == "test"} == {"s1", "s4"}
    assert {u.split for u in done} == {"train", "val", "test"}
    done = assign_split(rows, "random", 0, 0.2, 0.2, ["s1"])
    assert {u.split for u in done if u.speaker == "s1"} == {"test"}
    assert shares([u for u in done if u.speaker != "s1"])["test"] == pytest.approx(0.2)
    own = [replace(u, split="train" if u.sentence != "t0" else "test", split_id="o") for u in rows]
    done = assign_split(own, "official", test_speakers=["s1"])
    of_s1 = Counter(u.split for u in done if u.speaker == "s1")
    assert of_s1 == {"test": 3, "unused": 27} and done[0].split_id == "o-s1"


def test_official_keeps_parts_but_not_copies_across_them() -> None:
    rows = [
        replace(utterance("a", "1", audio="q"), split="train", split_id="esd-300-20-30"),
        replace(utterance("a", "2", audio="q"), split="test", split_id="esd-300-20-30"),
        replace(utterance("a", "3"), split="val", split_id="esd-300-20-30"),
        utterance("a", "4"),
    ]
    assert find_leaks(rows)
    done = assign_split(rows, "official")
    assert [u.split for u in done] == ["unused", "test", "val", "unused"]
    assert done[0].split_id == "esd-300-20-30" and not find_leaks(done)
    with pytest.raises(UserError, match="no official split; choose text, speaker or random"):
        assign_split(corpus(2, 2), "official")


def test_names_of_splits() -> None:
    rows = corpus(30, 12)
    assert assign_split(rows, "random", 7, 0.05, 0.1)[0].split_id == "random-0.05-0.1-s7"
    some = assign_split(rows, "random", 0, test_speakers=["s2", "s1"])[0].split_id
    assert some == "random-0.13-0.13-s0-s1-s2"
    many = [f"s{i}" for i in range(20)]
    name = assign_split(rows, "random", 0, test_speakers=many)[0].split_id
    assert name is not None and re.fullmatch(r"random-0.13-0.13-s0-20speakers-[0-9a-f]{12}", name)
    assert name == assign_split(rows, "random", 0, test_speakers=many[::-1])[0].split_id


@pytest.mark.parametrize(
    ("rows", "scheme", "val", "test", "speakers", "message"),
    [
        (corpus(2, 9), "text", 0.5, 0.5, [], "val=0.5 and test=0.5"),
        (corpus(2, 9), "text", -0.1, 0.5, [], "must be >= 0"),
        (corpus(2, 9), "text", 0.1, 0.1, ["s9"], "test speaker s9: no such speaker; there are s0"),
        (corpus(2, 2), "text", 0.1, 0.1, [], "text split: 2 sentences are too few for test, val"),
        (corpus(2, 9), "speaker", 0.1, 0.1, [], "2 speakers are too few"),
        ([], "text", 0.1, 0.1, [], "no utterances"),
        (
            [*corpus(2, 9), utterance("z", "other")],
            "text", 0.1, 0.2, ["z"], "test speaker z has no utterance in test",
        ),
    ],
)  # fmt: skip
def test_impossible_splits_are_refused(
    rows: list[Utterance], scheme: Scheme, val: float, test: float, speakers: list[str],
    message: str,
) -> None:  # fmt: skip
    with pytest.raises(UserError, match=message):
        assign_split(rows, scheme, 0, val, test, speakers)


def test_guards_name_what_leaks() -> None:
    rows = [
        replace(utterance("a", "1", take="1", audio="q"), split="train"),
        replace(utterance("b", "2", audio="q"), split="test"),
        replace(utterance("a", "3", take="1"), split="val"),
        replace(utterance("a", "3", take="2"), split="test"),
        replace(utterance("b", "4"), split="train"),
        replace(utterance("b", "4", audio="r"), id="again", split="test"),
        replace(utterance("c", "4", audio="q"), split="unused"),
        utterance("a", None, audio="q"),
    ]
    assert find_leaks(rows) == [
        "x/a-1-neutral-1 (train) and x/b-2-neutral-None (test) have the same audio",
        "x/b-4-neutral-None (train) and again (test)"
        " are the same sentence, speaker, emotion and take",
    ]
    assert len(find_leaks(rows, ["speaker"])) == 4  # a and b
    assert len(find_leaks(rows, ["sentence"])) == 3  # 4
    with pytest.raises(UserError, match=r"same audio \(2 such in all\); make the manifest again"):
        require_no_leaks(rows)
    require_no_leaks(rows[:1])


def test_identical_files_of_ravdess_never_straddle(shared: Path) -> None:
    rows = read_corpus("ravdess", shared / "data" / "ravdess").utterances
    twins = {f"ravdess/03-01-03-01-02-{take}-07" for take in ("01", "02")}
    assert len({u.sha256 for u in rows if u.id in twins}) == 1
    for seed in range(20):
        done = assign_split(rows, "random", seed, 0.25, 0.25)
        assert len({u.split for u in done if u.id in twins}) == 1
        require_no_leaks(done)
    first, second = (u for u in rows if u.id in twins)
    parted = [replace(first, split="train"), replace(second, split="test")]
    assert find_leaks(parted)[0].endswith("have the same audio")
