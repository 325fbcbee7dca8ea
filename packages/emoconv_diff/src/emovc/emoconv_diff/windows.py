"""Long utterances: the score of overlapping windows, faded into each other."""

from collections.abc import Callable

import torch
from torch import Tensor

from emovc.common.errors import UserError

PartScore = Callable[[Tensor, Tensor, slice], Tensor]  # of x_t (B, M, W), t (B,) and its frames


def window_starts(n_frames: int, window: int, overlap: int) -> list[int]:
    """First frames of windows that cover an utterance; the last ends with it.

    Args:
        n_frames: Frames T of the utterance.
        window: Frames of a window.
        overlap: Frames that neighbours share at least.

    Raises:
        UserError: The overlap leaves no step forward.
    """
    if not 0 <= overlap < window:
        raise UserError(
            f"overlap_frames {overlap}: give 0 to {window - 1}, less than window_frames {window}"
        )
    last = max(n_frames - window, 0)
    return [*range(0, last, window - overlap), last]


def windowed_score(score: PartScore, x: Tensor, t: Tensor, window: int, overlap: int) -> Tensor:
    """Score of a long mel, (B, M, T): each frame the weighted mean of the windows that hold it.

    All windows are steps of one diffusion with one noise, so their seams can't be heard as those of
    mels made one by one and joined. An utterance that fits into a window is scored whole.

    Source: the weighted mean of Bar-Tal et al., "MultiDiffusion", ICML 2023.

    Args:
        score: Score of a part.
        x: Noisy mels, (B, M, T).
        t: Times, (B,).
        window: Frames of a window.
        overlap: Frames that neighbours share at least.
    """
    n_frames = x.shape[2]
    if n_frames <= window:
        return score(x, t, slice(0, n_frames))
    ramp = torch.arange(1, window + 1, device=x.device, dtype=x.dtype)
    fade = torch.minimum(ramp, ramp.flip(0))
    total = x.new_zeros(x.shape)
    weight = x.new_zeros(n_frames)
    for start in window_starts(n_frames, window, overlap):
        part = slice(start, start + window)
        total[..., part] += score(x[..., part], t, part) * fade
        weight[part] += fade
    return total / weight
