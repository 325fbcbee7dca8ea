"""Convolution with channels constant over an utterance: values and gradients of the plain one."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.emoconv_diff.unet_layers import conv_field

IMAGES, FIELD, OUT = 2, 5, 3


def convolution(kernel: int) -> nn.Conv2d:
    """Random convolution of images and field, in double precision."""
    torch.manual_seed(0)
    return nn.Conv2d(IMAGES + FIELD, OUT, kernel, padding=kernel // 2).double()


def mask_of(*frames: int) -> Tensor:
    """1 at the valid frames, (B, 1, 1, T)."""
    valid = torch.arange(max(frames)) < torch.tensor(frames)[:, None]
    return valid.double()[:, None, None]


def plain(conv: nn.Conv2d, x: Tensor, field: Tensor, mask: Tensor | None) -> Tensor:
    """The convolution of images and field stacked."""
    wide = field[:, :, None, None].expand(-1, -1, *x.shape[2:])
    stacked = torch.cat([x, wide], 1)
    if mask is not None:
        stacked = stacked * mask
    return F.conv2d(stacked, conv.weight, conv.bias, padding=conv.padding)


@pytest.mark.parametrize("mask", [None, mask_of(7, 4, 1), mask_of(7, 7, 7)])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_values_and_gradients_are_those_of_the_stacked_convolution(
    mask: Tensor | None, kernel: int, rows: int
) -> None:
    conv = convolution(kernel)
    x = torch.randn(3, IMAGES, rows, 7, dtype=torch.float64, requires_grad=True)
    field = torch.randn(3, FIELD, dtype=torch.float64, requires_grad=True)
    found, wanted = conv_field(conv, x, field, mask), plain(conv, x, field, mask)
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)

    leaves = [x, field, *conv.parameters()]
    slope = torch.randn_like(wanted)
    ours = torch.autograd.grad(found, leaves, slope)
    theirs = torch.autograd.grad(wanted, leaves, slope)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3])
def test_few_frames_meet_both_edges(frames: int, kernel: int) -> None:
    conv = convolution(kernel)
    x = torch.randn(1, IMAGES, 4, frames, dtype=torch.float64)
    field = torch.randn(1, FIELD, dtype=torch.float64)
    wanted = plain(conv, x, field, None)
    torch.testing.assert_close(conv_field(conv, x, field, None), wanted, atol=1e-10, rtol=0)


def test_padding_of_the_images_is_not_looked_at() -> None:
    conv, mask = convolution(3), mask_of(6, 3)
    x = torch.randn(2, IMAGES, 4, 6, dtype=torch.float64)
    field = torch.randn(2, FIELD, dtype=torch.float64)
    messy = x + 100 * (1 - mask)
    torch.testing.assert_close(
        conv_field(conv, messy, field, mask), conv_field(conv, x, field, mask)
    )


@pytest.mark.parametrize("kernel", [1, 3])
def test_without_field_it_is_the_convolution(kernel: int) -> None:
    conv, mask = convolution(kernel), mask_of(6, 3)
    x = torch.randn(2, IMAGES + FIELD, 4, 6, dtype=torch.float64)
    assert torch.equal(conv_field(conv, x, None, None), conv(x))
    assert torch.equal(conv_field(conv, x, None, mask), conv(x * mask))


def test_half_precision_images_stay_in_half_precision() -> None:
    conv, mask = convolution(3).float(), mask_of(6, 3).float()
    x, field = torch.randn(2, IMAGES, 4, 6), torch.randn(2, FIELD)
    wanted = conv_field(conv, x, field, mask)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv_field(conv, x.bfloat16(), field, mask)
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted).abs().max() < 0.05 * wanted.abs().max()
