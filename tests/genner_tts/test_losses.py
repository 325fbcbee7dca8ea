"""Losses: by hand, against torchmetrics, and without effect of padding."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.image import structural_similarity_index_measure

from emovc.genner_tts.losses import (
    duration_losses,
    f0_loss,
    mel_l1_loss,
    ssim_loss,
    unvoiced_loss,
)


def mask_of(*lengths: int) -> Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float()


def mels(*lengths: int, n_mels: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Two mels with different messes at padding, and their mask."""
    torch.manual_seed(0)
    mask = mask_of(*lengths)
    x = torch.randn(len(lengths), n_mels, max(lengths)) - 3
    y = x + 0.5 * torch.randn_like(x)
    padding = 1 - mask[:, None]
    return x + 9 * padding, y - 50 * padding, mask


@pytest.mark.parametrize("loss", [mel_l1_loss, ssim_loss])
def test_padding_and_company_change_nothing(loss) -> None:  # type: ignore[no-untyped-def]
    lengths = (9, 20, 14)
    x, y, mask = mels(*lengths)
    alone = [
        loss(x[i : i + 1, :, :n], y[i : i + 1, :, :n], mask_of(n)) * n
        for i, n in enumerate(lengths)
    ]
    wanted = torch.stack(alone).sum() / sum(lengths)
    torch.testing.assert_close(loss(x, y, mask), wanted)
    assert loss(x, x, mask).abs() < 1e-6 < loss(x, y, mask)


def test_similarity_is_that_of_torchmetrics() -> None:
    x, y, mask = mels(40, n_mels=30)
    images = [F.pad(mel + 6, (5, 5, 5, 5))[:, None] for mel in (x, y)]
    _, image = structural_similarity_index_measure(*images, data_range=1.0, return_full_image=True)
    wanted = 1 - image[:, 0, 5:-5, 5:-5].mean()
    torch.testing.assert_close(ssim_loss(x, y, mask), wanted, atol=1e-4, rtol=0)


def test_mean_absolute_error_by_hand() -> None:
    pred, target = torch.tensor([[[1.0, 9], [3, 9]]]), torch.zeros(1, 2, 2)
    assert mel_l1_loss(pred, target, torch.tensor([[1.0, 0]])) == 2


def test_durations_by_hand() -> None:
    durations = torch.tensor([[2, 3, 1, 4], [5, 6, 0, 0]])
    found = torch.tensor([[2.0, 2, 2, 9], [5, 6, 7, 7]])
    words = torch.tensor([[1, 1, 2, 3], [1, 2, 0, 0]])
    mask = (words > 0).float()
    losses = duration_losses(found.log1p(), durations, mask, words)
    phone = [math.log(3 / 4), math.log(3 / 2), math.log(10 / 5)]
    word = [math.log(5 / 6), math.log(3 / 2), math.log(10 / 5)]
    assert losses.phone.item() == pytest.approx(sum(x * x for x in phone) / 6)
    assert losses.word.item() == pytest.approx(sum(x * x for x in word) / 5)
    assert losses.sentence.item() == pytest.approx(math.log(16 / 11) ** 2 / 2)


def test_negative_durations_keep_their_gradient_by_phone() -> None:
    log_durations = torch.full((1, 2), -0.5, requires_grad=True)
    ones = torch.ones(1, 2, dtype=torch.long)
    losses = duration_losses(log_durations, ones * 3, ones.float(), ones)
    sum(losses).backward()
    assert log_durations.grad.lt(0).all() and log_durations.grad.isfinite().all()


def test_pitch_by_hand() -> None:
    pitch = torch.tensor([[[1.0, 2.0], [5.0, -1.0], [7.0, 40.0]]])
    voiced, mask = torch.tensor([[1.0, 0, 0]]), torch.tensor([[1.0, 1, 0]])
    assert f0_loss(pitch, torch.tensor([[0.25, 0, 0]]), voiced) == 0.75
    wanted = (math.log(1 + math.exp(2)) + math.log(1 + math.exp(1))) / 2
    assert unvoiced_loss(pitch, voiced, mask).item() == pytest.approx(wanted)
    assert f0_loss(pitch, torch.zeros(1, 3), 0 * voiced) == 0
