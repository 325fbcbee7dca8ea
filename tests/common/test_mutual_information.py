"""Mutual information against cases known in closed form."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from emovc.common.mutual_information import (
    cluster,
    compare_labels,
    entropy,
    mean_and_deviation,
    plug_in_mi,
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


def test_fewer_clusters_than_asked_where_fewer_rows_differ() -> None:
    assert cluster(np.ones((20, 3)), 4, seed=0).tolist() == [0] * 20
    assert set(cluster(np.repeat([[0.0], [1.0]], 9, axis=0), 4, seed=0)) == {0, 1}


def test_shuffling_leaves_the_bias_only() -> None:
    rng = np.random.default_rng(0)
    a = [rng.integers(10, size=2000) for _ in range(20)]
    same = compare_labels(a, [(9 - x) for x in a], rng.permutation)
    assert same["nmi"] == (pytest.approx(1), pytest.approx(0, abs=1e-12))
    assert same["shuffled"][0] == pytest.approx(81 / 4000, rel=0.1)


def test_deviation_is_that_of_a_sample() -> None:
    assert mean_and_deviation([1, 2, 3]) == (2, 1)
    assert mean_and_deviation([5]) == (5, 0)
