"""Random resampling: piecewise random time warps that hide the rhythm from an encoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError


class Warp(NamedTuple):
    """A time warp of a batch.

    Attributes:
        position: Source position of each output frame, in frames, (B, T').
        length: Valid output frames, (B,); positions beyond are 0.
    """

    position: Tensor
    length: Tensor

    @property
    def mask(self) -> Tensor:
        """1 at valid output frames, (B, T')."""
        steps = torch.arange(self.position.shape[1], device=self.position.device)
        return (steps < self.length[:, None]).to(self.position.dtype)


def warp_positions(
    segments: Tensor, speeds: Tensor, lengths: Tensor, n_out: int, n_steps: int = 64
) -> Warp:
    """Positions read by segment-wise resampling, vectorised over the batch.

    Segment k of ``segments[k]`` frames starts where the one before ended, at ``o_k``; its output
    frame j reads position ``o_k + j / speeds[k]`` as long as ``floor(j / speeds[k])`` is below
    ``segments[k] - 1`` and inside the utterance. So a speed below 1 shortens, and no interpolation
    crosses the border of two segments (Qian et al., SpeechSplit, 2020, official code).

    Args:
        segments: Segment lengths in frames, (B, K).
        speeds: Stretch factor of each segment, (B, K).
        lengths: Valid input frames, (B,).
        n_out: Output frames T'; what is longer is cut.
        n_steps: Bound of the frames one stretched segment can have; a constant, because reading
            it off the draws would make a GPU wait.

    Returns:
        The warp, at most ``n_out`` frames long.
    """
    steps = torch.arange(n_steps, device=speeds.device, dtype=speeds.dtype)
    offset = steps / speeds[..., None]  # (B, K, J), frames after the segment's start
    start = (segments.cumsum(1) - segments)[..., None]  # (B, K, 1)
    whole = offset.floor()
    valid = (whole < segments[..., None] - 1) & (whole + start < lengths[:, None, None] - 1)
    position, valid = (start + offset).flatten(1), valid.flatten(1)  # (B, K * J)
    rank = valid.cumsum(1) - 1  # place of each valid position in the output
    target = torch.where(valid & (rank < n_out), rank, n_out)
    out = position.new_zeros(len(position), n_out + 1).scatter_(1, target, position)
    out[:, n_out] = 0
    return Warp(out[:, :n_out], valid.sum(1).clamp(max=n_out))


def apply_warp(x: Tensor, warp: Warp) -> Tensor:
    """Read (B, C, T) at the warp's positions by linear interpolation, zero after its end."""
    low = warp.position.floor()
    weight = ((warp.position - low) * warp.mask)[:, None].to(x.dtype)  # (B, 1, T')
    index = low.long()[:, None].expand(-1, x.shape[1], -1)  # (B, C, T')
    below = x.gather(2, index)
    above = x.gather(2, (index + 1).clamp(max=x.shape[2] - 1))
    return (below + weight * (above - below)) * warp.mask[:, None].to(x.dtype)


class RandomResampling(nn.Module):
    """Draw a random warp: segments of random length, each stretched by a random factor.

    The original works at 62.5 frames/s with segments of 19 to 31 frames; the defaults keep the same
    0.30 to 0.50 s at 86.1 frames/s. The module is not tied to train and eval mode: whoever calls
    the encoders decides whether they resample.

    Args:
        min_segment: Shortest segment in frames.
        max_segment: Longest segment in frames.
        min_speed: Smallest stretch factor; below 1 shortens.
        max_speed: Largest stretch factor.

    Raises:
        UserError: A range is empty.
    """

    def __init__(
        self,
        min_segment: int = 26,
        max_segment: int = 43,
        min_speed: float = 0.5,
        max_speed: float = 1.5,
    ) -> None:
        super().__init__()
        if not (0 < min_segment <= max_segment and 0 < min_speed <= max_speed):
            raise UserError(
                f"resampling: segments of {min_segment} to {max_segment} frames and factors of"
                f" {min_speed} to {max_speed} can't be drawn; give the smaller number first"
            )
        self.min_segment = min_segment
        self.max_segment = max_segment
        self.min_speed = min_speed
        self.max_speed = max_speed

    def forward(self, lengths: Tensor, n_frames: int) -> Warp:
        """Draw a warp for utterances of ``lengths`` frames (B,) in a batch of ``n_frames`` frames.

        The draws are float32 under any precision: bfloat16 can't address frames above 256.
        """
        shape = (len(lengths), n_frames // self.min_segment + 1)
        segments = torch.randint(
            self.min_segment, self.max_segment + 1, shape, device=lengths.device
        )
        speeds = torch.rand(shape, device=lengths.device)
        speeds = self.min_speed + (self.max_speed - self.min_speed) * speeds
        n_steps = int(self.max_segment * self.max_speed) + 1
        return warp_positions(segments, speeds, lengths, n_frames, n_steps)
