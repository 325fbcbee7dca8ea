"""Learned alignment: against sums over all paths, and on a synthetic text."""

import math
from collections.abc import Iterator
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from emovc.common.errors import UserError
from emovc.genner_tts.alignment import (
    CEPSTRA_SD,
    SLOPE_SD,
    PhoneSounds,
    diagonal_prior,
    forward_sum_loss,
    monotonic_durations,
)
from emovc.genner_tts.timeline import phones_of_frames


def scores(*sizes: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random log-probabilities (B, T, L) for (T, L) each, with their lengths of L and T."""
    torch.manual_seed(seed)
    frames, phones = torch.tensor(sizes).T
    raw = torch.randn(len(sizes), int(frames.max()), int(phones.max()))
    padding = torch.arange(raw.shape[2]) >= phones[:, None, None]
    return raw.masked_fill(padding, -1e4).log_softmax(2), phones, frames


def all_durations(n_phones: int, n_frames: int) -> Iterator[list[int]]:
    """Each way to share frames among phones, at least one for each."""
    for cuts in combinations(range(1, n_frames), n_phones - 1):
        edges = [0, *cuts, n_frames]
        yield [b - a for a, b in zip(edges[:-1], edges[1:], strict=True)]


def path_score(log_attention: Tensor, durations: list[int]) -> float:
    phone = [i for i, n in enumerate(durations) for _ in range(n)]
    return sum(log_attention[t, k].item() for t, k in enumerate(phone))


@pytest.mark.parametrize("seed", range(8))
def test_the_path_is_the_best_of_all(seed: int) -> None:
    sizes = [(7, 3), (5, 5), (4, 1), (6, 4)]
    log_attention, phones, frames = scores(*sizes, seed=seed)
    found = monotonic_durations(log_attention, phones, frames)
    for i, (t, n) in enumerate(sizes):
        best = max(all_durations(n, t), key=lambda d: path_score(log_attention[i], d))
        assert found[i, :n].tolist() == best
        assert not found[i, n:].any()
    assert found.sum(1).tolist() == frames.tolist()


def test_each_phone_has_a_frame_on_long_random_texts() -> None:
    log_attention, phones, frames = scores((300, 120), (200, 7), (120, 120))
    found = monotonic_durations(log_attention, phones, frames)
    assert found.sum(1).tolist() == [300, 200, 120]
    valid = torch.arange(120) < phones[:, None]
    assert (found[valid] >= 1).all() and (found[~valid] == 0).all()
    again = monotonic_durations(log_attention, phones, frames)
    assert torch.equal(found, again)
    with pytest.raises(UserError, match="fewer frames than phones"):
        monotonic_durations(log_attention[:, :4, :5], torch.tensor([5] * 3), torch.tensor([4] * 3))


def test_the_forward_sum_is_the_sum_over_all_paths() -> None:
    sizes = [(5, 3), (4, 2), (3, 3)]
    densities, phones, frames = scores(*sizes)
    densities = densities + torch.tensor([[[2.0]], [[-1.0]], [[0.0]]])  # they need not sum to 1
    wanted = []
    for own, (t, n) in zip(densities, sizes, strict=True):
        total = sum(math.exp(path_score(own, path)) for path in all_durations(n, t))
        wanted.append(-math.log(total) / t)
    found = forward_sum_loss(densities, phones, frames)
    assert found.item() == pytest.approx(sum(wanted) / 3, rel=1e-5)


def test_the_forward_sum_keeps_to_the_phones_at_a_frame_that_none_of_them_says() -> None:
    densities, phones, frames = scores((5, 3), (5, 5))
    densities[0, 2, :3] -= 5e4  # less than at padded phones
    wanted = []
    for own, n in zip(densities, phones.tolist(), strict=True):
        total = torch.tensor([path_score(own, path) for path in all_durations(n, 5)])
        wanted.append(-total.logsumexp(0).item() / 5)
    found = forward_sum_loss(densities, phones, frames)
    assert found.item() == pytest.approx(sum(wanted) / 2, rel=1e-5)


@pytest.mark.parametrize("outlier", [0.0, -5e4])
def test_the_forward_sum_has_the_gradient_of_its_definition(outlier: float) -> None:
    densities, phones, frames = scores((6, 3))
    densities[0, 3, 0] += outlier
    own = (densities + 1.5).requires_grad_()
    total = torch.stack(
        [own[0, range(6), [k for k, n in enumerate(path) for _ in range(n)]].sum()
         for path in all_durations(3, 6)]
    ).logsumexp(0)  # fmt: skip
    wanted = torch.autograd.grad(-total / 6, own)[0]
    found = torch.autograd.grad(forward_sum_loss(own, phones, frames), own)[0]
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


def test_the_prior_is_a_distribution_on_the_diagonal() -> None:
    phones, frames = torch.tensor([4, 1, 9]), torch.tensor([11, 3, 20])
    prior = diagonal_prior(phones, frames).exp()
    assert prior.shape == (3, 20, 9)
    for i in range(3):
        valid = prior[i, : frames[i]]
        torch.testing.assert_close(valid.sum(1), torch.ones(int(frames[i])))
        assert not valid[:, phones[i] :].any() and not prior[i, frames[i] :].any()
    assert prior[2, 0].argmax() == 0 and prior[2, 19].argmax() == 8 and prior[2, 10].argmax() == 4
    torch.testing.assert_close(prior[2].flip(0, 1), prior[2])
    narrow = diagonal_prior(phones, frames, scale=3.0).exp()
    assert narrow[2, 10].max() > prior[2, 10].max()


def test_the_prior_of_two_phones_by_hand() -> None:
    # With one trial the beta-binomial is a coin of bias t / (T + 1).
    prior = diagonal_prior(torch.tensor([2]), torch.tensor([3])).exp()[0]
    torch.testing.assert_close(prior[:, 1], torch.tensor([0.25, 0.5, 0.75]))


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Texts of five phones that sound alike each time: mels, phones and true durations."""
    torch.manual_seed(0)
    # Neighbours differ: between two that sound alike no boundary is to be found.
    sound, phones = 2 * torch.randn(7, 20), torch.stack([torch.randperm(6)[:5] for _ in range(24)])
    phones = phones + 1
    phones[1, 4:] = 0
    durations = torch.randint(2, 6, phones.shape) * (phones > 0)
    mel2ph = phones_of_frames(durations)
    ids = torch.nn.functional.pad(phones, (1, 0)).gather(1, mel2ph)
    mel = (sound[ids] + 0.3 * torch.randn(*ids.shape, 20) - 5).transpose(1, 2)
    return mel, (mel2ph > 0).float(), phones, durations


def test_the_sounds_of_phones_and_their_alignment_are_learned() -> None:
    mel, mask, phones, durations = batch()
    torch.manual_seed(0)
    net = PhoneSounds(20, 9, dim=16, components=2)
    optimiser = torch.optim.Adam(net.parameters(), 2e-2)
    sizes = (phones > 0).sum(1), mask.sum(1).long()
    for step in range(60):
        found = net(mel, mask, phones)
        prior = diagonal_prior(*sizes) if step < 20 else 0
        loss = forward_sum_loss(found + prior, *sizes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = monotonic_durations(net(mel, mask, phones), *sizes)
    assert (found - durations).abs().max() <= 1


@torch.no_grad()
def test_densities_are_those_of_the_mixture() -> None:
    net, mel = PhoneSounds(20, 5, dim=8, components=3), torch.randn(1, 20, 6)
    for weight in net.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    phones, mask = torch.tensor([[4, 2]]), torch.ones(1, 6)
    frames = net.features(mel, mask)[0].T  # (T, D)
    made = net.layers(phones)[0].unflatten(1, (3, -1))  # (L, K, 2 D + 1)
    mean, log_sd, share = made.split([26, 26, 1], dim=2)
    parts = Normal(mean[None], log_sd.clamp(-2.5, 2).exp()[None])
    each = parts.log_prob(frames[:, None, None]).sum(3) + share[..., 0].log_softmax(1)
    torch.testing.assert_close(net(mel, mask, phones)[0], each.logsumexp(2), atol=1e-3, rtol=1e-4)


def test_features_are_cepstra_and_the_slopes_of_lines() -> None:
    net, ramp = PhoneSounds(20, 5), torch.arange(9.0)
    bands = torch.cos(math.pi * 2 * (torch.arange(20) + 0.5) / 20) * math.sqrt(2 / 20)
    found = net.features((bands[:, None] * ramp)[None], torch.ones(1, 9))[0]
    assert (found[2] * CEPSTRA_SD[2]).tolist() == pytest.approx((ramp - 4).tolist(), abs=1e-5)
    slopes = (found[15] * CEPSTRA_SD[2] * SLOPE_SD).tolist()
    assert slopes[2:-2] == pytest.approx([1.0] * 5, abs=1e-5)
    others = found[[i for i in range(26) if i not in (2, 15)]]
    assert others.abs().max() < 1e-5
    louder = net.features((bands[:, None] * ramp)[None] + 3, torch.ones(1, 9))[0]
    torch.testing.assert_close(louder, found, atol=1e-5, rtol=0)


@torch.no_grad()
def test_padding_and_company_change_nothing() -> None:
    mel, mask, phones, _ = batch()
    net = PhoneSounds(20, 9, dim=16)
    for weight in net.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    n, t = int((phones[1] > 0).sum()), int(mask[1].sum())
    together = net(mel + 50 * (1 - mask[:, None]), mask, phones)
    alone = net(mel[1:2, :, :t], mask[1:2, :t], phones[1:2, :n])
    torch.testing.assert_close(together[1:2, :t, :n], alone, atol=1e-4, rtol=1e-5)
    assert together[1, :t, n:].max() < -1000
