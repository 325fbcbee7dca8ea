"""Trials of speaker verification and their equal error rate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emovc.common.manifest import Utterance
from emovc.ser.voice_trials import (
    Trials,
    deal_groups,
    drawn_error_rates,
    equal_error_rate,
    make_trials,
)


def row(speaker: str, sentence: str, emotion: str, gender: str = "F") -> Utterance:
    name = f"x/{speaker}-{sentence}-{emotion}"
    return Utterance(
        id=name, path=Path("x.wav"), sha256=name, sample_rate=8000, num_samples=8000,
        speaker=speaker, corpus="x", gender=gender, emotion=emotion, sentence=sentence,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("same", "other", "wanted"),
    [
        ([3.0, 4.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [3.0, 4.0], 1.0),
        ([1.0, 3.0], [0.0, 2.0], 0.5),
        ([1.0, 2.0, 3.0, 4.0], [-2.0, -1.0, 0.0, 1.5], 0.25),
        ([1.0, 1.0], [1.0, 1.0], 0.5),  # one score for all: the middle of the line
        ([1.0, 5.0, 5.0], [0.0, 0.0, 2.0], 1 / 3),
    ],
)
def test_equal_error_rate_by_hand(same: list[float], other: list[float], wanted: float) -> None:
    scores = np.array(same + other)
    labels = np.array([True] * len(same) + [False] * len(other))
    assert equal_error_rate(scores, labels) == pytest.approx(wanted)


@pytest.mark.parametrize("decimals", [8, 1])
def test_equal_error_rate_is_that_of_the_roc_curve(decimals: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    same = rng.random(3000) < 0.2
    scores = (rng.standard_normal(3000) + 1.5 * same).round(decimals)
    confused, hit, _ = metrics.roc_curve(same, scores, drop_intermediate=False)
    grid = np.linspace(0, 1, 100_001)
    curve = 1 - np.interp(grid, confused, hit) - grid
    wanted = grid[np.abs(curve).argmin()]
    assert equal_error_rate(scores, same) == pytest.approx(wanted, abs=2e-5)


def test_without_both_sorts_of_trials_there_is_no_rate() -> None:
    assert np.isnan(equal_error_rate(np.array([1.0, 2.0]), np.array([True, True])))
    assert np.isnan(equal_error_rate(np.array([]), np.array([], dtype=bool)))


def test_trials_differ_in_words_and_agree_in_gender() -> None:
    rows = [
        row("a", "1", "sad"), row("a", "2", "sad"), row("a", "2", "angry"),
        row("b", "1", "sad"), row("b", "2", "angry"), row("m", "3", "sad", "M"),
    ]  # fmt: skip

    def pairs(kind: str, groups: dict[str, int] | None = None) -> dict[tuple[int, int], bool]:
        found = make_trials(rows, rows, kind, groups)  # type: ignore[arg-type]
        keys = zip(found.second.tolist(), found.first.tolist(), strict=True)
        return dict(zip(keys, found.same.tolist(), strict=True))

    every = {
        (0, 1): True, (0, 2): True, (0, 4): False, (1, 3): False, (2, 3): False, (3, 4): True,
    }  # fmt: skip
    assert pairs("all") == every
    assert pairs("same emotion") == {(0, 1): True, (1, 3): False}
    assert pairs("other emotion") == {
        key: same for key, same in every.items() if key not in ((0, 1), (1, 3))
    }
    assert pairs("emotion misleads") == {(0, 2): True, (1, 3): False, (3, 4): True}
    assert pairs("all", {"a": 0, "b": 1, "m": 0}) == {
        key: same for key, same in every.items() if same
    }


def test_copies_are_compared_with_all_recordings_of_other_words() -> None:
    rows = [row("a", "1", "sad"), row("a", "2", "sad"), row("b", "2", "sad")]
    trials = make_trials(rows, [replace(rows[1])], "all")
    assert trials.first.tolist() == [0]
    assert trials.second.tolist() == [0]
    assert trials.same.tolist() == [True]


def test_drawn_rates_are_those_of_the_speakers_drawn() -> None:
    """Two speakers: a draw of both has the rate itself, a draw of one has none."""
    rng = np.random.default_rng(1)
    rows = [row(s, str(i), "sad") for s in "ab" for i in range(30)]
    trials = make_trials(rows, rows)
    scores = rng.standard_normal(len(trials.same)) + trials.same
    drawn = drawn_error_rates(scores, trials, draws=100)
    known = drawn[np.isfinite(drawn)]
    assert 30 < len(known) < 70
    np.testing.assert_allclose(known, equal_error_rate(scores, trials.same), atol=2e-3)


def test_trials_weigh_as_often_as_their_speakers_are_drawn() -> None:
    """As if those of one speaker were there that often, those of two as the product."""
    rows = [row(s, str(i), "sad") for s in "abcd" for i in range(12)]
    trials = make_trials(rows, rows)
    rng = np.random.default_rng(2)
    hard = (trials.pair % 4 == 2) | (trials.pair // 4 == 2)  # speaker c
    shift = np.where(hard, 2 - trials.same, 3 * trials.same)
    scores = rng.standard_normal(len(hard)) + shift
    drawn = drawn_error_rates(scores, trials, draws=30, seed=3)
    for rate, chosen in zip(drawn, np.random.default_rng(3).integers(4, size=(30, 4)), strict=True):
        times = np.bincount(chosen, minlength=4)
        one, other = times[trials.pair // 4], times[trials.pair % 4]
        repeats = np.where(trials.same, one, one * other)
        wanted = equal_error_rate(scores.repeat(repeats), trials.same.repeat(repeats))
        assert rate == pytest.approx(wanted, abs=5e-3, nan_ok=True)


def test_groups_hold_two_speakers_of_one_gender_and_leave_both_to_learn_from() -> None:
    rows = [
        replace(row(f"{c}{g}{i}", "1", "sad", g), corpus=c)
        for c, n in (("x", 4), ("y", 5), ("z", 12))
        for g in "FM"
        for i in range(n)
    ]
    groups = deal_groups(rows)
    assert set(groups.values()) == {0, 1, 2, 3}
    for group in range(4):
        held = [u for u in rows if groups[u.speaker] == group]
        assert {u.corpus for u in held} == {"x", "y", "z"}
        for corpus in "xyz":
            own = [u for u in held if u.corpus == corpus]
            assert len(own) >= 2
            assert len({u.gender for u in own}) == 1
        assert {u.gender for u in held} == {"F", "M"}


def test_trials_keep_the_pair_of_speakers() -> None:
    rows = [row("a", "1", "sad"), row("b", "2", "sad")]
    trials = make_trials(rows, rows)
    assert isinstance(trials, Trials)
    assert trials.pair.tolist() == [0 * 2 + 1]
