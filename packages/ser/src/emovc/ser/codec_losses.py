"""How far decoded speech is from what was encoded."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.errors import UserError

WINDOWS = (2048, 1024, 512, 256, 128, 64)
N_MELS = (80, 80, 64, 40, 20, 10)


class SpectralLoss(nn.Module):
    """Mean absolute difference of log-mels at several resolutions in time and frequency.

    Short windows see when something happens, long ones at which frequency. Source: Zeghidour et
    al., "SoundStream", IEEE/ACM TASLP 2021, section III-D, here with logarithms only and with the
    band counts of Kumar et al., NeurIPS 2023.

    Args:
        sample_rate: Rate in Hz.
        windows: Window of each resolution in samples; its hop is a quarter.
        n_mels: Bands of each.

    Raises:
        UserError: Not one number of bands for each window.
    """

    def __init__(
        self, sample_rate: int, windows: Sequence[int] = WINDOWS, n_mels: Sequence[int] = N_MELS
    ) -> None:
        super().__init__()
        if len(windows) != len(n_mels):
            raise UserError("SpectralLoss: windows and n_mels must be equally long")
        self.mels = nn.ModuleList(
            LogMel(
                sample_rate, window, window // 4, bands, f_max=sample_rate / 2, pad=window * 3 // 8
            )
            for window, bands in zip(windows, n_mels, strict=True)
        )

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Distance of waveforms (B, N) and (B, N), in nepers: the mean over the resolutions."""
        terms = [(mel(real) - mel(fake)).abs().mean() for mel in self.mels]
        return torch.stack(terms).mean()


def waveform_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean absolute difference of waveforms (B, N), in float32; it alone sees the phase."""
    return (real.float() - fake.float()).abs().mean()
