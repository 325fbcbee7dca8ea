"""Networks of SpeechFlow (SpeechSplit): encoders of content, rhythm and pitch, and decoders.

Source: Qian, Zhang, Chang, Cox and Hasegawa-Johnson, "Unsupervised Speech Decomposition via Triple
Information Bottleneck", ICML 2020, and its official code. No Lightning here.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from emovc.speechflow.layers import ConvLayer, masked_lstm, repeat_codes, take_codes
from emovc.speechflow.resampling import RandomResampling, apply_warp


class Codes(NamedTuple):
    """The three codes of a batch, each (B, N, C) with N = T // factor."""

    content: Tensor
    rhythm: Tensor
    pitch: Tensor


class CodeEncoder(nn.Module):
    """Convolutions, a BLSTM, and one code per ``factor`` frames.

    Args:
        in_channels: Channels of the input.
        channels: Convolution channels, a multiple of 16.
        dim: LSTM units per direction; a code has twice as many values.
        n_convs: Number of convolutions.
        n_layers: Number of LSTM layers.
        factor: Frames per code.
    """

    def __init__(
        self, in_channels: int, channels: int, dim: int, n_convs: int, n_layers: int, factor: int
    ) -> None:
        super().__init__()
        self.factor = factor
        sizes = [in_channels] + [channels] * n_convs
        self.convs = nn.ModuleList(
            ConvLayer(i, o, groups=channels // 16) for i, o in zip(sizes, sizes[1:], strict=False)
        )
        self.lstm = nn.LSTM(channels, dim, n_layers, batch_first=True, bidirectional=True)

    def code(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Code (B, T // factor, 2 * dim) of convolved features (B, C, T)."""
        return take_codes(masked_lstm(self.lstm, x.transpose(1, 2), mask), self.factor)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode (B, C, T), with ``mask`` (B, T), as (B, T // factor, 2 * dim)."""
        for conv in self.convs:
            x = conv(x, mask)
        return self.code(x, mask)


def encode_in_lockstep(
    encoders: list[CodeEncoder], inputs: list[Tensor], resampling: RandomResampling
) -> list[Tensor]:
    """Encode several inputs, giving all the same random warp after each convolution.

    The original runs its inner warps over the whole padded length, and so does this.

    Args:
        encoders: Encoders with equally many convolutions.
        inputs: One (B, C, T) for each.
        resampling: Draws the warps.

    Returns:
        One (B, T // factor, 2 * dim) for each encoder.
    """
    n_frames = inputs[0].shape[2]
    whole = torch.full((len(inputs[0]),), n_frames, device=inputs[0].device)
    for convs in zip(*(encoder.convs for encoder in encoders), strict=True):
        warp = resampling(whole, n_frames)
        inputs = [apply_warp(conv(x), warp) for conv, x in zip(convs, inputs, strict=True)]
    return [encoder.code(x) for encoder, x in zip(encoders, inputs, strict=True)]


class CodeDecoder(nn.Module):
    """Codes to frames: each code is held for ``factor`` frames, then a BLSTM and a linear layer.

    Args:
        in_dim: Values per code, the speaker's included.
        dim: LSTM units per direction.
        n_layers: LSTM layers.
        out_dim: Values per frame.
        factor: Frames per code.
    """

    def __init__(self, in_dim: int, dim: int, n_layers: int, out_dim: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.lstm = nn.LSTM(in_dim, dim, n_layers, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * dim, out_dim)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Decode (B, N, in_dim), with ``mask`` (B, T), to (B, T = N * factor, out_dim)."""
        return self.out(masked_lstm(self.lstm, repeat_codes(codes, self.factor), mask))


class SpeechFlowNet(nn.Module):
    """The autoencoder: three narrow encoders, a speaker vector, a mel decoder.

    The sizes are the original's; the down-sampling factor keeps its 7.8 codes/s at the frame rate
    of 86.1/s (the original: 8 at 62.5/s).

    Args:
        n_mels: Mel bands M.
        n_f0_bins: Bins of the quantised F0, the unvoiced one included.
        speaker_dim: Size of the speaker vector.
        factor: Frames per code.
        content_channels: Convolution channels of the content encoder.
        content_dim: LSTM units per direction of the content encoder.
        rhythm_channels: Convolution channels of the rhythm encoder.
        rhythm_dim: LSTM units per direction of the rhythm encoder.
        pitch_channels: Convolution channels of the pitch encoder.
        pitch_dim: LSTM units per direction of the pitch encoder.
        decoder_dim: LSTM units per direction of the mel decoder.
        decoder_layers: LSTM layers of the mel decoder.
        f0_head_dim: LSTM units per direction of a second decoder from rhythm and pitch to F0, which
            the cycle loss needs (256 in CycleFlow); 0 leaves it out.
    """

    def __init__(
        self,
        n_mels: int = 80,
        n_f0_bins: int = 257,
        speaker_dim: int = 256,
        factor: int = 11,
        content_channels: int = 512,
        content_dim: int = 8,
        rhythm_channels: int = 128,
        rhythm_dim: int = 1,
        pitch_channels: int = 256,
        pitch_dim: int = 32,
        decoder_dim: int = 512,
        decoder_layers: int = 3,
        f0_head_dim: int = 0,
    ) -> None:
        super().__init__()
        self.n_f0_bins = n_f0_bins
        self.factor = factor
        self.content_encoder = CodeEncoder(n_mels, content_channels, content_dim, 3, 2, factor)
        self.rhythm_encoder = CodeEncoder(n_mels, rhythm_channels, rhythm_dim, 1, 1, factor)
        self.pitch_encoder = CodeEncoder(n_f0_bins, pitch_channels, pitch_dim, 3, 1, factor)
        code_dim = 2 * (content_dim + rhythm_dim + pitch_dim) + speaker_dim
        self.decoder = CodeDecoder(code_dim, decoder_dim, decoder_layers, n_mels, factor)
        f0_dim = 2 * (rhythm_dim + pitch_dim)
        self.f0_head = (
            CodeDecoder(f0_dim, f0_head_dim, 2, n_f0_bins, factor) if f0_head_dim else None
        )

    def encode(
        self,
        mel: Tensor,
        f0: Tensor,
        rhythm_mel: Tensor,
        mask: Tensor | None = None,
        resampling: RandomResampling | None = None,
    ) -> Codes:
        """Encode a batch.

        Args:
            mel: Scaled mel for the content encoder, already warped in training, (B, M, T).
            f0: F0 one-hot or distribution, warped alike, (B, n_f0_bins, T).
            rhythm_mel: Scaled mel for the rhythm encoder, never warped, (B, M, T).
            mask: 1 at valid frames, (B, T). The original masks nothing; while resampling the
                content and pitch encoders don't either, because a warp moves the valid frames.
            resampling: Warps between the convolutions; ``None`` in evaluation.
        """
        rhythm = self.rhythm_encoder(rhythm_mel, mask)
        if resampling is None:
            content, pitch = self.content_encoder(mel, mask), self.pitch_encoder(f0, mask)
        else:
            encoders = [self.content_encoder, self.pitch_encoder]
            content, pitch = encode_in_lockstep(encoders, [mel, f0], resampling)
        return Codes(content, rhythm, pitch)

    def decode(self, codes: Codes, speaker: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scaled mel (B, M, T) of codes and a speaker vector (B, D)."""
        held = speaker[:, None].expand(-1, codes.content.shape[1], -1)
        parts = [codes.content, codes.rhythm, codes.pitch, held.to(codes.content.dtype)]
        return self.decoder(torch.cat(parts, dim=-1), mask).transpose(1, 2)

    def decode_f0(self, codes: Codes, mask: Tensor | None = None) -> Tensor:
        """F0 logits (B, n_f0_bins, T) of the rhythm and pitch codes."""
        if self.f0_head is None:
            raise ValueError("this network has no F0 head; give it f0_head_dim")
        both = torch.cat([codes.rhythm, codes.pitch], dim=-1)
        return self.f0_head(both, mask).transpose(1, 2)


class F0Converter(nn.Module):
    """The F0 converter P: the target's F0 contour on the source's rhythm.

    Args:
        n_mels: Mel bands M.
        n_f0_bins: Bins of the quantised F0.
        factor: Frames per code.
        dim: LSTM units per direction of the decoder.
        rhythm_channels: Convolution channels of the rhythm encoder.
        rhythm_dim: LSTM units per direction of the rhythm encoder.
        pitch_channels: Convolution channels of the pitch encoder.
        pitch_dim: LSTM units per direction of the pitch encoder.
    """

    def __init__(
        self,
        n_mels: int = 80,
        n_f0_bins: int = 257,
        factor: int = 11,
        dim: int = 256,
        rhythm_channels: int = 128,
        rhythm_dim: int = 1,
        pitch_channels: int = 256,
        pitch_dim: int = 32,
    ) -> None:
        super().__init__()
        self.n_f0_bins = n_f0_bins
        self.rhythm_encoder = CodeEncoder(n_mels, rhythm_channels, rhythm_dim, 1, 1, factor)
        self.pitch_encoder = CodeEncoder(n_f0_bins, pitch_channels, pitch_dim, 3, 1, factor)
        self.decoder = CodeDecoder(2 * (rhythm_dim + pitch_dim), dim, 2, n_f0_bins, factor)

    def forward(
        self,
        mel: Tensor,
        f0: Tensor,
        mask: Tensor | None = None,
        resampling: RandomResampling | None = None,
    ) -> Tensor:
        """F0 logits (B, n_f0_bins, T).

        Args:
            mel: Scaled mel whose rhythm is kept, (B, M, T).
            f0: One-hot F0 whose contour is kept, warped in training, (B, n_f0_bins, T).
            mask: 1 at valid frames, (B, T).
            resampling: Warps between the convolutions of the pitch encoder.
        """
        rhythm = self.rhythm_encoder(mel, mask)
        if resampling is None:
            pitch = self.pitch_encoder(f0, mask)
        else:
            (pitch,) = encode_in_lockstep([self.pitch_encoder], [f0], resampling)
        return self.decoder(torch.cat([rhythm, pitch], dim=-1), mask).transpose(1, 2)
