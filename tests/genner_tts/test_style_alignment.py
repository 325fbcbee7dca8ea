"""Aligner: windows on the diagonal, padding without effect, several references side by side."""

import math

import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.local_style import segment_mean
from emovc.genner_tts.losses import guided_attention_loss
from emovc.genner_tts.style_alignment import StyleAligner, forced_windows
from emovc.genner_tts.style_level import Reference, StyleLevel


def mask_of(*lengths: int) -> Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float()


def test_forced_rows_see_the_published_keys() -> None:
    windows = forced_windows(mask_of(60), mask_of(12))[0]
    wanted = {0: [0], 5: [0, 1], 7: [0, 1, 2], 30: [5, 6], 59: [10, 11]}
    assert {i: windows[i].nonzero()[:, 0].tolist() for i in wanted} == wanted


@pytest.mark.parametrize(("n_frames", "n_keys"), [(60, 12), (7, 7), (5, 9), (1, 3), (10, 1)])
def test_forced_windows_are_the_formula_and_know_padding(n_frames: int, n_keys: int) -> None:
    windows = forced_windows(mask_of(n_frames, 80), mask_of(n_keys, 30))[0]
    for i in range(n_frames):
        rate = i * n_keys / n_frames
        low, high = math.floor(rate) - 1, math.ceil(rate)
        wanted = [j for j in range(n_keys) if low <= j <= high]
        assert windows[i].nonzero()[:, 0].tolist() == wanted
    assert not windows[n_frames:].any() and not windows[:, n_keys:].any()


def test_forced_style_is_the_sum_of_the_window_as_it_is() -> None:
    aligner = StyleAligner(8, hidden=16, n_layers=1).eval()
    x, keys = torch.randn(1, 6, 8), torch.randn(1, 3, 8)
    out, weights = aligner(x, mask_of(6), keys, mask_of(3), True)
    layer = aligner.layers[0]
    h = layer.attention_norm(x + weights[0] @ keys)
    wanted = layer.feed_forward_norm(h + layer.narrow(layer.widen(h).relu()))
    torch.testing.assert_close(out, wanted)
    assert weights[0, 0].sum(1).tolist() == [1, 2, 2, 3, 2, 2] or weights.max() == 1


@torch.no_grad()
@pytest.mark.parametrize("forced", [True, False])
def test_padding_and_company_change_nothing(forced: bool) -> None:
    torch.manual_seed(0)
    aligner = StyleAligner(8, hidden=16).eval()
    frames, units = (9, 14, 4), (6, 3, 5)
    x, keys = torch.randn(3, 14, 8), torch.randn(3, 6, 8)
    out, weights = aligner(x, mask_of(*frames), keys, mask_of(*units), forced)
    losses = []
    for i, (t, n) in enumerate(zip(frames, units, strict=True)):
        one, weight = aligner(x[i : i + 1, :t], mask_of(t), keys[i : i + 1, :n], mask_of(n), forced)
        torch.testing.assert_close(out[i : i + 1, :t], one, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(weights[:, i : i + 1, :t, :n], weight)
        assert not out[i, t:].any() and not weights[:, i, :t, n:].any()
        losses.append(guided_attention_loss(weight, mask_of(t), mask_of(n)) * t * n)
    loss = guided_attention_loss(weights, mask_of(*frames), mask_of(*units))
    cells = sum(t * n for t, n in zip(frames, units, strict=True))
    torch.testing.assert_close(loss, torch.stack(losses).sum() / cells)


def test_guided_attention_by_hand() -> None:
    weights = torch.tensor([[[[0.5, 0.5], [0.0, 1.0]]]]).repeat(2, 1, 1, 1)
    far = 1 - math.exp(-(0.5**2) / (2 * 0.3**2))
    loss = guided_attention_loss(weights, mask_of(2), mask_of(2))
    assert loss.item() == pytest.approx(2 * 0.5 * far / 4)
    diagonal = torch.eye(5)[None, None]
    assert guided_attention_loss(diagonal, mask_of(5), mask_of(5)) == 0


def test_segments_are_averaged() -> None:
    x = torch.tensor([[[1.0], [3], [5], [9]], [[2.0], [4], [100], [100]]])
    segments = torch.tensor([[1, 1, 2, 4], [1, 2, 0, 0]])
    means, mask = segment_mean(x, segments)
    assert means[:, :, 0].tolist() == [[2, 5, 0, 9], [2, 4, 0, 0]]
    assert mask.tolist() == [[1, 1, 0, 1], [1, 1, 0, 0]]


def level(name: str = "frame") -> StyleLevel:
    torch.manual_seed(0)
    return StyleLevel(name, 6, 8, n_codes=5, hidden=16).eval()  # type: ignore[arg-type]


@torch.no_grad()
def test_several_references_stand_side_by_side() -> None:
    net, x, mask = level(), torch.randn(1, 7, 8), mask_of(7)
    first, second = (Reference(torch.randn(1, 6, n), mask_of(n)) for n in (5, 9))
    both = net(x, mask, [first, second], False, True)
    assert both.attention.shape == (2, 1, 7, 14) and both.style.vectors.shape == (1, 14, 8)
    # Positions restart, so the order of references doesn't matter, and a copy adds nothing.
    swapped = net(x, mask, [second, first], False, True)
    torch.testing.assert_close(both.vectors, swapped.vectors)
    alone, twice = (net(x, mask, [first] * n, False, True) for n in (1, 2))
    torch.testing.assert_close(alone.vectors, twice.vectors)
    assert (both.vectors - alone.vectors).abs().max() > 1e-4
    with pytest.raises(UserError, match="one reference"):
        net(x, mask, [first, second], True, True)


def test_a_missing_alignment_is_named() -> None:
    reference = Reference(torch.randn(1, 6, 5), mask_of(5))
    with pytest.raises(UserError, match="mel2word"):
        level("word")(torch.randn(1, 7, 8), mask_of(7), [reference], False, True)
