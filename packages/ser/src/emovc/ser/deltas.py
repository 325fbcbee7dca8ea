"""Delta features: the slope of each band over a few frames."""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 2  # frames on each side


def delta(x: Tensor) -> Tensor:
    """Slope per frame by least squares over two frames on each side, edge frames repeated.

    d_t = sum_n n (x_{t+n} - x_{t-n}) / (2 sum_n n^2), n = 1, 2; source: Young et al., "The HTK
    Book", delta coefficients.

    Args:
        x: Features, (B, M, T).

    Returns:
        Slopes, (B, M, T).
    """
    padded = F.pad(x, (WINDOW, WINDOW), mode="replicate")
    n_frames = x.shape[-1]
    slope = torch.zeros_like(x)
    for n in range(1, WINDOW + 1):
        ahead = padded[..., WINDOW + n : WINDOW + n + n_frames]
        behind = padded[..., WINDOW - n : WINDOW - n + n_frames]
        slope = slope + n * (ahead - behind)
    return slope / (2 * sum(n * n for n in range(1, WINDOW + 1)))


def with_deltas(x: Tensor) -> Tensor:
    """Stack (B, M, T) with its deltas and the deltas of these, (B, 3, M, T)."""
    first = delta(x)
    return torch.stack([x, first, delta(first)], dim=1)
