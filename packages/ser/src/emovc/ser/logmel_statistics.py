"""What the plain signal says: mean and deviation of the log-mel, a control without any learning."""

from typing import Any

import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel


class LogMelStatistics(nn.Module):
    """Mean and standard deviation over time of each log-mel band, (1, 2 * M) per utterance.

    Args:
        frontend: The log-mel; by default HiFi-GAN's, with M = 80.
    """

    name = "logmel_stats"

    def __init__(self, frontend: LogMel | None = None) -> None:
        super().__init__()
        self.frontend = frontend or LogMel()

    @property
    def settings(self) -> dict[str, Any]:
        """The mel; below a key of its own, as the value is of the utterance, not of its frames."""
        return {"sample_rate": self.frontend.sample_rate, "mel": self.frontend.settings}

    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Means and then deviations of waveforms (B, N) of ``lengths`` (B,), each (1, 2 * M)."""
        log_mel = self.frontend(wav)
        mask = self.frontend.mask(lengths, log_mel.shape[2])[:, None]  # (B, 1, T)
        frames = mask.sum(2).clamp(min=1)
        mean = (log_mel * mask).sum(2) / frames
        variance = ((log_mel - mean[..., None]).square() * mask).sum(2) / frames
        return list(torch.cat([mean, variance.sqrt()], dim=1)[:, None])
