"""Layers of the SpeechFlow encoders that know which frames are padding."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class MaskedGroupNorm(nn.GroupNorm):
    """Group normalisation whose statistics leave padding out.

    Without a mask it is torch's own layer, so the parameter names and counts are the same.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise (B, C, T) over each group's channels and the frames in ``mask`` (B, T)."""
        if mask is None:
            return super().forward(x)
        valid = mask[:, None, None, :].to(x.dtype)  # (B, 1, 1, T)
        groups = x.unflatten(1, (self.num_groups, -1))  # (B, G, C / G, T)
        count = valid.sum((2, 3), keepdim=True) * groups.shape[2]
        mean = (groups * valid).sum((2, 3), keepdim=True) / count
        variance = ((groups - mean).square() * valid).sum((2, 3), keepdim=True) / count
        normed = ((groups - mean) * (variance + self.eps).rsqrt()).flatten(1, 2)
        return normed * self.weight[:, None] + self.bias[:, None]


class ConvLayer(nn.Module):
    """Convolution over 5 frames, group normalisation, ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        groups: Groups of the normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size=5, padding=2)
        nn.init.xavier_uniform_(self.conv.weight, gain=nn.init.calculate_gain("relu"))
        self.norm = MaskedGroupNorm(groups, out_channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C, T) to (B, C', T); frames where ``mask`` (B, T) is 0 come out as 0."""
        y = torch.relu(self.norm(self.conv(x), mask))
        return y if mask is None else y * mask[:, None].to(y.dtype)


def masked_lstm(lstm: nn.LSTM, x: Tensor, mask: Tensor | None) -> Tensor:
    """Run a bidirectional LSTM whose backward direction starts at the last valid frame.

    Args:
        lstm: Batch-first LSTM.
        x: Input, (B, T, C).
        mask: 1 at valid frames, (B, T); ``None`` if nothing is padded.

    Returns:
        Hidden states, (B, T, directions * H), 0 at padding.
    """
    if mask is None:
        return lstm(x)[0]
    lengths = mask.sum(1).long().cpu()
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]


def take_codes(hidden: Tensor, factor: int) -> Tensor:
    """Down-sample BLSTM states (B, T, 2H) to codes (B, T // factor, 2H).

    The forward half is read at the last frame of each block of ``factor`` frames and the backward
    half at the first, so each has seen the whole block (Qian et al., 2020, official code).
    """
    half = hidden.shape[-1] // 2
    forward = hidden[:, factor - 1 :: factor, :half]
    backward = hidden[:, : forward.shape[1] * factor : factor, half:]
    return torch.cat([forward, backward], dim=-1)


def repeat_codes(codes: Tensor, factor: int) -> Tensor:
    """Hold each code (B, N, C) for ``factor`` frames, (B, N * factor, C)."""
    return codes.repeat_interleave(factor, dim=1)
