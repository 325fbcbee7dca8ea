"""Layers: those of torch where nothing is padded, and gradients turned round."""

import pytest
import torch
from tests.ainn.networks import mask_of
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from emovc.ainn import Adversary, CueCorrelation
from emovc.ainn.cue import calibrate
from emovc.ainn.layers import BiGRU, FilmBlock, channel_norm, instance_norm, reverse_gradient
from emovc.ainn.losses import cue_correlation, uniformity_loss

CODE, DIM, CLASSES = 3, 5, 4


def test_the_gru_is_torchs_bidirectional_one_over_packed_utterances() -> None:
    ours, theirs = BiGRU(5, 4), nn.GRU(5, 4, batch_first=True, bidirectional=True)
    weights = ours.forwards.state_dict()
    weights |= {f"{name}_reverse": w for name, w in ours.backwards.state_dict().items()}
    theirs.load_state_dict(weights)
    frames, x = [9, 12, 1, 5], torch.randn(4, 5, 12)
    packed = pack_padded_sequence(
        x.transpose(1, 2), torch.tensor(frames), batch_first=True, enforce_sorted=False
    )
    wanted = pad_packed_sequence(theirs(packed)[0], batch_first=True)[0].transpose(1, 2)
    found = ours(x, mask_of(*frames)[:, None])
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


def test_instance_norm_without_padding_is_torchs() -> None:
    x = 3 + 5 * torch.randn(2, 4, 20)
    found = instance_norm(x, torch.ones(2, 1, 20))
    torch.testing.assert_close(found, F.instance_norm(x), atol=1e-5, rtol=1e-5)


def test_instance_norm_counts_valid_frames_only() -> None:
    x, mask = 3 + 5 * torch.randn(2, 4, 20), mask_of(20, 12)[:, None]
    found = instance_norm(x, mask)
    torch.testing.assert_close(
        found[1:, :, :12], F.instance_norm(x[1:, :, :12]), atol=1e-5, rtol=1e-5
    )
    assert found[1, :, 12:].eq(0).all()


def test_channel_norm_gives_each_frame_mean_0_and_variance_1() -> None:
    found = channel_norm(3 + 5 * torch.randn(2, 16, 7))
    torch.testing.assert_close(found.mean(1), torch.zeros(2, 7), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(1, correction=0), torch.ones(2, 7), atol=1e-4, rtol=0)


def test_the_condition_steers_a_film_block() -> None:
    block, x, mask = FilmBlock(8, 3, 5, 2), torch.randn(2, 8, 10), torch.ones(2, 1, 10)
    condition = torch.randn(2, 3, requires_grad=True)
    assert not torch.allclose(block(x, condition, mask), block(x, 2 * condition, mask))
    block(x, condition, mask).square().sum().backward()
    assert condition.grad is not None and condition.grad.abs().min() > 0


def test_reversal_keeps_values_and_turns_gradients() -> None:
    x = torch.randn(4, requires_grad=True)
    y = reverse_gradient(x, 0.3)
    assert torch.equal(y, x)
    y.pow(3).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, -0.3 * 3 * x.detach().square())


class Case:
    """What a disentanglement loss gets; content and features ask for gradients."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.content = torch.randn(2, CODE, 8, requires_grad=True)
        self.features = torch.randn(2, DIM, 8, requires_grad=True)
        self.mask = mask_of(8, 6)
        self.cue = torch.rand(2, 8) * self.mask
        self.head = nn.Linear(DIM, CLASSES)
        self.category = torch.tensor([1, 3])

    def loss(self, module: nn.Module, step: int = 0) -> Tensor:
        """Loss of a module."""
        return module(
            self.content, self.features, self.cue, self.mask, self.head, self.category, step
        )


def test_the_projection_gains_by_what_the_encoders_lose_by() -> None:
    case, module = Case(), CueCorrelation(CODE, DIM)
    inputs = [case.content, case.features, module.projection.weight]
    projected = module.projection(case.content.transpose(1, 2)).transpose(1, 2)
    plain = cue_correlation(projected, case.features, case.cue)
    loss = case.loss(module)
    torch.testing.assert_close(loss, plain)
    wanted, found = torch.autograd.grad(plain, inputs), torch.autograd.grad(loss, inputs)
    for gradient, other, sign in zip(found, wanted, (1, 1, -1), strict=True):
        assert other.abs().sum() > 0
        torch.testing.assert_close(gradient, sign * other)


@pytest.mark.parametrize(
    ("step", "ramp_steps", "scale"),
    [(0, 100, 0.0), (25, 100, 0.25), (100, 100, 1.0), (5000, 100, 1.0), (0, 0, 1.0)],
)
def test_the_content_learns_against_the_classifier_by_a_rising_scale(
    step: int, ramp_steps: int, scale: float
) -> None:
    case, module = Case(), Adversary(CODE, CLASSES, 6, ramp_steps)
    weights = list(module.classifier.parameters())
    logits = module.classifier(calibrate(case.content, case.cue))
    plain = F.cross_entropy(logits, case.category)
    wanted = torch.autograd.grad(plain, [case.content, *weights])
    found = torch.autograd.grad(case.loss(module, step), [case.content, *weights])
    assert wanted[0].abs().sum() > 0
    torch.testing.assert_close(found[0], -scale * wanted[0])
    for gradient, other in zip(found[1:], wanted[1:], strict=True):
        torch.testing.assert_close(gradient, other)


def test_emotion_features_beside_the_cue_learn_to_be_uniform_and_the_head_learns_nothing() -> None:
    case, module = Case(), Adversary(CODE, CLASSES, 6)
    rest = (1 - case.cue) * case.mask
    plain = uniformity_loss(case.head(calibrate(case.features, rest)), torch.ones(2))
    (wanted,) = torch.autograd.grad(plain, [case.features])
    case.loss(module).backward()
    assert case.features.grad is not None and wanted.abs().sum() > 0
    torch.testing.assert_close(case.features.grad, wanted)
    assert case.head.weight.grad is None and case.head.bias.grad is None


def test_a_cue_on_all_frames_leaves_nothing_beside_it() -> None:
    case, module = Case(), Adversary(CODE, CLASSES, 6)
    case.cue = case.mask
    logits = module.classifier(calibrate(case.content, case.cue))
    torch.testing.assert_close(case.loss(module), F.cross_entropy(logits, case.category))
