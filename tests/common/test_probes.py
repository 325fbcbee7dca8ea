"""Probes on values whose share in the codes is known."""

import numpy as np
import pytest

from emovc.common.probes import READERS, Reader, Target, choose_rows, probe_r2, probe_recall, read


def target(values: np.ndarray, groups: np.ndarray) -> Target:
    return Target("test", False, values, groups, "group")


def test_probes_find_what_is_linear_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    codes, groups = rng.standard_normal((600, 3)), np.arange(600) // 10
    value = codes @ np.array([1.0, -2.0, 0.5]) + 3
    assert probe_r2(codes, value, groups) == pytest.approx(1, abs=1e-4)
    assert probe_r2(codes, rng.standard_normal(600), groups) < 0.05
    assert probe_recall(codes, (value > 3).astype(int), groups) > 0.95
    assert probe_recall(codes, rng.integers(2, size=600), groups) == pytest.approx(0.5, abs=0.08)


def test_probes_do_not_remember_utterances() -> None:
    """A value that is constant per utterance can't be had from what names the utterance."""
    rng = np.random.default_rng(0)
    groups = np.arange(600) // 10
    names, value = np.eye(60)[groups], rng.standard_normal(60)[groups]
    assert probe_r2(names, value, groups) < 0.05


def test_only_the_network_finds_what_is_not_linear() -> None:
    rng = np.random.default_rng(0)
    codes, groups = rng.uniform(-2, 2, (1500, 2)), np.arange(1500) // 10
    quadrant = (codes[:, 0] * codes[:, 1] > 0).astype(int)
    assert probe_recall(codes, quadrant, groups) < 0.6
    assert probe_recall(codes, quadrant, groups, "network") > 0.9
    square = 100 + np.square(codes[:, 0])
    assert probe_r2(codes, square, groups) < 0.05
    assert probe_r2(codes, square, groups, "network") > 0.8


@pytest.mark.parametrize("reader", READERS)
def test_rare_classes_weigh_as_much_as_frequent_ones(reader: Reader) -> None:
    """Two overlapping classes, 19 to 1: without weights the best border gives 0.66."""
    rng = np.random.default_rng(0)
    rare = rng.random(2000) < 0.05
    codes = (rng.standard_normal(2000) + 2 * rare)[:, None]
    best = 0.841  # Phi(1), with the border in the middle
    assert probe_recall(codes, rare, np.arange(2000), reader) == pytest.approx(best, abs=0.07)


@pytest.mark.parametrize("reader", READERS)
def test_a_constant_code_is_exactly_at_chance(reader: Reader) -> None:
    codes, groups = np.full((60, 4), 0.3), np.arange(60) // 3
    names = np.array(["a", "b", "b", "b", "c"] * 12, dtype=object)
    found = read(codes, target(names, groups), np.arange(60), reader)
    assert found == (1 / 3, 1 / 3, 1 / 3, 60, 3)
    found = read(codes, target(np.arange(60.0), groups), np.arange(60), reader)
    assert found == (0, 0, 0, 60, 0)


@pytest.mark.parametrize("reader", READERS)
def test_shuffled_values_are_not_found(reader: Reader) -> None:
    codes, groups = np.random.default_rng(0).standard_normal((800, 2)), np.arange(800) // 8
    names = np.where(codes[:, 0] > 0, "up", "down").astype(object)
    found = read(codes, target(names, groups), np.arange(800), reader)
    assert found.score > 0.95
    assert found.shuffled == pytest.approx(found.chance, abs=0.06)
    found = read(codes, target(codes[:, 1] * 5, groups), np.arange(800), reader)
    assert found.score > 0.9
    assert found.shuffled < 0.05


def test_rows_without_a_value_and_lonely_classes_are_left_out() -> None:
    names = np.array(["a", "b", "c", None] * 10, dtype=object)
    groups = np.arange(40) // 4
    groups[names == "c"] = 0  # a class that is in one group can't be held out
    assert set(choose_rows(target(names, groups), 1000) % 4) == {0, 1}
    values = np.arange(40.0)
    values[::2] = np.nan
    assert choose_rows(target(values, groups), 1000).tolist() == list(range(1, 40, 2))
    assert len(choose_rows(target(values, groups), 7)) == 7
    one_group = target(values, np.zeros(40))
    assert len(choose_rows(one_group, 1000)) == 0
