"""The cycle loss and its options."""

import math

import pytest
import torch
from torch import Tensor

from emovc.speechflow import Codes, CycleLoss, RandomResampling, SpeechFlowNet, code_distance
from emovc.speechflow.converter import Inputs
from emovc.speechflow.losses import (
    code_deviation,
    draw_partners,
    f0_loss,
    linear_warmup,
    masked_mse,
    replace_factor,
    variance_hinge,
)


def codes_of(*values: float) -> Codes:
    """Constant codes of sizes 16, 2 and 64."""
    sizes = (16, 2, 64)
    return Codes(*(torch.full((3, 5, n), v) for n, v in zip(sizes, values, strict=True)))


MASK = torch.ones(3, 5)


def test_distance_weighs_elements_as_the_authors_and_factors_alike_on_request() -> None:
    a, zero = codes_of(1.0, 2.0, 3.0), codes_of(0.0, 0.0, 0.0)
    elements = (16 * 1 + 2 * 4 + 64 * 9) / 82

    assert float(code_distance(a, zero, MASK)) == pytest.approx(elements, rel=1e-6)
    factors = code_distance(a, zero, MASK, balance="factors")
    assert float(factors) == pytest.approx((1 + 4 + 9) / 3, rel=1e-6)
    assert float(code_distance(a, a, MASK)) == 0


def test_distance_ignores_padding() -> None:
    a, b = (Codes(*(torch.randn(3, 5, n) for n in (16, 2, 64))) for _ in range(2))
    mask = MASK.clone()
    mask[1, 3:] = 0
    wild = Codes(*(x.clone() for x in a))
    wild.content[1, 3:] = 1e6
    for normalise in ("none", "batch_sd", "cosine"):
        plain = code_distance(a, b, mask, normalise=normalise)
        torch.testing.assert_close(code_distance(wild, b, mask, normalise=normalise), plain)


def test_only_the_published_distance_rewards_small_codes() -> None:
    """The scale loophole: shrinking both sides lowers the squared error and not the others."""
    torch.manual_seed(0)
    a, b = (Codes(*(torch.randn(3, 5, n) for n in (16, 2, 64))) for _ in range(2))
    small_a, small_b = (Codes(*(0.1 * x for x in codes)) for codes in (a, b))

    ratio = code_distance(small_a, small_b, MASK) / code_distance(a, b, MASK)
    assert float(ratio) == pytest.approx(0.01, rel=1e-4)
    for normalise in ("batch_sd", "cosine"):
        large = code_distance(a, b, MASK, normalise=normalise)
        small = code_distance(small_a, small_b, MASK, normalise=normalise)
        torch.testing.assert_close(small, large, rtol=1e-4, atol=0)


def test_pairings() -> None:
    torch.manual_seed(0)
    speaker = torch.tensor([0, 1, 0, 1, 0, 2])
    everyone = torch.arange(6)
    for _ in range(20):
        assert draw_partners(speaker, "permutation").sort().values.equal(everyone)
        derangement = draw_partners(speaker, "derangement")
        assert derangement.sort().values.equal(everyone) and (derangement != everyone).all()
        same = draw_partners(speaker, "same_speaker")
        assert speaker[same].equal(speaker) and same.sort().values.equal(everyone)
        assert (same[[0, 1, 2, 3, 4]] != everyone[:5]).all() and same[5] == 5
    assert draw_partners(speaker, "time_shift").equal(everyone)


def test_one_factor_is_replaced() -> None:
    codes = Codes(*(torch.randn(3, 5, n) for n in (16, 2, 64)))
    mixed = replace_factor(codes, 2, torch.tensor([1, 2, 0]))
    assert torch.equal(mixed.content, codes.content) and torch.equal(mixed.rhythm, codes.rhythm)
    assert torch.equal(mixed.pitch[0], codes.pitch[1])


def test_hinge_and_deviation_by_hand() -> None:
    code = torch.tensor([[[0.0, 3.0], [2.0, 3.0]]])  # deviations 1 and 0
    mask = torch.ones(1, 2)
    assert float(code_deviation(code, mask)) == pytest.approx(math.sqrt(0.5), rel=1e-5)
    assert float(variance_hinge(code, mask, 0.4)) == pytest.approx(0.2, abs=1e-3)


def test_f0_losses_by_hand() -> None:
    logits, bins = torch.zeros(1, 257, 4), torch.tensor([[3, 0, 256, 9]])
    mask = torch.tensor([[1.0, 1, 1, 0]])
    assert float(f0_loss(logits, bins, mask, "ce")) == pytest.approx(math.log(257), rel=1e-6)
    assert float(f0_loss(logits, bins, mask, "mse_onehot")) == pytest.approx(1 / 257, rel=1e-5)


