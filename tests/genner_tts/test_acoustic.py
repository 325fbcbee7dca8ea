"""The whole acoustic model: no effect of padding, some of all else, training and synthesis."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.acoustic import Alignment, GennerAcoustic
from emovc.genner_tts.losses import commitment_loss, flow_nll, guided_attention_loss, mel_l1_loss
from emovc.genner_tts.mix_style import MixStyleMode
from emovc.genner_tts.style_level import Level, Reference
from emovc.genner_tts.timeline import phones_of_frames

N_MELS, SPEAKER, EMOTION = 8, 5, 6


class Batch(NamedTuple):
    phones: Tensor
    mel2ph: Tensor
    speaker: Tensor
    emotion: Tensor
    f0_hz: Tensor
    references: list[Reference]
    mel: Tensor


def mask_of(*lengths: int) -> Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float()


def batch() -> Batch:
    """Two utterances of 9 and 6 frames, and references of 10 and 13, with a mess at padding."""
    torch.manual_seed(1)
    phones = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    mel2ph = phones_of_frames(torch.tensor([[2, 3, 1, 3], [4, 2, 0, 0]]))
    mask = mask_of(10, 13)
    mel = torch.randn(2, N_MELS, 13) + 50 * (1 - mask[:, None])
    steps = torch.arange(13)
    segments = [((steps // n + 1) * mask).long() for n in (2, 5)]
    f0_hz = 100 + 200 * torch.rand(2, 9) + 900 * (mel2ph == 0)
    return Batch(
        phones, mel2ph, torch.randn(2, SPEAKER), torch.randn(2, EMOTION), f0_hz,
        [Reference(mel, mask, *segments)], torch.randn(2, N_MELS, 9),
    )  # fmt: skip


def toy(
    levels: tuple[Level, ...] = ("frame", "phone", "word"),
    flow: bool = True,
    drop: float = 0.3,
    mixstyle: MixStyleMode = "code",
) -> GennerAcoustic:
    """A toy model in evaluation mode, the same at every call, with no weight at zero."""
    torch.manual_seed(0)
    net = GennerAcoustic(
        9, SPEAKER, EMOTION, N_MELS, dim=8, n_layers=1, hidden=12, levels=levels, n_codes=6,
        level_dropout=drop, mixstyle=mixstyle, aligner_hidden=12,
        postnet="flow" if flow else "none", flow_dim=4, flow_blocks=4,
    )  # fmt: skip
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return net.eval()


def alone(batch: Batch, i: int) -> Batch:
    """Utterance ``i`` without its padding."""
    row = slice(i, i + 1)
    n_phones, n_frames = int((batch.phones[i] > 0).sum()), int((batch.mel2ph[i] > 0).sum())
    reference = batch.references[0]
    n = int(reference.mask[i].sum())
    assert reference.mel2ph is not None and reference.mel2word is not None
    one = Reference(
        reference.mel[row, :, :n], reference.mask[row, :n], reference.mel2ph[row, :n],
        reference.mel2word[row, :n],
    )  # fmt: skip
    return Batch(
        batch.phones[row, :n_phones], batch.mel2ph[row, :n_frames], batch.speaker[row],
        batch.emotion[row], batch.f0_hz[row, :n_frames], [one], batch.mel[row, :, :n_frames],
    )  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize(
    ("alignment", "quantise", "mixstyle"),
    [("forced", False, "code"), ("attention", False, "code"), ("attention", True, "paper")],
)
def test_padding_and_company_change_nothing(
    alignment: Alignment, quantise: bool, mixstyle: MixStyleMode
) -> None:
    net, both = toy(mixstyle=mixstyle), batch()
    together = net(*both, alignment=alignment, quantise=quantise)
    for i in range(2):
        one = net(*alone(both, i), alignment=alignment, quantise=quantise)
        n_frames, n_phones = one.mel.shape[2], one.log_durations.shape[1]
        for name, n in (("mel", n_frames), ("pitch", n_frames), ("log_durations", n_phones)):
            found, wanted = getattr(together, name)[i], getattr(one, name)[0]
            if name == "mel":
                found, wanted = found.T, wanted.T
            torch.testing.assert_close(found[:n], wanted, atol=1e-5, rtol=1e-5)
            assert not found[n:].any()
        even = n_frames - n_frames % 2  # an added frame holds noise
        if even == n_frames:
            assert one.flow is not None and together.flow is not None
            found = together.flow.z[i, :, :even]
            torch.testing.assert_close(found, one.flow.z[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_synthesis_does_not_feel_padding() -> None:
    net, both = toy(), batch()
    together = net.synthesise(*both[:1], *both[2:4], both.references, noise_scale=0.0)
    for i in range(2):
        one = alone(both, i)
        found = net.synthesise(*one[:1], *one[2:4], one.references, noise_scale=0.0)
        n = found.mel.shape[2]
        torch.testing.assert_close(together.mel[i, :, :n], found.mel[0], atol=1e-4, rtol=1e-4)
        assert not together.mel[i, :, n:].any() and together.mask[i].sum() == n
        assert found.durations.sum() == n


@torch.no_grad()
def test_every_condition_is_felt() -> None:
    net, plain = toy(), batch()
    out = net(*plain)
    changed = {
        "phones": plain._replace(phones=plain.phones.clamp(max=3)),
        "speaker": plain._replace(speaker=plain.speaker + 1),
        "emotion": plain._replace(emotion=plain.emotion.flip(0)),
        "f0_hz": plain._replace(f0_hz=plain.f0_hz * 2),
        "reference": plain._replace(
            references=[plain.references[0]._replace(mel=plain.references[0].mel.flip(1))]
        ),
    }
    for name, other in changed.items():
        difference = (net(*other).mel - out.mel).abs().max()
        assert difference > 1e-4, name
    for name in ("speaker", "emotion", "phones"):
        assert (net(*changed[name]).log_durations - out.log_durations).abs().max() > 1e-5, name
        assert (net(*changed[name]).pitch - out.pitch).abs().max() > 1e-5, name


@torch.no_grad()
def test_each_level_is_felt_and_may_be_absent() -> None:
    net, plain = toy(), batch()
    full, none = net(*plain), net(*plain[:5], [])
    assert not none.levels and set(full.levels) == {"frame", "phone", "word"}
    torch.testing.assert_close(net(*plain, levels=[]).mel, none.mel)
    for level in ("frame", "phone", "word"):
        assert (net(*plain, levels=[level]).mel - none.mel).abs().max() > 1e-5
    frames = toy(levels=("frame",))
    unaligned = [reference._replace(mel2ph=None, mel2word=None) for reference in plain.references]
    assert frames(*plain[:5], unaligned).mel.isfinite().all()
    with pytest.raises(UserError, match="mel2ph"):
        net(*plain[:5], unaligned)
    with pytest.raises(UserError, match="no level"):
        frames(*plain, levels=["word"])


@torch.no_grad()
def test_dropped_levels_are_absent_levels() -> None:
    plain = batch()
    dropping, keeping = toy(drop=1.0), toy(drop=0.0)
    for net, absent in ((dropping, True), (keeping, False)):
        levels = net.train()(*plain).levels
        assert all(level.vectors.any().item() is not absent for level in levels.values())
    assert all(level.vectors.any() for level in dropping.eval()(*plain).levels.values())


def test_a_step_moves_all_weights_and_the_flow_moves_only_itself() -> None:
    net, plain = toy(drop=0.0).train(), batch()
    out = net(*plain)
    assert out.flow is not None
    flow_nll(out.flow).backward()
    felt = {name for name, weight in net.named_parameters() if weight.grad is not None}
    assert felt == {name for name, _ in net.named_parameters() if name.startswith("postnet")}
    loss = mel_l1_loss(out.mel, plain.mel, out.mask) + out.pitch.square().mean()
    loss = loss + out.log_durations.square().mean()
    for level in out.levels.values():
        codes = level.style.codes
        assert codes is not None
        loss = loss + commitment_loss(level.style.encoded, codes, level.style.mask)
        loss = loss + guided_attention_loss(level.attention, out.mask, level.style.mask)
    loss.backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in net.parameters())


@torch.no_grad()
def test_synthesis_follows_given_durations_and_pitch() -> None:
    net, plain = toy(flow=False), batch()
    durations = torch.tensor([[2, 3, 1, 3], [4, 2, 0, 0]])
    given = net.synthesise(
        plain.phones, plain.speaker, plain.emotion, plain.references,
        durations=durations, f0_hz=plain.f0_hz,
    )  # fmt: skip
    torch.testing.assert_close(given.mel, net(*plain).mel)
    net.durations.net.linear.bias.fill_(2.0)
    slow, fast = (
        net.synthesise(plain.phones, plain.speaker, plain.emotion, duration_scale=scale)
        for scale in (3.0, 1.0)
    )
    ratio = slow.durations.sum() / fast.durations.sum()
    assert ratio.item() == pytest.approx(3, rel=0.1)
    assert (fast.f0_hz >= 0).all() and fast.f0_hz.shape == fast.mask.shape
