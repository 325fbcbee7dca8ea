"""From padded batches to single utterances, and from their frames to a vector."""

from typing import Literal

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.resample import Resample

Pool = Literal["mean", "mean_std", "none"]


def pooled(frames: Tensor, pool: Pool) -> Tensor:
    """Mean (1, D), mean and standard deviation (1, 2D), or the frames (T, D) themselves."""
    if pool == "none":
        return frames
    mean = frames.mean(0, keepdim=True)
    if pool == "mean":
        return mean
    return torch.cat([mean, frames.std(0, correction=0, keepdim=True)], dim=1)


class Utterances(nn.Module):
    """Cuts a padded batch into utterances at a network's rate.

    Args:
        from_rate: Rate of the batch in Hz.
        to_rate: Rate of the network in Hz.
        shortest: Samples, at the network's rate, that it needs.
    """

    def __init__(self, from_rate: int, to_rate: int, shortest: int = 1) -> None:
        super().__init__()
        self.resample = Resample(from_rate, to_rate)
        self.to_rate = to_rate
        self.shortest = shortest

    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Waveforms (1, n) of a batch (B, N).

        Raises:
            UserError: An utterance is too short.
        """
        rows = zip(wav, lengths.tolist(), strict=True)
        found = [self.resample(row[None, :length]) for row, length in rows]
        for i, one in enumerate(found):
            if one.shape[1] < self.shortest:
                raise UserError(
                    f"utterance {i} of the batch is shorter than the"
                    f" {self.shortest / self.to_rate:.3f} s that the network needs; leave it out"
                )
        return found
