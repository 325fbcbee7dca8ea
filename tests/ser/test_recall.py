"""Recalls against cases counted by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference_confusion
from sklearn.metrics import recall_score

from emovc.ser.recall import confusion_matrix, recalls, uar


def test_a_case_counted_by_hand() -> None:
    labels, predictions = [0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0, 2]
    confusion = confusion_matrix(labels, predictions, 3)
    assert confusion.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert recalls(confusion).tolist() == [0.75, 0.5, 1.0]
    assert uar(labels, predictions, 3) == pytest.approx(0.75)


def test_a_class_that_does_not_occur_is_left_out_of_the_mean() -> None:
    labels, predictions = [0, 0, 2, 2], [0, 1, 2, 2]
    assert np.isnan(recalls(confusion_matrix(labels, predictions, 4))).tolist() == [
        False, True, False, True,
    ]  # fmt: skip
    assert uar(labels, predictions, 4) == pytest.approx(0.75)
    assert np.isnan(uar([], [], 4))


def test_one_answer_for_everything_gives_chance_whatever_the_class_mix() -> None:
    labels = np.repeat([0, 1, 2, 3], [100, 5, 17, 1])
    for answer in range(4):
        assert uar(labels, np.full_like(labels, answer), 4) == 0.25


def test_it_agrees_with_scikit_learn_on_random_decisions() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(5, size=(2, 500))
    assert np.array_equal(
        confusion_matrix(labels, predictions, 5), reference_confusion(labels, predictions)
    )
    assert uar(labels, predictions, 5) == pytest.approx(
        recall_score(labels, predictions, average="macro")
    )


def test_it_does_not_depend_on_the_order_of_the_utterances_or_the_names_of_the_classes() -> None:
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(4, size=(2, 60))
    order, names = rng.permutation(60), rng.permutation(4)
    assert uar(labels[order], predictions[order], 4) == pytest.approx(uar(labels, predictions, 4))
    assert uar(names[labels], names[predictions], 4) == pytest.approx(uar(labels, predictions, 4))


@pytest.mark.parametrize(
    ("labels", "predictions"), [([0, 1], [0]), ([0, 4], [0, 1]), ([0, 1], [0, -1]), ([[0]], [[0]])]
)
def test_impossible_classes_and_lengths_are_refused(
    labels: list[int], predictions: list[int]
) -> None:
    with pytest.raises(ValueError, match="must be"):
        confusion_matrix(labels, predictions, 4)
