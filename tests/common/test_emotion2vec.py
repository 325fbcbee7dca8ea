import pytest
import torch

from emovc.common.emotion2vec import Emotion2vec
from emovc.common.errors import UserError
from emovc.common.resample import Resample

TINY = dict(
    dim=32, heads=2, depth=2, prenet_depth=1, extra_tokens=2, conv_channels=16,
    pos_width=10, pos_depth=2, pos_groups=4,
)  # fmt: skip


def tiny(**other: float) -> Emotion2vec:
    """A random tiny network with weights large enough for attention to matter."""
    torch.manual_seed(0)
    model = Emotion2vec(**{**TINY, **other}).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    return model


def padded(items: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(item) for item in items])
    return torch.nn.utils.rnn.pad_sequence(items, batch_first=True), lengths


@pytest.mark.parametrize(
    ("n_classes", "n_parameters", "n_tensors"), [(0, 93_171_212, 183), (9, 93_178_133, 185)]
)
def test_base_model_has_the_official_size(
    n_classes: int, n_parameters: int, n_tensors: int
) -> None:
    model = Emotion2vec(n_classes=n_classes)

    assert sum(weight.numel() for weight in model.parameters()) == n_parameters
    assert len(model.state_dict()) == n_tensors


def test_frames_are_20_ms_apart_and_25_ms_long() -> None:
    model = tiny()
    for n in (400, 719, 720, 1039, 1040, 1999, 16_000, 32_000, 80_000):
        assert model(torch.randn(1, n)).frames.shape == (1, (n - 400) // 320 + 1, 32)
    assert model(torch.randn(1, 160_000)).frames.shape[1] == 499


def test_too_short_an_utterance_is_named() -> None:
    wav, lengths = padded([torch.randn(800), torch.randn(399)])
    with pytest.raises(UserError, match="utterance 1 of the batch is shorter than the 0.025 s"):
        tiny()(wav, lengths)


def test_batch_gives_what_each_gives_alone_whatever_the_padding_holds() -> None:
    model = tiny().double()
    items = [torch.randn(n).double() for n in (80_000, 400, 16_000, 24_321, 719, 8_123)]
    wav, lengths = padded(items)
    wav = torch.nn.functional.pad(wav, (0, 3_000))
    results = []
    for value in (0.0, 7.0, float("nan")):
        filled = wav.masked_fill(torch.arange(83_000) >= lengths[:, None], value)
        with torch.no_grad():
            results.append(model(filled, lengths, layers=True))
    assert all(torch.equal(r.frames, results[0].frames) for r in results)

    for i, item in enumerate(items):
        with torch.no_grad():
            alone = model(item[None], layers=True)
        n = alone.frames.shape[1]
        assert results[0].mask[i].sum() == n and not results[0].frames[i, n:].any()
        pairs = [(results[0].frames[i], alone.frames[0])]
        pairs += [(a[i], b[0]) for a, b in zip(results[0].layers, alone.layers, strict=True)]
        for batched, single in pairs:
            torch.testing.assert_close(batched[:n], single, atol=1e-11, rtol=0)
        torch.testing.assert_close(results[0].utterance[i], alone.utterance[0], atol=1e-11, rtol=0)


def test_a_masked_batch_gives_what_lengths_give_by_themselves() -> None:
    """The ways of GPUs and of CPUs, and the gradients through both."""
    model = tiny().double()
    wav, lengths = padded([torch.randn(n).double() for n in (8_000, 2_345, 2_345, 719)])
    wav.requires_grad_()
    prepared, counts = model._prepare(wav, lengths)
    ways = []
    for encode in (model._encode, model._encode_padded):
        frames, *layers = encode(prepared, counts, True)
        (gradient,) = torch.autograd.grad(frames.pow(3).sum(), wav, retain_graph=True)
        ways.append([frames, *layers, gradient])
    assert len(ways[0]) == 4 and ways[0][0].shape == (4, 24, 32)
    for one, other in zip(*ways, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-7)


def test_order_within_the_batch_does_not_matter() -> None:
    model = tiny().double()
    wav, lengths = padded([torch.randn(n).double() for n in (5_000, 9_000, 7_000)])
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        here, there = model(wav, lengths), model(wav[order], lengths[order])

    torch.testing.assert_close(here.frames[order], there.frames, atol=1e-12, rtol=0)


def test_gain_and_offset_do_not_matter() -> None:
    model = tiny()
    wav = torch.randn(1, 16_000)
    with torch.no_grad():
        here, there = model(wav).frames, model(0.6 * wav + 3.0).frames

    torch.testing.assert_close(here, there, atol=1e-3, rtol=0)


def test_evaluation_is_deterministic_and_training_is_not() -> None:
    model = tiny()
    wav = torch.randn(2, 8_000)

    assert torch.equal(model(wav).frames, model(wav).frames)
    model.train()
    assert not torch.equal(model(wav).frames, model(wav).frames)


def test_utterance_is_the_mean_of_its_frames_and_the_head_is_linear_in_it() -> None:
    model = tiny(n_classes=9)
    out = model(torch.randn(2, 8_000))

    torch.testing.assert_close(out.utterance, out.frames.mean(dim=1))
    assert out.layers == ()
    torch.testing.assert_close(
        model.logits(out.utterance), model.logits(out.frames).mean(dim=1), atol=1e-5, rtol=0
    )
    with pytest.raises(UserError, match="no head"):
        tiny().logits(out.utterance)


def test_unused_classes_never_win() -> None:
    model = tiny(n_classes=3)
    model.labels = ("angry", "unuse_0", "happy")
    scores = model.logits(torch.randn(5, 32)).softmax(dim=-1)

    assert (scores[:, 1] == 0).all()
    torch.testing.assert_close(scores.sum(dim=-1), torch.ones(5))


def test_long_audio_is_encoded_in_equal_windows_that_share_no_frame() -> None:
    """2.5 s in windows of 1 s: three parts of the 124 frames, normalised together."""
    whole, windowed = tiny(), tiny(window_s=1.0)
    items = [torch.randn(40_000), torch.randn(9_000)]
    with torch.no_grad():
        out = windowed(*padded(items), layers=True)
        normal = torch.nn.functional.layer_norm(items[0], items[0].shape)
        for start, stop in ((0, 41), (41, 82), (82, 124)):
            part = normal[None, start * 320 : (stop - 1) * 320 + 400]
            x, bias = whole.modality_encoders["AUDIO"](part, torch.ones(1, stop - start))
            for block in whole.blocks:
                x, fed = block(x, bias)
            torch.testing.assert_close(out.frames[0, start:stop], x[0, 2:], atol=1e-5, rtol=0)
            torch.testing.assert_close(out.layers[1][0, start:stop], fed[0, 2:], atol=1e-5, rtol=0)
        short = whole(items[1][None])

    assert out.frames.shape == (2, 124, 32)
    torch.testing.assert_close(out.utterance[0], out.frames[0].mean(dim=0))
    torch.testing.assert_close(out.utterance[1], short.utterance[0], atol=1e-5, rtol=0)


def test_other_rates_are_resampled_inside() -> None:
    items = [torch.randn(22_050), torch.randn(11_111)]
    model, native = tiny(sample_rate=22_050), tiny()
    resample = Resample(22_050, 16_000)
    wav, lengths = padded(items)
    with torch.no_grad():
        out = model(wav.masked_fill(torch.arange(22_050) >= lengths[:, None], 7.0), lengths)
        for i, item in enumerate(items):
            alone = native(resample(item[None]))
            torch.testing.assert_close(out.utterance[i], alone.utterance[0], atol=1e-5, rtol=0)


def test_bfloat16_autocast_stays_near() -> None:
    model = tiny()
    wav = torch.randn(2, 16_000)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = model(wav).utterance
    with torch.no_grad():
        full = model(wav).utterance

    assert torch.cosine_similarity(low.float(), full).min() > 0.999


def test_gradient_reaches_the_valid_samples_only() -> None:
    model = tiny()
    wav, lengths = padded([torch.randn(4_000), torch.randn(2_000)])
    wav.requires_grad_()
    model(wav, lengths).utterance.square().sum().backward()

    assert wav.grad is not None and torch.isfinite(wav.grad).all()
    assert (wav.grad[0, :3_900] != 0).all() and (wav.grad[1, :1_900] != 0).all()
    assert not wav.grad[1, 2_000:].any()
    assert model.modality_encoders["AUDIO"].alibi_scale.grad.abs().min() > 0


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="heads 5"):
        Emotion2vec(dim=32, heads=5, pos_groups=4)
