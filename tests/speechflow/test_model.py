"""Properties of the networks."""

import pytest
import torch

from emovc.common.audio import LogMel
from emovc.common.batch import Batch
from emovc.common.feature_set import F0_STATISTICS
from emovc.speechflow import (
    Codes,
    CycleLoss,
    F0Converter,
    RandomResampling,
    SpeechFlow,
    SpeechFlowNet,
)
from emovc.speechflow.layers import MaskedGroupNorm, take_codes
from emovc.speechflow.pitch import f0_bins, f0_one_hot, normalise_f0
from emovc.speechflow.training import LitSpeechFlow


@pytest.fixture
def net() -> SpeechFlowNet:
    torch.manual_seed(0)
    return SpeechFlowNet(
        n_mels=20, n_f0_bins=17, speaker_dim=4, factor=4, content_channels=32, rhythm_channels=16,
        pitch_channels=16, decoder_dim=8, decoder_layers=2, f0_head_dim=8,
    )  # fmt: skip


def test_padding_changes_nothing(net: SpeechFlowNet) -> None:
    """Utterances of 24 and 40 frames give together what each gives alone."""
    mel, speaker = torch.rand(2, 20, 40), torch.rand(2, 4)
    f0 = f0_one_hot(torch.randint(0, 17, (2, 40)), 17)
    mask = (torch.arange(40) < torch.tensor([24, 40])[:, None]).float()
    mel[0, :, 24:] = 7.0  # what the padding holds must not matter after masking
    together = net.encode(mel * mask[:, None], f0 * mask[:, None], mel * mask[:, None], mask)
    out = net.decode(together, speaker, mask)
    alone = net.encode(mel[:1, :, :24], f0[:1, :, :24], mel[:1, :, :24])

    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[:1, :6], b, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        out[:1, :, :24], net.decode(alone, speaker[:1]), atol=1e-5, rtol=1e-4
    )
    logits = net.decode_f0(together, mask)[:1, :, :24]
    torch.testing.assert_close(logits, net.decode_f0(alone), atol=1e-5, rtol=1e-4)


def test_masked_group_norm_without_padding_is_torchs() -> None:
    norm = MaskedGroupNorm(4, 16)
    x = torch.randn(3, 16, 30)
    torch.testing.assert_close(norm(x, torch.ones(3, 30)), norm(x), atol=1e-5, rtol=1e-5)


def test_codes_see_their_whole_block() -> None:
    """Forward states are read at 7, 15, ... and backward states at 0, 8, ..."""
    hidden = torch.stack([torch.arange(24.0), 100 + torch.arange(24.0)], dim=-1)[None]
    assert take_codes(hidden, 8)[0].tolist() == [[7, 100], [15, 108], [23, 116]]


def test_evaluation_is_deterministic_and_resampling_is_not(net: SpeechFlowNet) -> None:
    mel, f0 = torch.rand(2, 20, 80), f0_one_hot(torch.randint(0, 17, (2, 80)), 17)
    resampling = RandomResampling(10, 20)
    plain = [net.encode(mel, f0, mel) for _ in range(2)]
    warped = [net.encode(mel, f0, mel, resampling=resampling) for _ in range(2)]

    assert all(torch.equal(a, b) for a, b in zip(*plain, strict=True))
    assert not torch.equal(warped[0].content, warped[1].content)
    assert not torch.equal(warped[0].pitch, warped[1].pitch)
    assert torch.equal(warped[0].rhythm, warped[1].rhythm)  # rhythm is never warped


def test_content_and_pitch_get_the_same_warp(net: SpeechFlowNet) -> None:
    """With equal encoders and inputs, lock-step resampling gives equal codes."""
    net.pitch_encoder = net.content_encoder
    mel = torch.rand(2, 20, 80)
    codes = net.encode(mel, mel, mel, resampling=RandomResampling(10, 20))
    assert torch.equal(codes.content, codes.pitch)


def test_speaker_vector_leaves_the_codes_alone(net: SpeechFlowNet) -> None:
    mel, f0 = torch.rand(1, 20, 40), f0_one_hot(torch.randint(0, 17, (1, 40)), 17)
    codes = net.encode(mel, f0, mel)
    a, b = (net.decode(codes, torch.full((1, 4), v)) for v in (0.0, 1.0))
    assert not torch.allclose(a, b)


def test_any_length_is_decoded(net: SpeechFlowNet) -> None:
    for n in (1, 3, 200):
        codes = Codes(torch.rand(1, n, 16), torch.rand(1, n, 2), torch.rand(1, n, 64))
        assert net.decode(codes, torch.rand(1, 4)).shape == (1, 20, 4 * n)


def test_f0_converter_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    converter = F0Converter(20, 17, 4, dim=8, rhythm_channels=16, pitch_channels=16)
    mel, f0 = torch.rand(2, 20, 40), f0_one_hot(torch.randint(0, 17, (2, 40)), 17)
    mask = (torch.arange(40) < torch.tensor([24, 40])[:, None]).float()
    together = converter(mel * mask[:, None], f0 * mask[:, None], mask)
    alone = converter(mel[:1, :, :24], f0[:1, :, :24])
    torch.testing.assert_close(together[:1, :, :24], alone, atol=1e-5, rtol=1e-4)


def test_f0_bins_of_the_original() -> None:
    """Mean 129, +4 sd 256, -4 sd counts as unvoiced, unvoiced 0."""
    mean, std = 5.0, 0.25
    statistics = torch.tensor([[mean, std]])
    log_f0 = torch.tensor([mean, mean + 4 * std, mean + 9 * std, mean - 4 * std, mean - 3.99 * std])
    f0_hz = torch.cat([log_f0.exp(), torch.zeros(1)])[None]
    assert f0_bins(normalise_f0(f0_hz, statistics))[0].tolist() == [129, 256, 256, 0, 1, 0]


def test_bf16_autocast_runs(net: SpeechFlowNet) -> None:
    mel, f0 = torch.rand(2, 20, 80), f0_one_hot(torch.randint(0, 17, (2, 80)), 17)
    with torch.autocast("cpu", torch.bfloat16):
        codes = net.encode(mel, f0, mel, resampling=RandomResampling(10, 20))
        out = net.decode(codes, torch.rand(2, 4))
    out.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_another_number_of_f0_bins_is_heard_and_decoded() -> None:
    net = SpeechFlowNet(n_f0_bins=33, content_channels=16, rhythm_channels=16, pitch_channels=16,
                        decoder_dim=8, f0_head_dim=8)  # fmt: skip
    frontend = LogMel()
    batch = Batch(
        ids=["a"], wav=0.1 * torch.randn(1, 256 * 44), lengths=torch.tensor([256 * 44]),
        speaker=torch.tensor([0]), emotion=torch.tensor([0]),
        features={"f0": torch.full((1, 44), 150.0), "dvector": torch.randn(1, 256),
                  F0_STATISTICS: torch.tensor([[5.0, 0.2]])},
    )  # fmt: skip
    inputs = SpeechFlow(net, frontend).inputs(batch)
    recipe = LitSpeechFlow(SpeechFlow(net, frontend), RandomResampling(), CycleLoss(), f0_weight=1)
    assert inputs.mask.sum() == 44
    assert torch.isfinite(recipe.training_step(batch, 0))