def test_masked_mse_is_a_frame_average() -> None:
    pred, target = torch.randn(2, 4, 8, 30).unbind()
    mask = (torch.arange(30) < torch.tensor([30, 10, 20, 7])[:, None]).float()
    parts = [masked_mse(pred[i], target[i], mask[i]) * mask[i].sum() for i in ([0, 1], [2, 3])]
    torch.testing.assert_close(sum(parts) / mask.sum(), masked_mse(pred, target, mask))


def test_warmup() -> None:
    assert [linear_warmup(s, 10, 20) for s in (0, 10, 15, 20, 99)] == [0, 0, 0.5, 1, 1]
    assert linear_warmup(0, 0, 0) == 1


@pytest.fixture
def net() -> SpeechFlowNet:
    torch.manual_seed(0)
    return SpeechFlowNet(
        n_mels=20, speaker_dim=4, factor=4, content_channels=32, rhythm_channels=16,
        pitch_channels=16, decoder_dim=8, decoder_layers=1, f0_head_dim=8,
    )  # fmt: skip


@pytest.fixture
def inputs() -> Inputs:
    torch.manual_seed(1)
    mask = torch.ones(6, 40)
    f0 = torch.rand(6, 40).where(torch.rand(6, 40) > 0.3, -1.0)
    return Inputs(torch.rand(6, 20, 40), f0, torch.rand(6, 4), mask, torch.full((6,), 40))


def cycle_gradients(
    net: SpeechFlowNet, inputs: Inputs, cycle: CycleLoss, step: int = 0
) -> dict[str, float]:
    """Largest gradient of each part of the network from the cycle loss alone."""
    from emovc.speechflow.pitch import f0_bins, f0_one_hot

    net.zero_grad()
    codes = net.encode(inputs.mel, f0_one_hot(f0_bins(inputs.f0)), inputs.mel)
    speaker = torch.arange(6) % 2
    resampling = RandomResampling(10, 20)
    terms = cycle(net, inputs, speaker, codes, resampling, "mse_onehot", step)
    if "cycle" not in terms:
        return {}
    terms["cycle"].backward()
    return {
        name: max(float(p.grad.abs().max()) if p.grad is not None else 0.0 for p in m.parameters())
        for name, m in net.named_children()
    }


def test_gradient_options_reach_what_they_say(net: SpeechFlowNet, inputs: Inputs) -> None:
    torch.manual_seed(0)
    full = cycle_gradients(net, inputs, CycleLoss())
    assert all(value > 0 for value in full.values())

    decoder = cycle_gradients(net, inputs, CycleLoss(gradient="decoder_only"))
    assert decoder["decoder"] > 0 and decoder["f0_head"] > 0
    assert decoder["content_encoder"] == decoder["pitch_encoder"] == decoder["rhythm_encoder"] == 0
    assert all(p.requires_grad for p in net.parameters())

    encoder = cycle_gradients(net, inputs, CycleLoss(gradient="encoder_only"))
    assert encoder["decoder"] == encoder["f0_head"] == 0 < encoder["content_encoder"]


def test_a_stopped_target_is_not_moved(net: SpeechFlowNet, inputs: Inputs) -> None:
    """d(Z~, E(D(Z~))) by hand: the gradient lacks exactly the part through the target."""

    def gradient(option: str) -> Tensor:
        torch.manual_seed(3)
        cycle_gradients(net, inputs, CycleLoss(gradient=option, pairing="none", resample=False))
        grad = net.rhythm_encoder.lstm.weight_ih_l0.grad
        assert grad is not None
        return grad.clone()

    assert not torch.allclose(gradient("full"), gradient("stop_target"))


def test_warmup_leaves_the_cycle_out_before_it_starts(net: SpeechFlowNet, inputs: Inputs) -> None:
    cycle = CycleLoss(warmup_start=10, warmup_stop=20)
    assert cycle_gradients(net, inputs, cycle, step=10) == {}
    half, whole = (
        (torch.manual_seed(5), cycle_gradients(net, inputs, cycle, step=s))[1] for s in (15, 20)
    )
    assert half["decoder"] == pytest.approx(whole["decoder"] / 2, rel=1e-3)


@pytest.mark.parametrize("pairing", ["permutation", "derangement", "same_speaker", "time_shift"])
def test_every_option_trains(net: SpeechFlowNet, inputs: Inputs, pairing: str) -> None:
    cycle = CycleLoss(
        balance="factors", normalise="cosine", resample=False, pairing=pairing,
        swap_speaker=True, variance_weight=1.0,
    )  # fmt: skip
    for seed in range(4):
        torch.manual_seed(seed)
        gradients = cycle_gradients(net, inputs, cycle)
        assert all(math.isfinite(v) for v in gradients.values())
