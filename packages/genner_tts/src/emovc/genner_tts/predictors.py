"""Predictors of duration and pitch, and the embedding of pitch.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022, whose predictors are those of Ren et al., "FastSpeech 2", ICLR 2021.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.genner_tts.transformer import sinusoidal_positions

N_PITCH_ROWS = 300  # of the pitch embedding; only 0 to 255 are ever read
HIGHEST_PITCH = 255
F0_MIN_HZ = 50.0
F0_MAX_HZ = 1100.0


class ConvPredictor(nn.Module):
    """Convolutions with ReLU, norm and dropout, then a linear layer.

    Args:
        dim: Channels C.
        out_dim: Values predicted at each step.
        n_layers: Convolutions.
        kernel: Kernel size, odd.
        dropout: Dropout after each convolution.
    """

    def __init__(self, dim: int, out_dim: int, n_layers: int, kernel: int, dropout: float) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise UserError(f"ConvPredictor: kernel {kernel} must be odd")
        self.convs = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, padding="same") for _ in range(n_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(n_layers))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, out_dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, O), zero at padding; ``mask`` is (B, T)."""
        valid = mask[:, :, None].to(x.dtype)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = conv((x * valid).transpose(1, 2)).transpose(1, 2)
            x = self.dropout(norm(h.relu()))
        return self.linear(x) * valid


class DurationPredictor(nn.Module):
    """Logarithm of one plus the duration in frames, of each phone.

    Args:
        dim: Channels C.
        n_layers: Convolutions.
        kernel: Kernel size in phones, odd.
        dropout: Dropout.
    """

    def __init__(
        self, dim: int = 256, n_layers: int = 2, kernel: int = 3, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.net = ConvPredictor(dim, 1, n_layers, kernel, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, L, C) to log(d + 1), (B, L), zero at padding; ``mask`` is (B, L)."""
        return self.net(x, mask)[:, :, 0]


class PitchPredictor(nn.Module):
    """Normalised F0 and unvoiced logit of each frame.

    The style-agnostic predictor has 2 convolutions and dropout 0.5, the style-specific one 3 and
    0.1; what they predict is added up.

    Args:
        dim: Channels C.
        n_layers: Convolutions.
        kernel: Kernel size in frames, odd.
        dropout: Dropout.
    """

    def __init__(
        self, dim: int = 256, n_layers: int = 2, kernel: int = 5, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.position_scale = nn.Parameter(torch.ones(1))
        self.net = ConvPredictor(dim, 2, n_layers, kernel, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, C) to F0 and logit (B, T, 2), zero at padding; ``mask`` is (B, T)."""
        positions = self.position_scale * sinusoidal_positions(x)
        return self.net(x + positions, mask)


def coarse_pitch(f0_hz: Tensor) -> Tensor:
    """F0 in 255 steps of equal width on the mel scale, as integers.

    Args:
        f0_hz: F0 in Hz, 0 at unvoiced frames, (B, T).

    Returns:
        1 up to 50 Hz (also at unvoiced frames), 255 from 1100 Hz, (B, T).
    """
    low, high = (1127 * math.log1p(edge / 700) for edge in (F0_MIN_HZ, F0_MAX_HZ))
    mel = 1127 * torch.log1p(f0_hz / 700)
    steps = (mel - low) * ((HIGHEST_PITCH - 1) / (high - low)) + 1
    return steps.round().clamp(1, HIGHEST_PITCH).long()


class PitchEmbedding(nn.Module):
    """One vector for each coarse pitch.

    Args:
        dim: Channels C.
    """

    def __init__(self, dim: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(N_PITCH_ROWS, dim, padding_idx=0)
        nn.init.normal_(self.embedding.weight, 0, dim**-0.5)
        with torch.no_grad():
            self.embedding.weight[0] = 0

    def forward(self, f0_hz: Tensor, mask: Tensor) -> Tensor:
        """Map F0 in Hz (B, T), 0 = unvoiced, to (B, T, C), zero at padding; ``mask`` is (B, T)."""
        return self.embedding(coarse_pitch(f0_hz) * (mask > 0))


class PitchScale(nn.Module):
    """F0 in Hz to and from the scale on which pitch is predicted: zero mean and unit variance.

    Args:
        mean_hz: Mean F0 of the corpus over voiced frames.
        std_hz: Standard deviation over the same.
    """

    mean_hz: Tensor
    std_hz: Tensor

    def __init__(self, mean_hz: float = 200.0, std_hz: float = 60.0) -> None:
        super().__init__()
        self.register_buffer("mean_hz", torch.tensor(mean_hz))
        self.register_buffer("std_hz", torch.tensor(std_hz))

    def set(self, mean_hz: float, std_hz: float) -> None:
        """Take the statistics of a corpus; checkpoints carry them.

        Raises:
            UserError: A statistic is not above zero.
        """
        if not (mean_hz > 0 and std_hz > 0):
            raise UserError(f"F0 mean {mean_hz} and deviation {std_hz} Hz must be above zero")
        self.mean_hz.fill_(mean_hz)
        self.std_hz.fill_(std_hz)

    def normalised(self, f0_hz: Tensor) -> Tensor:
        """F0 in standard deviations from the mean; meaningless at unvoiced frames."""
        return (f0_hz - self.mean_hz) / self.std_hz

    def hertz(self, pitch: Tensor) -> Tensor:
        """F0 in Hz (B, T), 0 at unvoiced frames, of predicted F0 and logit (B, T, 2)."""
        f0_hz = (pitch[..., 0] * self.std_hz + self.mean_hz).clamp(min=0)
        return f0_hz * (pitch[..., 1] <= 0)


class Pitch(NamedTuple):
    """Pitch of the frames.

    Attributes:
        predicted: Normalised F0 and unvoiced logit, (B, T, 2), zero at padding.
        f0_hz: F0 in use, 0 at unvoiced frames, (B, T).
        embedded: Its embedding, (B, T, C), zero at padding.
    """

    predicted: Tensor
    f0_hz: Tensor
    embedded: Tensor


class PitchPath(nn.Module):
    """Sum of a style-agnostic and a style-specific prediction, and the embedding of the pitch.

    Args:
        dim: Channels C.
    """

    def __init__(self, dim: int = 256) -> None:
        super().__init__()
        self.agnostic = PitchPredictor(dim, n_layers=2, dropout=0.5)
        self.specific = PitchPredictor(dim, n_layers=3, dropout=0.1)
        self.scale = PitchScale()
        self.embedding = PitchEmbedding(dim)

    def forward(
        self, text: Tensor, styled: Tensor, mask: Tensor, f0_hz: Tensor | None = None
    ) -> Pitch:
        """Predict and embed pitch.

        Args:
            text: Frames of the text, (B, T, C).
            styled: The same with all style, (B, T, C).
            mask: 1 at valid frames, (B, T).
            f0_hz: F0 to embed, 0 at unvoiced frames, (B, T); by default the predicted one.
        """
        predicted = self.agnostic(text, mask) + self.specific(styled, mask)
        if f0_hz is None:
            f0_hz = self.scale.hertz(predicted) * mask
        return Pitch(predicted, f0_hz, self.embedding(f0_hz, mask))
