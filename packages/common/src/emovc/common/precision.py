"""Precision of what must not be computed in bfloat16."""

import torch
from torch import Tensor


def single(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is if it has more digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
