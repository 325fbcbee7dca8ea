"""Learned alignment: against sums over all paths, and on a synthetic text."""

import math
from collections.abc import Iterator
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.alignment import (
    AlignmentNetwork,
    binarisation_loss,
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


def likelihood(log_attention: Tensor, n_phones: int, n_frames: int) -> float:
    """Sum over all sequences of phones and blanks, frame by frame, that read 1 to L."""
    columns = torch.cat([torch.full((n_frames, 1), -1.0), log_attention[:n_frames, :n_phones]], 1)
    columns = columns.log_softmax(1)
    total = 0.0
    for labels in product(range(n_phones + 1), repeat=n_frames):
        merged = [k for i, k in enumerate(labels) if i == 0 or k != labels[i - 1]]
        if [k for k in merged if k] == list(range(1, n_phones + 1)):
            total += math.exp(sum(columns[t, k].item() for t, k in enumerate(labels)))
    return total


def test_the_forward_sum_is_the_sum_over_all_paths() -> None:
    sizes = [(5, 3), (4, 2), (3, 3)]
    log_attention, phones, frames = scores(*sizes)
    wanted = [-math.log(likelihood(log_attention[i], n, t)) / n for i, (t, n) in enumerate(sizes)]
    found = forward_sum_loss(log_attention, phones, frames)
    assert found.item() == pytest.approx(sum(wanted) / 3, rel=1e-5)


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


def test_binarisation_by_hand() -> None:
    log_attention = torch.tensor([[[0.5, 0.5], [0.1, 0.9], [1.0, 1.0]]]).log()
    mel2ph = torch.tensor([[1, 2, 0]])
    wanted = -(math.log(0.5) + math.log(0.9)) / 2
    assert binarisation_loss(log_attention, mel2ph).item() == pytest.approx(wanted)


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Texts of five phones that sound alike each time: mels, phone ids and true durations."""
    torch.manual_seed(0)
    # Neighbours differ: between two that sound alike no boundary is to be found.
    sound, phones = 3 * torch.randn(7, 8), torch.stack([torch.randperm(6)[:5] for _ in range(24)])
    phones = phones + 1
    phones[1, 4:] = 0
    durations = torch.randint(2, 6, phones.shape) * (phones > 0)
    mel2ph = phones_of_frames(durations)
    ids = torch.nn.functional.pad(phones, (1, 0)).gather(1, mel2ph)
    mel = (sound[ids] + 0.1 * torch.randn(*ids.shape, 8)).transpose(1, 2)
    return mel, (mel2ph > 0).float(), phones, durations


def test_a_network_learns_the_alignment() -> None:
    mel, mel_mask, phones, durations = batch()
    torch.manual_seed(0)
    embedding, net = torch.nn.Embedding(9, 16), AlignmentNetwork(8, 16, 16)
    optimiser = torch.optim.Adam([*embedding.parameters(), *net.parameters()], 3e-2)
    text_lengths, frame_lengths = (phones > 0).sum(1), mel_mask.sum(1).long()
    prior = diagonal_prior(text_lengths, frame_lengths)
    for _ in range(40):
        log_attention = net(mel, mel_mask, embedding(phones), phones > 0, prior)
        loss = forward_sum_loss(log_attention, text_lengths, frame_lengths)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = monotonic_durations(log_attention, text_lengths, frame_lengths)
    assert (found - durations).abs().max() <= 1
    soft = binarisation_loss(log_attention, phones_of_frames(found))
    assert soft < 0.1


@torch.no_grad()
def test_padding_and_company_change_nothing() -> None:
    mel, mel_mask, phones, _ = batch()
    text = torch.nn.Embedding(9, 16)(phones)
    net = AlignmentNetwork(8, 16, 8)
    text_lengths, frame_lengths = (phones > 0).sum(1), mel_mask.sum(1).long()
    mess = 50 * (1 - mel_mask[:, None])
    prior = diagonal_prior(text_lengths, frame_lengths)
    together = net(mel + mess, mel_mask, text, phones > 0, prior)
    n, t = int(text_lengths[1]), int(frame_lengths[1])
    alone = net(
        mel[1:2, :, :t], mel_mask[1:2, :t], text[1:2, :n], phones[1:2, :n] > 0, prior[1:2, :t, :n]
    )
    torch.testing.assert_close(together[1:2, :t, :n], alone)
    assert together[1, :t, n:].max() < -1000
