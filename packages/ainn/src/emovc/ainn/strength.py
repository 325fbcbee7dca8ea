"""Emotion vectors of a strength asked for, between neutral speech and a reference."""

import torch
from torch import Tensor

from emovc.ainn.model import StrengthHead

STEPS = 101  # on the way from neutral to the reference
LEAST_RISE = 1e-4  # of the strength head's result, below which it can't lead


def at_strength(head: StrengthHead, neutral: Tensor, reference: Tensor, share: float) -> Tensor:
    """The first vector on the way from neutral to a reference that is strong enough, (D,).

    On the straight way e(u) = e_0 + u (e_r - e_0), the strength reached so far rises with u; the
    result is where it has risen by ``share`` of what it rises altogether, so that the strength head
    finds more strength in a larger share, never less. Where it finds no rise, u is the share.

    Args:
        head: The strength head R_s.
        neutral: Vector e_0 of neutral speech, (D,).
        reference: Vector e_r of the reference, (D,).
        share: 0 gives neutral, 1 the strongest vector on the way.
    """
    u = torch.linspace(0, 1, STEPS, device=reference.device, dtype=reference.dtype)
    way = torch.lerp(neutral, reference, u[:, None])
    reached = head(way).cummax(0).values
    rise = reached[-1] - reached[0]
    if rise < LEAST_RISE:
        return torch.lerp(neutral, reference, share)
    wanted = torch.lerp(reached[0], reached[-1], share)
    return way[int((reached < wanted).sum().clamp(max=STEPS - 1))]
