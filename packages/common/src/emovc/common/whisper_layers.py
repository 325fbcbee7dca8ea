"""Whisper's log-mel and the blocks of its encoder.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", ICML 2023,
section 2.2. The names of the parameters are those of Hugging Face's files.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emovc.common.audio import slaney_mel_filters

RATE = 16_000  # Hz
N_FFT = 400  # samples
MEL_HOP = 160  # samples between frames of the mel
HOP = 2 * MEL_HOP  # samples between frames of the encoder; frame t is centred on sample t * HOP
PIECE = 3_000  # frames of the mel that are computed at a time


class WhisperLogMel(nn.Module):
    """Whisper's log-mel of each utterance on its own length; differentiable.

    Frame m is centred on sample 160 m. Each utterance is mirrored at its own two ends, and raised
    to 8 below its own maximum (decades of power), whatever stands beside it in the batch.

    Args:
        n_mels: Number of mel bands M, 80 for all models but the last large ones.
    """

    def __init__(self, n_mels: int = 80) -> None:
        super().__init__()
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        filters = slaney_mel_filters(RATE, N_FFT, n_mels, 0.0, RATE / 2)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def frames(self, lengths: Tensor) -> Tensor:
        """Frames of utterances of ``lengths`` samples at 16 kHz, (B,)."""
        return lengths.div(MEL_HOP, rounding_mode="floor")

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Log-mels (B, M, T) of waveforms (B, N) at 16 kHz, zero beyond each utterance's frames.

        Args:
            wav: Waveforms padded on the right; what the padding holds doesn't matter.
            lengths: Valid samples of each, (B,), more than 200.
        """
        counts = self.frames(lengths)
        n_frames = int(counts.max())
        last = lengths[:, None] - 1
        pieces = []
        for start in range(0, n_frames, PIECE):  # bounds the memory of the spectra
            stop = min(start + PIECE, n_frames)
            first = start * MEL_HOP - N_FFT // 2
            place = torch.arange(first, first + (stop - start - 1) * MEL_HOP + N_FFT)
            place = place.to(wav.device)[None].abs()
            place = torch.where(place > last, 2 * last - place, place).clamp(min=0)
            spec = torch.stft(
                wav.gather(1, place),
                N_FFT,
                MEL_HOP,
                window=self.window,
                center=False,
                return_complex=True,
            )  # (B, F, t)
            power = spec.real.square() + spec.imag.square()
            pieces.append((self.filters @ power).clamp(min=1e-10).log10())
        mel = torch.cat(pieces, dim=2)
        valid = length_mask(counts, n_frames)[:, None]
        peak = mel.masked_fill(~valid, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return torch.where(valid, (torch.maximum(mel, peak - 8.0) + 4.0) / 4.0, 0.0)


class Attention(nn.Module):
    """Multi-head self-attention; the keys have no bias."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map states (B, T, D); ``mask`` (B, 1, 1, T) is True at valid keys, ``None``: all."""
        q, k, v = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D / H)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and feed-forward layer, each normalized before and added."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map states (B, T, D); see :class:`Attention` for the mask."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        return x + self.fc2(nn.functional.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperBlocks(nn.Module):
    """From log-mels to the outputs of some of the encoder's blocks, at 50 frames per second.

    Args:
        n_mels: Bands M of the log-mels.
        dim: Width D.
        heads: Number of attention heads.
        hidden: Width of the feed-forward layers.
        n_positions: Rows of the table of positions: the most frames that fit.
        n_blocks: Blocks of the whole encoder.
        layers: Outputs wanted: k is that of block k counted from 0, ``n_blocks`` that of the last
            one normalized. Blocks that none of them needs aren't built.
    """

    def __init__(
        self,
        n_mels: int,
        dim: int,
        heads: int,
        hidden: int,
        n_positions: int,
        n_blocks: int,
        layers: Sequence[int],
    ) -> None:
        super().__init__()
        self.wanted = tuple(layers)
        self.n_positions = n_positions
        self.conv1 = nn.Conv1d(n_mels, dim, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(n_positions, dim)
        needed = min(max(layers) + 1, n_blocks)
        self.layers = nn.ModuleList(Block(dim, heads, hidden) for _ in range(needed))
        self.layer_norm = nn.LayerNorm(dim) if n_blocks in self.wanted else None

    def forward(self, mel: Tensor, counts: Tensor | None = None) -> Tensor:
        """Outputs (B, L, T, D) of the wanted layers, where T is half the frames, rounded up.

        Args:
            mel: Log-mels, (B, M, K), zero beyond the valid frames.
            counts: Valid frames of each mel, (B,); ``None``: all.
        """
        x = nn.functional.gelu(self.conv1(mel))
        mask = None
        if counts is not None:  # the second convolution must meet zeros there, as at an end
            x = x * length_mask(counts, x.shape[2])[:, None]
            mask = length_mask((counts + 1).div(2, rounding_mode="floor"), (x.shape[2] + 1) // 2)
            mask = mask[:, None, None]
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)  # (B, T, D)
        x = x + self.embed_positions.weight[: x.shape[1]]
        states = []
        for block in self.layers:
            x = block(x, mask)
            states.append(x)
        if self.layer_norm is not None:
            states.append(self.layer_norm(x))
        return torch.stack([states[layer] for layer in self.wanted], dim=1)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """True at the first ``lengths`` (B,) of ``size`` places, (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
