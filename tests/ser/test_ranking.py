"""The ranking SVM: the optimum of its formula, by hand and by other solvers."""

import numpy as np
import pytest

from emovc.ser.ranking import fit_direction, fit_scale, objective

RNG = np.random.default_rng


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_one_ordered_pair_has_the_solution_of_the_hand_calculation() -> None:
    """``w^2 / 2 + c (1 - 2 w)^2`` is least at ``4 c / (1 + 8 c)``."""
    w = fit_direction(np.array([[2.0]]), np.zeros((0, 1)), c=0.1)
    assert w[0] == pytest.approx(0.4 / 1.8, rel=1e-12)


def test_similar_pairs_pull_the_weight_to_zero() -> None:
    """With a similar pair 3 apart ``w (1 + 2 c (4 + 9)) = 4 c``."""
    w = fit_direction(np.array([[2.0]]), np.array([[3.0]]), c=0.1)
    assert w[0] == pytest.approx(0.4 / (1 + 0.2 * 13), rel=1e-12)


def test_the_gradient_is_that_of_the_objective() -> None:
    rng = RNG(0)
    ordered, similar, w = rng.normal(size=(30, 5)), rng.normal(size=(20, 5)), rng.normal(size=5)
    gradient = objective(w, ordered, similar)[1]
    for i, step in enumerate(1e-6 * np.eye(5)):
        up, down = (objective(w + s, ordered, similar)[0] for s in (step, -step))
        assert (up - down) / 2e-6 == pytest.approx(gradient[i], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("c", [1e-3, 0.1, 10.0])
def test_the_gradient_vanishes_at_the_solution(c: float) -> None:
    rng = RNG(1)
    ordered, similar = rng.normal(0.5, 1, size=(400, 12)), rng.normal(size=(300, 12))
    w = fit_direction(ordered, similar, c)
    value, gradient = objective(w, ordered, similar, c)
    assert np.abs(gradient).max() < 1e-9 * (1 + value)
    for _ in range(20):
        assert objective(w + 1e-2 * rng.normal(size=12), ordered, similar, c)[0] > value


def test_scipy_finds_the_same_minimum() -> None:
    from scipy.optimize import minimize

    rng = RNG(2)
    ordered, similar = rng.normal(0.3, 1, size=(200, 6)), rng.normal(size=(100, 6))
    found = minimize(objective, np.zeros(6), (ordered, similar), "L-BFGS-B", True, tol=1e-12)
    np.testing.assert_allclose(fit_direction(ordered, similar), found.x, atol=1e-5)


def test_without_similar_pairs_it_is_the_linear_svm_of_the_differences() -> None:
    """sklearn's squared hinge without intercept has the same objective."""
    from sklearn.svm import LinearSVC

    ordered = RNG(3).normal(0.4, 1, size=(300, 6))
    rows = np.concatenate([ordered, -ordered])
    labels = np.repeat([1, -1], 300)  # each pair twice, so half the weight
    svm = LinearSVC(C=0.05, dual=False, fit_intercept=False, tol=1e-8)
    w = fit_direction(ordered, np.zeros((0, 6)), 0.1)
    reference = svm.fit(rows, labels).coef_[0]
    assert cosine(w, reference) > 0.99999
    np.testing.assert_allclose(w, reference, rtol=1e-3, atol=1e-5)


def test_scores_of_the_rows_go_from_0_to_1() -> None:
    less, more = [RNG(0).normal(size=(20, 4))], [RNG(1).normal(1, 1, size=(30, 4))]
    scale = fit_scale(less, more)
    scores = np.concatenate([*less, *more]) @ scale.weight + scale.bias
    assert (scores.min(), scores.max()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))


def test_units_and_offsets_of_the_features_change_no_score() -> None:
    less, more = RNG(0).normal(size=(20, 4)), RNG(1).normal(1, 1, size=(30, 4))
    unit, offset = np.array([1e-3, 1.0, 50.0, 1e4]), np.array([5.0, -3.0, 1e3, 0.0])
    plain, other = (
        fit_scale([less], [more]),
        fit_scale([less * unit + offset], [more * unit + offset]),
    )
    new = RNG(2).normal(size=(50, 4))
    before, after = (
        new @ plain.weight + plain.bias,
        (new * unit + offset) @ other.weight + other.bias,
    )
    np.testing.assert_allclose(after, before, atol=1e-8)


def test_a_feature_that_never_changes_weighs_nothing() -> None:
    less, more = RNG(0).normal(size=(20, 4)), RNG(1).normal(1, 1, size=(30, 4))
    less[:, 2] = more[:, 2] = 5.0
    scale = fit_scale([less], [more])
    assert scale.weight[2] == 0 and np.isfinite(scale.weight).all()


def test_a_sample_of_the_pairs_gives_nearly_the_same_direction() -> None:
    less, more = RNG(0).normal(size=(60, 4)), RNG(1).normal(1, 1, size=(60, 4))
    every, some = fit_scale([less], [more]), fit_scale([less], [more], max_pairs=500)
    again, other = (
        fit_scale([less], [more], max_pairs=500),
        fit_scale([less], [more], max_pairs=500, seed=1),
    )
    np.testing.assert_array_equal(some.weight, again.weight)
    assert not np.array_equal(some.weight, other.weight)
    assert cosine(every.weight, some.weight) > 0.98


def test_pairs_are_formed_within_groups_only() -> None:
    """A group far above the other in both kinds turns no weight."""
    less, more = RNG(0).normal(size=(20, 2)), RNG(1).normal(size=(20, 2)) + [2.0, 0.0]
    far = np.array([0.0, 1e3])
    scale = fit_scale([less, less + far], [more, more + far])
    scores = [rows @ scale.weight for rows in (less, more)]
    assert scores[1].mean() - scores[0].mean() > 0.05
    one = fit_scale([less], [more])
    assert np.sign(scale.weight[0]) == np.sign(one.weight[0]) == 1
