"""Folds: what they must not share, and what they say of a corpus that has gaps."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.ser.folds import Protocol, find_gaps, make_folds

EMOTIONS = ("neutral", "angry", "sad")


def corpus(n_speakers: int = 10, n_each: int = 6, copies: int = 0) -> list[Utterance]:
    """Speakers, women and men in turn, with all emotions; the last files are copies."""
    rows = [
        Utterance(
            f"c/{s}-{e}-{i}", Path(f"{s}-{e}-{i}.wav"), f"{s}-{e}-{i}", 16_000, 16_000, f"c_{s:02}",
            "c", gender="FM"[s % 2], emotion=e,
        )
        for s in range(n_speakers)
        for e in EMOTIONS
        for i in range(n_each)
    ]  # fmt: skip
    for k in range(copies):
        original, copy = rows[k], rows[-1 - k]
        rows[-1 - k] = Utterance(
            copy.id, copy.path, original.sha256, 16_000, 16_000, copy.speaker, "c",
            gender=copy.gender, emotion=copy.emotion,
        )  # fmt: skip
    return rows


@pytest.mark.parametrize("protocol", ["speaker", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_parts_are_disjoint_and_all_is_tested_once(protocol: Protocol, seed: int) -> None:
    rows = corpus(copies=3)
    folds = make_folds(rows, protocol, 5, seed)
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(len(rows)))
    for fold in folds:
        assert sorted(np.concatenate(fold)) == list(range(len(rows)))
        heard = [{rows[i].sha256 for i in part} for part in fold]
        assert all(heard) and not heard[0] & heard[1] | heard[1] & heard[2] | heard[0] & heard[2]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "n_folds"), [(10, 5), (24, 5), (24, 6), (4, 2), (3, 3)])
def test_no_speaker_is_in_two_parts(n: int, n_folds: int, seed: int) -> None:
    rows = corpus(n, 2)
    for fold in make_folds(rows, "speaker", n_folds, seed):
        speakers = [{rows[i].speaker for i in part} for part in fold]
        assert sum(map(len, speakers)) == n == len(set.union(*speakers))
        assert n // n_folds <= len(speakers[2]) <= -(-n // n_folds)
        assert len(speakers[1]) == max(1, -(-(n - len(speakers[2])) // 10))


def test_women_and_men_are_in_each_test_part() -> None:
    for n, n_folds in ((10, 5), (24, 5), (24, 6)):
        rows = corpus(n, 1)
        for fold in make_folds(rows, "speaker", n_folds):
            genders = Counter(rows[i].gender for i in fold.test)
            assert abs(genders["F"] - genders["M"]) <= len(EMOTIONS)


def test_speakers_who_share_a_file_stay_together() -> None:
    rows = corpus(copies=2)  # speaker 0 and speaker 9
    for seed in range(10):
        for fold in make_folds(rows, "speaker", 5, seed):
            for part in fold:
                speakers = {rows[i].speaker for i in part}
                assert len(speakers & {"c_00", "c_09"}) != 1


def test_random_folds_have_all_emotions_alike() -> None:
    rows = corpus(4, 25)
    for fold in make_folds(rows, "random", 5):
        for part, share in zip(fold, (0.72, 0.08, 0.2), strict=True):
            found = Counter(rows[i].emotion for i in part)
            assert len(found) == 3 and max(found.values()) - min(found.values()) <= 1
            assert len(part) == pytest.approx(share * len(rows), abs=2)


def test_folds_depend_on_the_seed_but_not_on_the_order_of_the_manifest() -> None:
    rows = corpus()
    turned = rows[::-1]
    for protocol in ("speaker", "random"):
        one = make_folds(rows, protocol, 5, 3)
        other = make_folds(turned, protocol, 5, 3)
        for a, b in zip(one, other, strict=True):
            assert {rows[i].id for i in a.test} == {turned[i].id for i in b.test}
            assert {rows[i].id for i in a.val} == {turned[i].id for i in b.val}
        again = make_folds(rows, protocol, 5, 4)
        assert any(set(a.test) != set(b.test) for a, b in zip(one, again, strict=True))


def test_a_class_that_a_part_lacks_is_named_once() -> None:
    rows = [u for u in corpus(4) if u.emotion != "sad" or u.speaker == "c_02"]
    labels = np.array([EMOTIONS.index(str(u.emotion)) for u in rows])
    folds = make_folds(rows, "speaker", 4)
    lines = find_gaps(folds, labels, EMOTIONS)
    assert all("no utterance of sad" in line for line in lines)
    assert sum("test part" in line for line in lines) == 3
    where = next(k for k, f in enumerate(folds) if rows[f.test[0]].speaker == "c_02")
    assert f"fold {where}: no utterance of sad in its training part" in lines


def test_impossible_folds_are_refused() -> None:
    for n, n_folds in ((10, 1), (4, 5), (2, 2), (3, 2)):
        if (n, n_folds) == (3, 2):
            with pytest.raises(UserError, match="2 speaker folds of 3 speakers: each fold must"):
                make_folds(corpus(n), "speaker", n_folds)
            continue
        with pytest.raises(UserError, match=f"{n_folds} speaker folds of {n} speakers"):
            make_folds(corpus(n), "speaker", n_folds)


def test_ravdess_has_all_emotions_in_all_parts(shared: Path) -> None:
    """Its one file that is there twice is never parted."""
    from emovc.common.corpora import read_corpus

    rows = read_corpus("ravdess", shared / "data" / "ravdess").utterances
    twice = {h for h, n in Counter(u.sha256 for u in rows).items() if n > 1}
    names = sorted({str(u.emotion) for u in rows})
    labels = np.array([names.index(str(u.emotion)) for u in rows])
    for protocol in ("speaker", "random"):
        folds = make_folds(rows, protocol, 5)
        assert not find_gaps(folds, labels, names)
        for fold in folds:
            assert sum(any(rows[i].sha256 in twice for i in part) for part in fold) == len(twice)
