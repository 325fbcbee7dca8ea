"""Blocks and predictors: padding without effect; pitch, style and durations by hand."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.genner_tts.global_style import GlobalStyle
from emovc.genner_tts.local_style import LocalStyleEncoder
from emovc.genner_tts.mix_style import MixStyle
from emovc.genner_tts.predictors import (
    DurationPredictor,
    PitchEmbedding,
    PitchPredictor,
    PitchScale,
    coarse_pitch,
)
from emovc.genner_tts.timeline import (
    durations_of_phones,
    phones_of_frames,
    predicted_durations,
    spread,
)
from emovc.genner_tts.transformer import FFTBlocks, MelDecoder, SelfAttention, TextEncoder

DIM = 8


def mask_of(*lengths: int) -> Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float()


def modules() -> list[nn.Module]:
    torch.manual_seed(0)
    nets = [MelDecoder(DIM, 2, hidden=12), DurationPredictor(DIM), PitchPredictor(DIM)]
    return [net.eval() for net in nets]


@torch.no_grad()
@pytest.mark.parametrize("index", range(3))
def test_padding_and_company_change_nothing(index: int) -> None:
    net, lengths = modules()[index], (5, 11, 8)
    mask = mask_of(*lengths)
    x = torch.randn(3, 11, DIM) + 50 * (1 - mask[:, :, None])
    together = net(x, mask)
    for i, n in enumerate(lengths):
        alone = net(x[i : i + 1, :n], mask_of(n))
        torch.testing.assert_close(together[i : i + 1, :n], alone, atol=1e-5, rtol=1e-5)
        assert not together[i, n:].any()


@torch.no_grad()
def test_padded_phones_change_nothing() -> None:
    torch.manual_seed(0)
    net = TextEncoder(9, DIM, 2, hidden=12).eval()
    phones = torch.tensor([[3, 4, 5, 1, 8], [2, 7, 0, 0, 0]])
    together = net(phones)
    torch.testing.assert_close(together[1:, :2], net(phones[1:, :2]), atol=1e-5, rtol=1e-5)
    assert not together[1, 2:].any()
    assert (net(phones[:, [1, 0, 2, 3, 4]])[0, 2] - together[0, 2]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("by_segment", [True, False])
def test_padded_references_change_nothing(by_segment: bool) -> None:
    torch.manual_seed(0)
    net, lengths = LocalStyleEncoder(6, DIM, 5).eval(), (12, 5, 9)
    mask = mask_of(*lengths)
    mel = torch.randn(3, 6, 12) + 50 * (1 - mask[:, None])
    segments = ((torch.arange(12) // 3 + 1) * mask).long() if by_segment else None
    together = net(mel, mask, segments, True)
    for i, n in enumerate(lengths):
        row = None if segments is None else segments[i : i + 1, :n]
        alone = net(mel[i : i + 1, :, :n], mask_of(n), row, True)
        units = alone.vectors.shape[1]
        torch.testing.assert_close(together.encoded[i : i + 1, :units], alone.encoded)
        torch.testing.assert_close(together.vectors[i : i + 1, :units], alone.vectors)
        assert together.mask[i].sum() == units


@torch.no_grad()
def test_attention_is_a_weighted_mean_of_valid_values() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(4, 2), torch.randn(1, 3, 4)
    q, k, v = layer.qkv(x)[0].chunk(3, 1)
    heads = []
    for part in (slice(0, 2), slice(2, 4)):
        weights = (q[:, part] @ k[:2, part].T / math.sqrt(2)).softmax(1)
        heads.append(weights @ v[:2, part])
    found = layer(x, torch.tensor([[1.0, 1, 0]]))
    torch.testing.assert_close(found[0], layer.out(torch.cat(heads, 1)))


def test_bad_sizes_are_named() -> None:
    with pytest.raises(UserError, match="dim 6"):
        FFTBlocks(6, heads=2)
    with pytest.raises(UserError, match="kernel 4"):
        DurationPredictor(8, kernel=4)


def test_coarse_pitch_spans_the_mel_scale() -> None:
    f0_hz = torch.tensor([[0.0, 30, 50, 1100, 2000, 200]])
    mel = [1127 * math.log1p(f / 700) for f in (50, 200, 1100)]
    middle = round((mel[1] - mel[0]) / (mel[2] - mel[0]) * 254 + 1)
    assert coarse_pitch(f0_hz).tolist() == [[1, 1, 1, 255, 255, middle]]
    embedded = PitchEmbedding(4)(f0_hz, torch.tensor([[1.0, 1, 1, 1, 1, 0]]))
    assert not embedded[0, 5].any() and embedded[0, :5].any(1).all()


def test_pitch_scales_there_and_back() -> None:
    scale = PitchScale()
    scale.set(150.0, 40.0)
    f0_hz = torch.tensor([[120.0, 300.0]])
    pitch = torch.stack([scale.normalised(f0_hz), torch.tensor([[-1.0, 1.0]])], 2)
    torch.testing.assert_close(scale.hertz(pitch), torch.tensor([[120.0, 0.0]]))
    assert scale.state_dict()["mean_hz"] == 150
    with pytest.raises(UserError, match="above zero"):
        scale.set(150.0, 0.0)


def test_mixed_style_is_the_identity_in_evaluation_or_the_own_style() -> None:
    torch.manual_seed(0)
    x, style = torch.randn(3, 5, DIM), torch.randn(3, DIM)
    code, paper = MixStyle(DIM).eval(), MixStyle(DIM, "paper").eval()
    assert torch.equal(code(x, style), x)
    shift, scale = paper.affine(style).chunk(2, 1)
    normal = (x - x.mean(2, keepdim=True)) / (x.std(2, keepdim=True) + 1e-6)
    torch.testing.assert_close(paper(x, style), normal * scale[:, None] + shift[:, None])
    code.train()
    changed = [not torch.equal(code(x, style), x) for _ in range(60)]
    assert 15 < sum(changed) < 45
    (code(x * 0, style) * 0).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in code.parameters())


def test_emotions_are_normalised() -> None:
    torch.manual_seed(0)
    emotion, speaker = torch.randn(2, 6), torch.randn(2, 4)
    nets = {norm: GlobalStyle(4, 6, DIM, norm) for norm in ("none", "l2", "layernorm")}
    e = {
        norm: net(speaker, emotion)[1] - net(speaker, 3 * emotion)[1] for norm, net in nets.items()
    }
    assert e["none"].abs().max() > 0.1
    assert e["l2"].abs().max() < 1e-5 and e["layernorm"].abs().max() < 1e-4
    wanted = nets["l2"].emotion(F.normalize(emotion))[:, None]
    torch.testing.assert_close(nets["l2"](speaker, emotion)[1], wanted)


def test_durations_make_frames_and_back() -> None:
    durations = torch.tensor([[2, 0, 3], [1, 1, 0]])
    mel2ph = phones_of_frames(durations)
    assert mel2ph.tolist() == [[1, 1, 3, 3, 3], [1, 2, 0, 0, 0]]
    assert torch.equal(durations_of_phones(mel2ph, 3), durations)
    phones = torch.arange(1.0, 7).view(2, 3, 1)
    assert spread(phones, mel2ph)[:, :, 0].tolist() == [[1, 1, 3, 3, 3], [4, 5, 0, 0, 0]]
    with pytest.raises(UserError, match="phone 3 of 2"):
        spread(phones[:, :2], mel2ph)


def test_predicted_durations_are_scaled_and_never_empty() -> None:
    log_durations = torch.tensor([[3.0, 0.6, 5.0], [-1.0, 0.2, 9.0]]).log1p().nan_to_num(-1.0)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert predicted_durations(log_durations, mask).tolist() == [[3, 1, 5], [1, 0, 0]]
    assert predicted_durations(log_durations, mask, 2.0).tolist() == [[6, 1, 10], [1, 0, 0]]
