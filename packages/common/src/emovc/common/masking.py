"""Averages that leave padding out."""

from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid frames of the whole batch, all of which weigh the same.

    Args:
        values: One value per frame, (B, T).
        mask: 1 at valid frames, 0 at padding, (B, T).

    Returns:
        Scalar.
    """
    return (values * mask).sum() / mask.sum()
