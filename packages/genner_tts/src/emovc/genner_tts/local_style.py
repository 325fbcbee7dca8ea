"""Local style of a reference mel: one quantised vector per frame, phone or word.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022, and the authors' code.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.precision import single
from emovc.genner_tts.vector_quantization import VectorQuantizer
from emovc.genner_tts.wavenet import WaveNet


class LocalStyle(NamedTuple):
    """Local style at N frames, phones or words.

    Attributes:
        vectors: The style, on codes if quantised, (B, N, C); zero at padding.
        mask: 1 at valid units, (B, N).
        encoded: The style before quantisation, (B, N, C); zero at padding.
        codes: Nearest codes without gradient, (B, N, C); None if not quantised.
        perplexity: Perplexity of the codes, scalar; None if not quantised.
    """

    vectors: Tensor
    mask: Tensor
    encoded: Tensor
    codes: Tensor | None
    perplexity: Tensor | None


def segment_mean(x: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the frames of each segment.

    Args:
        x: Frames, (B, T, C).
        segments: Segment of each frame, counted from 1, and 0 at padding, (B, T).

    Returns:
        Means (B, N, C) in float32 at least, zero for segments without frames, and the mask (B, N)
        of the others.
    """
    x = single(x)  # sums of many frames
    n = int(segments.max())
    rows = segments[:, :, None].expand_as(x)
    sums = x.new_zeros(len(x), n + 1, x.shape[2]).scatter_add(1, rows, x)[:, 1:]
    counts = x.new_zeros(len(x), n + 1).scatter_add(1, segments, x.new_ones(segments.shape))[:, 1:]
    return sums / counts.clamp(min=1)[:, :, None], (counts > 0).to(x.dtype)


class ConvLayer(nn.Module):
    """Norm, a wide convolution, GELU and a narrow layer, with a way round them.

    Args:
        dim: Channels C.
        kernel: Kernel size, odd.
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Conv1d(dim, 2 * dim, kernel, padding="same")
        self.narrow = nn.Conv1d(2 * dim, dim, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, N) to (B, C, N), zero at padding; ``mask`` is (B, 1, N)."""
        h = self.norm(x.transpose(1, 2)).transpose(1, 2) * mask
        h = F.gelu(self.widen(h) * self.widen.kernel_size[0] ** -0.5)
        return (x + self.narrow(h)) * mask


class ConvEncoder(nn.Module):
    """Residual convolutions, a norm and a last convolution.

    Args:
        in_dim: Channels of input and of the residual layers.
        out_dim: Channels of the output.
        n_layers: Residual layers.
        kernel: Kernel size of the residual layers, odd.
    """

    def __init__(self, in_dim: int, out_dim: int, n_layers: int = 10, kernel: int = 5) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvLayer(in_dim, kernel) for _ in range(n_layers))
        self.norm = nn.LayerNorm(in_dim)
        self.out = nn.Conv1d(in_dim, out_dim, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, D), zero at padding; ``mask`` is (B, N)."""
        valid = mask[:, None].to(x.dtype)
        h = x.transpose(1, 2) * valid
        for layer in self.layers:
            h = layer(h, valid)
        h = self.norm(h.transpose(1, 2)).transpose(1, 2) * valid
        return (self.out(h) * valid).transpose(1, 2)


class LocalStyleEncoder(nn.Module):
    """Reference mel to local style: gated convolutions, mean over segments, convolutions, codes.

    The authors' code builds a condition layer into the gated convolutions and never feeds it; it
    is left out.

    Args:
        n_mels: Mel bands M.
        dim: Channels C of the style.
        n_codes: Number of codes.
    """

    def __init__(self, n_mels: int = 80, dim: int = 256, n_codes: int = 128) -> None:
        super().__init__()
        self.wavenet = WaveNet(n_mels, 3, 4)
        self.encoder = ConvEncoder(n_mels, dim)
        self.quantizer = VectorQuantizer(n_codes, dim)

    def forward(
        self, mel: Tensor, mask: Tensor, segments: Tensor | None, quantise: bool
    ) -> LocalStyle:
        """Encode a reference.

        Args:
            mel: Log-mels, (B, M, T).
            mask: 1 at valid frames, (B, T).
            segments: Phone or word of each frame, counted from 1, 0 at padding, (B, T); None keeps
                the frames.
            quantise: Whether the style is put on codes.
        """
        frames = self.wavenet(mel, mask[:, None].to(mel.dtype)).transpose(1, 2)  # (B, T, M)
        units = mask.to(mel.dtype)
        if segments is not None:
            frames, units = segment_mean(frames, segments)
        encoded = self.encoder(frames, units)
        if not quantise:
            return LocalStyle(encoded, units, encoded, None, None)
        vectors, codes, _, perplexity = self.quantizer(encoded, units)
        return LocalStyle(vectors, units, encoded, codes, perplexity)
