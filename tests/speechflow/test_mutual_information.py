"""Mutual information against cases known in closed form."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from emovc.speechflow.mutual_information import (
    cluster,
    entropy,
    mean_and_deviation,
    plug_in_mi,
    probe_r2,
    probe_recall,
    shared_information,
)


def test_a_label_set_shares_its_entropy_with_itself() -> None:
    labels = np.arange(1000) % 10
    assert entropy(labels) == pytest.approx(np.log(10))
    assert plug_in_mi(labels, labels) == pytest.approx(np.log(10))
    shuffled_names = (labels * 7 + 3) % 10
    assert shared_information(labels, shuffled_names).nmi == pytest.approx(1)


def test_independent_labels_share_nothing() -> None:
    a, b = (x.ravel() for x in np.meshgrid(np.arange(10), np.arange(10)))
    assert plug_in_mi(a, b) == pytest.approx(0, abs=1e-12)


def test_two_by_two_by_hand() -> None:
    """Counts 4, 1, 1, 2 of 8: sum of p ln(p / (row * column))."""
    a = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    b = np.array([0, 0, 0, 0, 1, 0, 1, 1])
    expected = (
        4 / 8 * np.log((4 / 8) / (5 / 8 * 5 / 8))
        + 2 * (1 / 8) * np.log((1 / 8) / (5 / 8 * 3 / 8))
        + 2 / 8 * np.log((2 / 8) / (3 / 8 * 3 / 8))
    )
    assert plug_in_mi(a, b) == pytest.approx(expected)
    assert plug_in_mi(b, a) == pytest.approx(expected)
    assert mutual_info_score(a, b) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "bias"), [(500, 0.087), (1000, 0.039), (5000, 0.008)])
def test_bias_of_independent_labels_is_corrected(n: int, bias: float) -> None:
    rng = np.random.default_rng(0)
    draws = [shared_information(*rng.integers(10, size=(2, n))) for _ in range(100)]
    assert np.mean([d.mi for d in draws]) == pytest.approx(bias, rel=0.15)
    assert np.mean([d.corrected for d in draws]) == pytest.approx(0, abs=0.1 * bias)
    assert np.mean([d.ami for d in draws]) == pytest.approx(0, abs=0.01)


def test_clusters_are_found_and_repeat() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 50)
    values = 10 * np.eye(4)[truth] + rng.standard_normal((200, 4))
    labels = cluster(values, 4, seed=1)
    assert plug_in_mi(labels, truth) == pytest.approx(np.log(4))
    assert np.array_equal(labels, cluster(values, 4, seed=1))


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


def test_deviation_is_that_of_a_sample() -> None:
    assert mean_and_deviation([1, 2, 3]) == (2, 1)
    assert mean_and_deviation([5]) == (5, 0)
