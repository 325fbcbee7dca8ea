"""Paired statistics, with numbers worked out by hand."""

from itertools import product

import numpy as np
import pytest

from emovc.common.comparison_statistics import (
    confusion,
    holm,
    paired_difference,
    sign_flip_test,
)


def test_three_speakers_by_hand() -> None:
    """Sums 1, 2 and 3: of the eight flips only +++ and --- reach 6."""
    assert sign_flip_test(np.array([1.0, 2.0, 3.0]), ["a", "b", "c"]) == 2 / 8
    # Sums 3, 2, -1: |4| is reached by +++... = 4, ++- = 6 and their negatives: 4 of 8.
    assert sign_flip_test(np.array([3.0, 2.0, -1.0]), ["a", "b", "c"]) == 4 / 8


def test_speakers_are_flipped_as_a_whole() -> None:
    """Fifty sentences of two speakers prove no more than two speakers can."""
    values, speakers = np.full(50, 0.7), ["a", "b"] * 25
    assert sign_flip_test(values, speakers) == 0.5
    assert sign_flip_test(values, ["a"] * 50) == 1.0


def test_no_difference_has_p_one() -> None:
    assert sign_flip_test(np.zeros(6), list("abcdef")) == 1.0
    assert sign_flip_test(np.array([1.0, -1.0]), ["a", "b"]) == 1.0


def test_sides_are_alike_and_units_do_not_matter() -> None:
    values = np.random.default_rng(1).normal(0.4, 1, 40)
    speakers = [f"s{i % 10}" for i in range(40)]
    p = sign_flip_test(values, speakers)
    assert 0 < p < 1
    assert sign_flip_test(-values, speakers) == p
    assert sign_flip_test(1e-6 * values, speakers) == p


def test_drawn_flips_agree_with_all_of_them() -> None:
    """Thirteen speakers are drawn; here all their 8192 flips."""
    values = np.random.default_rng(2).normal(0.3, 1, 39)
    speakers = [f"s{i % 13:02}" for i in range(39)]
    sums = values.reshape(3, 13).sum(0)
    flips = np.array(list(product((1, -1), repeat=13)))
    exact = float(np.mean(np.abs(flips @ sums) >= abs(sums.sum()) - 1e-9))
    assert 0.01 < exact < 0.9
    assert sign_flip_test(values, speakers) == pytest.approx(exact, abs=0.02)
    assert sign_flip_test(np.ones(39), speakers) >= 1 / 10_000  # never zero


def test_p_is_uniform_where_models_are_alike() -> None:
    rng = np.random.default_rng(3)
    speakers = [f"s{i % 9}" for i in range(27)]
    found = [sign_flip_test(rng.normal(size=27), speakers) for _ in range(400)]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, then 0.03 * 2 = 0.06 and 0.04 * 1 raised to 0.06."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    corrected = holm([0.02, float("nan"), 0.5])
    assert corrected[0] == pytest.approx(0.04)
    assert np.isnan(corrected[1])
    assert holm([]) == []


def test_difference_by_hand() -> None:
    a = np.array([2.0, 4.0, 6.0, 9.0])
    b = np.array([1.0, 2.0, 3.0, np.nan])
    found = paired_difference("x", "y", "mcd_db", a, b, ["s", "t", "u", "u"])
    assert (found.mean, found.n, found.speakers, found.exact) == (2.0, 3, 3, True)
    assert found.p == 2 / 8
    assert 1.0 <= found.low <= 2.0 <= found.high <= 3.0
    turned = paired_difference("y", "x", "mcd_db", b, a, ["s", "t", "u", "u"])
    assert (turned.mean, turned.low, turned.high) == (-found.mean, -found.high, -found.low)


def test_nothing_in_common_is_no_difference_and_no_error() -> None:
    nan = float("nan")
    found = paired_difference("x", "y", "m", np.array([1, nan]), np.array([nan, 1]), ["s", "t"])
    assert found.n == 0
    assert np.isnan([found.mean, found.low, found.high, found.p]).all()


def test_confusion_by_hand() -> None:
    wanted = ["happy", "angry", "angry", "sad"]
    heard = ["neutral", "angry", "happy", "sad"]
    found = confusion(wanted, heard)
    assert found.wanted == ["angry", "happy", "sad"]
    assert found.heard == ["neutral", "angry", "happy", "sad"]
    assert found.counts.tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
