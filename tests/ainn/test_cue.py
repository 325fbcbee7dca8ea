"""The emotional cue: what class activation mapping promises."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ainn.networks import CATEGORIES, EMOTION_DIM, N_MELS, mask_of, small_ainn, small_encoders

from emovc.ainn import calibrate, class_activation, emotional_cue
from emovc.ainn.cue import Selection, frame_weights

SELECTIONS = get_args(Selection)


def test_the_mean_of_the_activations_is_the_logit_for_every_class() -> None:
    encoders, mask = small_encoders(), mask_of(40, 25, 1)
    mel = 3 * torch.randn(3, N_MELS, 40)
    with torch.no_grad():
        heard = encoders.hear(mel, mask)
        for c in range(len(CATEGORIES)):
            category, weight = torch.full((3,), c), encoders.category.weight
            signed = class_activation(heard.features, weight, category)
            signed = signed - class_activation(heard.features, -weight, category)
            logit = (signed * mask).sum(1) / mask.sum(1) + encoders.category.bias[c]
            torch.testing.assert_close(logit, heard.logits[:, c], atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3), frames=st.integers(1, 30))
def test_the_cue_lies_in_0_1_and_forgets_the_scale(seed: int, scale: float, frames: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 6, 30, generator=rng)
    weight, category = torch.randn(4, 6, generator=rng), torch.tensor([1, 3])
    mask = mask_of(30, frames)
    activation = class_activation(features, weight, category)
    cue = emotional_cue(activation, mask)
    assert 0 <= cue.min() and cue.max() <= 1
    assert cue.amax(1).tolist() == [1, 1]
    assert cue[1, frames:].abs().sum() == 0
    louder = emotional_cue(class_activation(features, scale * weight, category), mask)
    torch.testing.assert_close(louder, cue, atol=1e-5, rtol=1e-5)


def test_permuted_frames_have_permuted_cues_and_the_same_vector() -> None:
    features, weight = torch.randn(2, 6, 30), torch.randn(4, 6)
    category, mask, order = torch.tensor([0, 2]), torch.ones(2, 30), torch.randperm(30)
    cue = emotional_cue(class_activation(features, weight, category), mask)
    turned = features[:, :, order]
    permuted = emotional_cue(class_activation(turned, weight, category), mask)
    torch.testing.assert_close(permuted, cue[:, order])
    torch.testing.assert_close(calibrate(turned, permuted), calibrate(features, cue))


def test_a_cue_by_hand() -> None:
    features = torch.tensor([[[1.0, 4.0, -2.0, 8.0], [0.0, 1.0, 5.0, 9.0]]])
    weight = torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    cue = emotional_cue(class_activation(features, weight, torch.tensor([1])), mask)
    assert cue.tolist() == [[0.25, 1.0, 0.0, 0.0]]
    torch.testing.assert_close(calibrate(features, cue), torch.tensor([[4.25 / 1.25, 1 / 1.25]]))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_padding_changes_nothing(selection: Selection) -> None:
    """25 frames give, with 15 frames of anything behind them, what they give alone."""
    model = small_ainn(selection=selection)
    mel, voice = 2 * torch.randn(2, N_MELS, 40), torch.randn(2, 4)
    mel[0, :, 25:] = 7.0
    with torch.no_grad():
        results = []
        for x, mask in ((mel, mask_of(25, 40)), (mel[:1, :, :25], torch.ones(1, 25))):
            heard = model.encoders.hear(x, mask, torch.tensor([2, 1])[: len(x)])
            content = model.encoders.content(x, mask)
            mels = model.generator(content, heard.vector, voice[: len(x)], mask)
            results.append((heard, content, *mels))
    (both, *sequences), (alone, *short) = results
    for name in ("vector", "strength", "logits"):
        ours, theirs = getattr(both, name)[:1], getattr(alone, name)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for long, wanted in zip(sequences, short, strict=True):
        torch.testing.assert_close(long[:1, :, :25], wanted, atol=1e-5, rtol=1e-5)
        assert long[0, :, 25:].abs().sum() == 0
    torch.testing.assert_close(both.cue[:1, :25], alone.cue, atol=1e-5, rtol=1e-5)
    assert both.cue[0, 25:].abs().sum() == 0


def test_a_category_that_no_frame_speaks_for_weighs_all_frames_alike() -> None:
    features, mask = torch.rand(2, 6, 12), mask_of(12, 7)
    weight = torch.stack([-torch.ones(6), torch.ones(6)])
    cue = emotional_cue(class_activation(features, weight, torch.tensor([0, 0])), mask)
    torch.testing.assert_close(cue, mask)
    mean = (features * mask[:, None]).sum(2) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(calibrate(features, cue), mean)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_one_frame_is_its_own_vector(selection: Selection) -> None:
    model = small_ainn(speaker=None, selection=selection)
    mel, mask = torch.randn(2, N_MELS, 1), torch.ones(2, 1)
    heard = model.encoders.hear(mel, mask)
    torch.testing.assert_close(heard.vector, heard.features[:, :, 0])
    content = model.encoders.content(mel, mask)
    fine = model.generator(content, heard.vector, None, mask)[1]
    assert fine.shape == (2, N_MELS, 1) and torch.isfinite(fine).all()


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_constant_mel_as_of_digital_silence_gives_finite_values_and_gradients(
    selection: Selection,
) -> None:
    model = small_ainn(speaker=None, selection=selection).train()
    mel, mask = model.scale(torch.full((2, N_MELS, 20), math.log(1e-5))), mask_of(20, 15)
    heard = model.encoders.hear(mel, mask)
    content = model.encoders.content(mel, mask)
    fine = model.generator(content, heard.vector, None, mask)[1]
    (fine.square().mean() + heard.strength.sum() + heard.logits.square().sum()).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert torch.isfinite(fine).all() and len(gradients) > 30
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def weights_of(selection: Selection, mel: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Weights of frames for features that ask for a gradient."""
    features = torch.randn(len(mel), EMOTION_DIM, mel.shape[2], requires_grad=True)
    category = torch.zeros(len(mel), dtype=torch.long)
    weight = torch.randn(3, EMOTION_DIM, requires_grad=True)
    return frame_weights(selection, features, weight, category, mel, mask)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_no_gradient_reaches_the_weights_of_the_frames(selection: Selection) -> None:
    mel = torch.randn(2, N_MELS, 9, requires_grad=True)
    assert not weights_of(selection, mel, mask_of(9, 4)).requires_grad


def test_uniform_weights_are_the_mask_and_random_ones_come_again() -> None:
    mel, mask = torch.randn(2, N_MELS, 9), mask_of(9, 4)
    torch.testing.assert_close(weights_of("uniform", mel, mask), mask)
    first, second = weights_of("random", mel, mask), weights_of("random", mel, mask)
    assert torch.equal(first, second)
    assert len(first[0].unique()) == 9 and first.amax(1).tolist() == [1, 1]


def test_energy_weighs_the_quietest_frame_0_and_the_loudest_1() -> None:
    level = torch.tensor([[-3.0, 1.0, -1.0, 0.0, 9.0], [4.0, 2.0, 3.0, 2.5, 2.0]])
    weights = weights_of("energy", level[:, None].expand(2, N_MELS, 5), mask_of(4, 5))
    wanted = [[0, 1, 0.5, 0.75, 0], [1, 0, 0.5, 0.25, 0]]
    torch.testing.assert_close(weights, torch.tensor(wanted), atol=1e-5, rtol=1e-5)


def test_the_vector_of_all_zero_weights_is_zero() -> None:
    assert calibrate(torch.randn(1, 3, 5), torch.zeros(1, 5)).tolist() == [[0, 0, 0]]
