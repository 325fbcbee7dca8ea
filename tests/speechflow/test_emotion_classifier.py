"""The classifiers of SpeechFlow's factor table."""

import dataclasses

import numpy as np
import pytest
import torch
from tests.speechflow.classifiers import ACRNN

from emovc.common.errors import UserError
from emovc.speechflow.emotion_classifier import (
    Labelled,
    Recipe,
    average_recall,
    balanced_windows,
    decide,
    train_classifier,
)

RECIPE = Recipe(ACRNN, iterations=3, batch_size=4, lr=1e-2, validate_every=2)


def problem(n: int, seed: int) -> Labelled:
    """Loud low or loud high bands; each third utterance has a second window."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    owner = torch.cat([torch.arange(n), torch.arange(0, n, 3)])
    mel = 0.1 * torch.rand(len(owner), 8, 12, generator=rng)
    mel[labels[owner] == 0, :4] += 0.5
    mel[labels[owner] == 1, 4:] += 0.5
    return Labelled(mel, owner, labels)


def test_a_classifier_learns_and_repeats_and_the_best_step_is_kept() -> None:
    recipe = dataclasses.replace(RECIPE, iterations=30, validate_every=10, lr=2e-2, batch_size=16)
    train, val, test = (problem(24, seed) for seed in range(3))
    network = train_classifier(recipe, train, val, 2, seed=0)
    assert average_recall(test.labels, decide(network, test.mel, test.owner)) > 0.9
    again = train_classifier(recipe, train, val, 2, seed=0)
    for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    # With the labels of validation turned round, the best step is the least trained one.
    turned = val._replace(labels=1 - val.labels)
    worst = train_classifier(recipe, train, turned, 2, seed=0)
    late = average_recall(val.labels, decide(network, val.mel, val.owner))
    assert average_recall(val.labels, decide(worst, val.mel, val.owner)) <= late


def test_an_utterance_gets_the_class_of_its_largest_logit() -> None:
    """Windows 0 and 2 are of utterance 0: its largest logit is 5 of class 2, in window 2."""

    class Given(torch.nn.Linear):
        def forward(self, mel: torch.Tensor) -> torch.Tensor:
            return mel[:, :, 0]

    logits = torch.tensor([[4.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 5.0]])
    owner = torch.tensor([0, 1, 0])
    assert decide(Given(1, 1), logits[:, :, None], owner).tolist() == [2, 1]


def test_windows_are_balanced_by_the_rarest_class() -> None:
    classes = torch.tensor([0] * 9 + [1] * 4 + [2] * 6)
    chosen = balanced_windows(classes, np.random.default_rng(0))
    assert classes[chosen].bincount().tolist() == [4, 4, 4]
    assert len(chosen.unique()) == 12


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("emovc.common.audio.LogMel", "has no setting"),
        ("torch.nn.Linear", "not of emovc"),
        ("emovc.ser.acrnn.Nothing", "does not exist"),
    ],
)
def test_what_is_no_classifier_is_refused(path: str, message: str) -> None:
    recipe = dataclasses.replace(RECIPE, classifier={"class_path": path})
    with pytest.raises(UserError, match=message):
        train_classifier(recipe, problem(8, 0), problem(8, 1), 2, 0)
