"""Group norm over valid frames."""

import torch
from torch import nn

from emovc.emoconv_diff.unet_layers import group_norm


def test_masked_group_norm_without_padding_is_torchs() -> None:
    norm, x = nn.GroupNorm(8, 16), 3 + 5 * torch.randn(2, 16, 4, 7)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    found = group_norm(norm, x, torch.ones(2, 1, 1, 7))
    torch.testing.assert_close(found, norm(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(group_norm(norm, x, None), norm(x), atol=0, rtol=0)


def test_masked_group_norm_keeps_what_is_small_beside_the_mean() -> None:
    """A hundredth of a deviation on a mean of 20, values and gradients, against float64."""
    torch.manual_seed(0)
    norm, mask = nn.GroupNorm(8, 16), (torch.arange(12) < 9).float().expand(2, 1, 1, -1)
    x = 20 + 0.01 * torch.randn(2, 16, 4, 12)
    direction = torch.randn(2, 16, 4, 12)
    found = []
    for dtype in (torch.float32, torch.float64):
        own = x.to(dtype).requires_grad_()
        result = group_norm(norm.to(dtype), own, mask.to(dtype)) * mask
        (gradient,) = torch.autograd.grad(result, own, direction.to(dtype))
        found.append((result.double(), gradient.double()))
    for single, double in zip(*found, strict=True):
        assert (single - double).abs().max() < 2e-3 * double.abs().max()


def test_masked_group_norm_counts_valid_frames_only() -> None:
    norm, mask = nn.GroupNorm(8, 16), (torch.arange(9) < torch.tensor([[9], [5]])).float()
    x = 3 + torch.randn(2, 16, 4, 9) + 1e3 * (1 - mask)[:, None, None]
    found = group_norm(norm, x, mask[:, None, None])
    torch.testing.assert_close(found[1:, ..., :5], norm(x[1:, ..., :5]), atol=1e-5, rtol=1e-5)
