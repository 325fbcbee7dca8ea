"""ACRNN: convolutions, a BLSTM and attention over log-mels with deltas, an emotion recogniser.

Source: Chen, He, Yang and Zhang, "3-D Convolutional Recurrent Neural Networks With Attention Model
for Speech Emotion Recognition", IEEE Signal Processing Letters, 2018, and the authors' code.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.pretrained import load_checkpoint
from emovc.ser.deltas import with_deltas

SLOPE = 0.01  # of the leaky ReLUs
POOL_FRAMES, POOL_BANDS = 2, 4
SMALLEST_DEVIATION = 1e-4


class ACRNN(nn.Module):
    """Class logits of one window of log-mel.

    The default sizes are the authors'. With 40 bands these are 7.33 million learned parameters,
    with 80 bands 9.30 million, whatever the length of the window.

    Args:
        n_bands: Mel bands M.
        n_classes: Classes C.
        first_channels: Channels of the first convolution.
        channels: Channels of those that follow.
        n_convs: How many follow.
        linear_dim: Values per frame that the BLSTM hears.
        lstm_dim: LSTM units per direction.
        hidden_dim: Units of the layer before the logits.
        dropout: Share of the hidden units left out in training (the authors' code: none).
    """

    def __init__(
        self,
        n_bands: int = 80,
        n_classes: int = 4,
        first_channels: int = 128,
        channels: int = 256,
        n_convs: int = 5,
        linear_dim: int = 768,
        lstm_dim: int = 128,
        hidden_dim: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, first_channels, (3, 5), padding=(1, 2))  # bands, frames
        sizes = [first_channels] + [channels] * n_convs
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, (3, 5), padding=(1, 2)) for i, o in zip(sizes, sizes[1:], strict=False)
        )
        self.linear = nn.Linear(sizes[-1] * (n_bands // POOL_BANDS), linear_dim)
        self.norm = nn.BatchNorm1d(linear_dim, eps=1e-3)
        self.lstm = nn.LSTM(linear_dim, lstm_dim, batch_first=True, bidirectional=True)
        self._fix_second_bias(lstm_dim)
        self.attention = nn.Sequential(
            nn.Linear(2 * lstm_dim, 1), nn.Sigmoid(), nn.Linear(1, 1, bias=False)
        )
        self.hidden = nn.Linear(2 * lstm_dim, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden_dim, n_classes)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(3, n_bands, 1))
        self.register_buffer("deviation", torch.ones(3, n_bands, 1))

    @torch.no_grad()
    def fit_normalisation(self, mels: Iterable[Tensor]) -> None:
        """Set the z-score of each band and delta to that of the training windows.

        Args:
            mels: Windows of log-mel, (B, M, T) at a time; every frame weighs the same.
        """
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        squares, count = torch.zeros_like(total), 0
        for mel in mels:
            x = with_deltas(mel.to(self.mean.device)).double()
            total += x.sum((0, 3))[..., None]
            squares += x.square().sum((0, 3))[..., None]
            count += x.shape[0] * x.shape[3]
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt().clamp(min=SMALLEST_DEVIATION))

    def forward(self, mel: Tensor) -> Tensor:
        """Logits (B, C) of windows of log-mel (B, M, T)."""
        x = (with_deltas(mel) - self.mean) / self.deviation  # (B, 3, M, T)
        x = F.leaky_relu(self.first(x), SLOPE)
        x = F.max_pool2d(x, (POOL_BANDS, POOL_FRAMES))
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
        frames = self.linear(x.flatten(1, 2).transpose(1, 2))  # (B, T / 2, linear_dim)
        frames = F.leaky_relu(self.norm(frames.transpose(1, 2)), SLOPE).transpose(1, 2)
        states, _ = self.lstm(frames)
        weights = self.attention(states).softmax(dim=1)  # (B, T / 2, 1)
        hidden = F.leaky_relu(self.hidden((weights * states).sum(1)), SLOPE)
        return self.out(self.dropout(hidden))

    def _fix_second_bias(self, lstm_dim: int) -> None:
        """Make torch's second LSTM bias the original's constant forget bias of 1."""
        for name, bias in self.lstm.named_parameters():
            if name.startswith("bias_hh"):
                nn.init.zeros_(bias)
                nn.init.ones_(bias[lstm_dim : 2 * lstm_dim])  # gates: input, forget, cell, output
                bias.requires_grad_(False)


class ACRNNRecogniser(nn.Module):
    """The ACRNN on whole recordings: each is judged by its first and its last window.

    Args:
        network: The network; its classes are ``emotions``, its bands those of ``frontend``.
        frontend: Waveform to log-mel.
        emotions: Canonical emotion of each class.
        window_frames: Mel frames per window; by default 3.07 s.

    Raises:
        UserError: The emotions or the bands don't fit the network.
    """

    def __init__(
        self,
        network: ACRNN,
        frontend: LogMel,
        emotions: tuple[str, ...] = ("angry", "happy", "neutral", "sad"),
        window_frames: int = 264,
    ) -> None:
        super().__init__()
        self.network = network
        self.frontend = frontend
        self.emotions = tuple(emotions)
        self.window_frames = window_frames
        self.pretrained = False
        unknown = [e for e in self.emotions if e not in EMOTIONS]
        if unknown:
            raise UserError(f"emotions: {unknown[0]} is none of {', '.join(EMOTIONS)}")
        if network.out.out_features != len(self.emotions):
            raise UserError(
                f"emotions: {len(self.emotions)} for {network.out.out_features} classes; give"
                " network.n_classes the same number"
            )
        if network.mean.shape[1] != frontend.n_mels:
            raise UserError(
                f"network.n_bands: {network.mean.shape[1]} for a front end of {frontend.n_mels}"
                " mel bands; give both the same number"
            )

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "ACRNNRecogniser":
        """Load a training checkpoint, without Lightning."""
        return load_checkpoint(Path(path), cls)

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Largest logit of each class over the windows of each recording, (B, C).

        Args:
            wav: Waveforms at the front end's rate, zero-padded, (B, N).
            lengths: Valid samples, (B,).
        """
        mel, owner = self.windows(wav, lengths)
        return largest_per_owner(self.network(mel), owner, len(wav))

    def windows(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """First and, where a recording is longer than one, last windows, padded with silence.

        Returns:
            Log-mels (W, M, window_frames) and the recording of each, (W,).
        """
        frames = self.frontend.frames(lengths)
        mel = self.frontend(wav)
        valid = self.frontend.mask(lengths, mel.shape[2])[:, None] > 0
        mel = torch.where(valid, mel, self.frontend.log_floor)
        missing = max(0, self.window_frames - mel.shape[2])
        mel = F.pad(mel, (0, missing), value=self.frontend.log_floor)
        pairs = [
            (i, start)
            for i, count in enumerate(frames.tolist())
            for start in sorted({0, max(0, count - self.window_frames)})
        ]
        cut = [mel[i, :, start : start + self.window_frames] for i, start in pairs]
        return torch.stack(cut), torch.tensor([i for i, _ in pairs], device=wav.device)


def largest_per_owner(logits: Tensor, owner: Tensor, n: int) -> Tensor:
    """Largest value of each class over the windows of each recording.

    Args:
        logits: Logits of windows, (W, C).
        owner: Recording of each window, 0 to ``n - 1``, (W,).
        n: Number of recordings.

    Returns:
        Logits, (n, C).
    """
    index = owner[:, None].expand_as(logits)
    lowest = logits.new_full((n, logits.shape[1]), -torch.inf)
    return lowest.scatter_reduce(0, index, logits, reduce="amax")
