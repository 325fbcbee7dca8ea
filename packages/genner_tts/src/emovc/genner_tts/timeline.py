"""From phones to frames and back."""

import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.common.errors import UserError


def phones_of_frames(durations: Tensor) -> Tensor:
    """Phone of each frame, counted from 1, 0 at padding, (B, T).

    Args:
        durations: Whole frames of each phone, 0 at padding, (B, L).
    """
    ends = durations.cumsum(1)
    frames = torch.arange(int(ends[:, -1].max()), device=durations.device)
    frames = frames.expand(len(ends), -1).contiguous()
    phone = torch.searchsorted(ends, frames, right=True) + 1
    return phone * (frames < ends[:, -1:])


def durations_of_phones(mel2ph: Tensor, n_phones: int) -> Tensor:
    """Frames of each phone, (B, L).

    Args:
        mel2ph: Phone of each frame, counted from 1, 0 at padding, (B, T).
        n_phones: Number of phones L.
    """
    counts = mel2ph.new_zeros(len(mel2ph), n_phones + 1)
    return counts.scatter_add(1, mel2ph, torch.ones_like(mel2ph))[:, 1:]


def spread(phones: Tensor, mel2ph: Tensor) -> Tensor:
    """Vector of each frame's phone, (B, T, C), zero at padding.

    Args:
        phones: One vector per phone, (B, L, C).
        mel2ph: Phone of each frame, counted from 1, 0 at padding, (B, T).

    Raises:
        UserError: A frame names a phone that isn't there.
    """
    if mel2ph.max() > phones.shape[1]:
        raise UserError(
            f"mel2ph names phone {int(mel2ph.max())} of {phones.shape[1]}; align the text again"
        )
    rows = mel2ph[:, :, None].expand(-1, -1, phones.shape[2])
    return F.pad(phones, (0, 0, 1, 0)).gather(1, rows)


def predicted_durations(log_durations: Tensor, mask: Tensor, scale: float = 1.0) -> Tensor:
    """Whole frames of each phone, 0 at padding, (B, L).

    A phone may get none, as silences between words often do; the first has at least one, so that
    no utterance is empty.

    Args:
        log_durations: Predicted log(d + 1), (B, L).
        mask: 1 at valid phones, (B, L).
        scale: Factor on the durations; 2 is half as fast.
    """
    durations = (torch.expm1(log_durations.float()) * scale).round().clamp(min=0).long()
    return torch.cat([durations[:, :1].clamp(min=1), durations[:, 1:]], 1) * (mask > 0)
