"""Score network: published size, no result changed by padding, every condition felt."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.emoconv_diff.unet import ScoreNet
from emovc.emoconv_diff.unet_layers import (
    Block,
    LinearAttention,
    ResnetBlock,
    group_norm,
    mish,
    sinusoid,
)

N_MELS, SPEAKER_DIM, EMOTION_DIM = 8, 5, 6


class Inputs(NamedTuple):
    """What a score network takes."""

    x_t: Tensor
    mask: Tensor
    y: Tensor
    t: Tensor
    speaker: Tensor
    emotion: Tensor


def inputs(*frames: int) -> Inputs:
    """Random utterances of so many frames, with a loud mess where the mask is 0."""
    n = len(frames)
    mask = (torch.arange(max(frames)) < torch.tensor(frames)[:, None]).float()
    mess = 50 * (1 - mask)[:, None]
    x_t, y = (torch.randn(n, N_MELS, max(frames)) for _ in range(2))
    t, speaker, emotion = torch.rand(n), torch.randn(n, SPEAKER_DIM), torch.randn(n, EMOTION_DIM)
    return Inputs(x_t + mess, mask, y - mess, t, speaker, emotion)


def small(
    emotion_dim: int = EMOTION_DIM, null_condition: bool = False, masked: bool = True
) -> ScoreNet:
    """Small network, the same at every call, whose attention counts from the start."""
    torch.manual_seed(0)
    net = ScoreNet(8, SPEAKER_DIM, emotion_dim, null_condition, masked)
    for module in net.modules():
        if isinstance(module, LinearAttention):
            nn.init.ones_(module.gain)
    return net


def alone(batch: Inputs, i: int) -> Inputs:
    """Utterance ``i`` of a batch without its padding."""
    frames = int(batch.mask[i].sum())
    row = Inputs(*(part[i : i + 1] for part in batch))
    return row._replace(
        x_t=row.x_t[..., :frames], y=row.y[..., :frames], mask=row.mask[..., :frames]
    )


@pytest.mark.parametrize(
    ("dim", "emotion_dim", "count"),
    [
        (256, 0, 117_113_223),  # the official code without reference block
        (256, 1024, 117_508_743),
        (128, 1024, 30_411_527),
        (64, 1024, 8_342_343),
    ],
)
def test_the_network_has_the_published_size(dim: int, emotion_dim: int, count: int) -> None:
    with torch.device("meta"):
        net = ScoreNet(dim, 256, emotion_dim)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize("frames", [1, 3, 4, 37])
@pytest.mark.parametrize("masked", [True, False])
def test_the_score_is_as_long_as_the_mel(frames: int, masked: bool) -> None:
    batch = inputs(frames, frames)
    score = small(masked=masked)(*batch)
    assert score.shape == batch.x_t.shape and score.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 6, 13, 16])
def test_padding_and_company_change_nothing(frames: int) -> None:
    net, batch = small(), inputs(frames, 23, 4)
    score = net(*batch)
    for i in range(3):
        wanted = net(*alone(batch, i))
        found = score[i : i + 1, :, : wanted.shape[2]]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert score[0, :, frames:].eq(0).all()


@torch.no_grad()
def test_padding_changes_the_original_form() -> None:
    net, batch = small(masked=False), inputs(13, 23)
    found, wanted = net(*batch)[:1, :, :13], net(*alone(batch, 0))
    assert (found - wanted).abs().max() > 1e-2


@torch.no_grad()
def test_both_forms_agree_where_nothing_is_padded() -> None:
    batch = inputs(16, 16)
    torch.testing.assert_close(small()(*batch), small(masked=False)(*batch))


def test_linear_attention_is_a_weighted_sum_over_valid_pixels() -> None:
    layer, batch = LinearAttention(6, heads=2, head_dim=3), inputs(7, 4)
    nn.init.constant_(layer.gain, 0.5)
    assert layer.out.bias is not None
    x = torch.randn(2, 6, 4, 7)
    found = layer(x, batch.mask[:, None, None])
    for i, frames in enumerate((7, 4)):
        pixels = x[i, :, :, :frames].flatten(1)  # (C, N)
        q, k, v = (layer.qkv.weight[:, :, 0, 0] @ pixels).chunk(3)
        heads = []
        for rows in (slice(0, 3), slice(3, 6)):
            # similarity of query n and key m: sum over d of q[d, n] softmax over m of k[d, m]
            similarity = q[rows].T @ k[rows].softmax(1)
            heads.append(v[rows] @ similarity.T)
        out = layer.out.weight[:, :, 0, 0] @ torch.cat(heads) + layer.out.bias[:, None]
        wanted = (pixels + 0.5 * out).unflatten(1, (4, frames))
        torch.testing.assert_close(found[i, :, :, :frames], wanted, atol=1e-5, rtol=1e-5)


def test_attention_begins_as_the_identity_and_learns_at_once() -> None:
    layer, x = LinearAttention(8), torch.randn(2, 8, 4, 5)
    found = layer(x, None)
    assert torch.equal(found, x)
    (found * torch.randn_like(x)).sum().backward()
    assert layer.gain.grad is not None and layer.gain.grad.abs() > 0


def test_a_block_is_convolution_norm_and_mish() -> None:
    block, x = Block(3, 16), torch.randn(2, 3, 4, 5)
    h = F.conv2d(x, block.conv.weight, block.conv.bias, padding=1)
    h = F.group_norm(h, 8)
    torch.testing.assert_close(block(x, None), h * F.softplus(h).tanh(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_mish_without_gradients_is_mish() -> None:
    x = torch.cat([torch.linspace(-90, 90, 1001), torch.tensor([-1e9, 1e9])])
    wanted = (x.double() * F.softplus(x.double()).tanh()).float()
    torch.testing.assert_close(mish(x), wanted, atol=1e-30, rtol=1e-6)
    assert mish(torch.tensor([float("nan")])).isnan()


def test_time_is_coded_by_sines_from_one_to_a_ten_thousandth() -> None:
    t = torch.tensor([0.0, 0.004])
    found = sinusoid(t, 6)
    angles = 4 * torch.tensor([1.0, 0.01, 0.0001])
    wanted = torch.stack(
        [torch.tensor([0.0] * 3 + [1.0] * 3), torch.cat([angles.sin(), angles.cos()])]
    )
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["x_t", "y", "t", "speaker", "emotion"])
def test_every_input_reaches_every_valid_frame(name: str) -> None:
    batch = inputs(9, 6)
    value = getattr(batch, name).requires_grad_()
    score = small()(*batch._replace(**{name: value}))
    for i, frame in ((0, 8), (1, 5)):
        gradient = torch.autograd.grad(score[i, :, frame].norm(), value, retain_graph=True)[0]
        assert gradient[i].abs().max() > 1e-6
        assert gradient[1 - i].eq(0).all()


def test_dropped_emotions_and_no_emotion_are_the_same() -> None:
    net, batch = small(null_condition=True), inputs(8, 8)
    dropped = net.drop_emotion(batch.emotion, torch.tensor([True, False]))
    assert torch.equal(dropped[1], batch.emotion[1])
    mixed, without = net(*batch._replace(emotion=dropped)), net(*batch[:5])
    torch.testing.assert_close(mixed[0], without[0], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(mixed[1], without[1], atol=1e-3)
    without.sum().backward()
    assert len(list(net.parameters())) == 1 + len(list(small().parameters()))
    null = net.condition.null_emotion
    assert null is not None and null.grad is not None and null.grad.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize("frames", [(16, 16), (13, 7)])
def test_bfloat16_autocast_stays_near_float32(frames: tuple[int, int]) -> None:
    net, batch = small(), inputs(*frames)
    wanted = net(*batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(*batch)
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).norm() < 0.05 * wanted.norm()


def test_autocast_keeps_images_in_bfloat16_and_statistics_exact() -> None:
    block, mask = ResnetBlock(8, 16, 4), inputs(7, 4).mask[:, None, None]
    time, x = torch.randn(2, 4), torch.randn(2, 8, 4, 7)
    attention = LinearAttention(16)
    with torch.autocast("cpu", torch.bfloat16):
        for m in (None, mask):
            assert attention(block(x.bfloat16(), time, m), m).dtype == torch.bfloat16
    norm, wide = nn.GroupNorm(8, 8), 16 + torch.randn(2, 8, 16, 64).bfloat16()
    found = group_norm(norm, wide, torch.ones(2, 1, 1, 64)).float()
    torch.testing.assert_close(found, norm(wide.float()), atol=1e-2, rtol=1e-2)


def test_a_small_network_learns_the_score_of_a_batch() -> None:
    torch.manual_seed(0)
    net, batch = ScoreNet(8, SPEAKER_DIM, EMOTION_DIM), inputs(16, 12, 16, 9)
    sigma, noise = (0.2 + 0.8 * batch.t)[:, None, None], torch.randn(4, N_MELS, 16)
    batch = batch._replace(x_t=batch.y + sigma * noise)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        error = (sigma * net(*batch) + noise).square() * batch.mask[:, None]
        loss = error.sum() / batch.mask.sum() / N_MELS
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert 0.7 < losses[0] < 1.5
    assert losses[-1] < 0.75


def test_what_does_not_fit_is_named() -> None:
    batch = inputs(8)
    odd = batch._replace(x_t=torch.randn(1, 6, 8), y=torch.randn(1, 6, 8))
    with pytest.raises(UserError, match="multiple of 4, not 6"):
        small()(*odd)
    with pytest.raises(UserError, match="multiple of 8, not 12"):
        ScoreNet(12)
    with pytest.raises(UserError, match="set emotion_dim"):
        ScoreNet(8, null_condition=True)
    with pytest.raises(UserError, match="set emotion_dim"):
        small(emotion_dim=0)(*batch)
    with pytest.raises(UserError, match="null_condition: true"):
        small()(*batch[:5])
