"""Networks of AINN. No Lightning here: any research code can import these."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emovc.ainn.layers import BiGRU, FilmBlock, InstanceNormBlock, PostNet


class ContentEncoder(nn.Module):
    """What is said, frame by frame: instance norm and a narrow code keep the emotion out.

    Args:
        in_dim: Mel bands, or size of self-supervised features.
        dim: Channels.
        code_dim: Size of the code d_c.
        n_blocks: Residual blocks.
        kernel: Kernel size.
    """

    def __init__(
        self,
        in_dim: int = 80,
        dim: int = 256,
        code_dim: int = 64,
        n_blocks: int = 4,
        kernel: int = 5,
    ) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.code_dim = code_dim
        self.first = nn.Conv1d(in_dim, dim, kernel, padding="same")
        self.blocks = nn.ModuleList(InstanceNormBlock(dim, kernel) for _ in range(n_blocks))
        self.last = nn.Conv1d(dim, code_dim, 1)

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Content (B, d_c, T) of mels (B, M, T); ``mask`` (B, T) is 1 at valid frames."""
        valid = mask[:, None]
        h = self.first(mel * valid) * valid
        for block in self.blocks:
            h = block(h, valid)
        return self.last(h) * valid


class EmotionEncoder(nn.Module):
    """Frame-level emotion features F, at full frame rate, as the emotional cue needs them.

    Args:
        n_mels: Mel bands M.
        dim: Channels of the convolutions.
        gru_dim: Size of each direction of the GRU; features have twice the size.
        n_layers: Convolutions.
        kernel: Kernel size.
    """

    def __init__(
        self,
        n_mels: int = 80,
        dim: int = 256,
        gru_dim: int = 128,
        n_layers: int = 3,
        kernel: int = 5,
    ) -> None:
        super().__init__()
        self.dim = 2 * gru_dim
        widths = [n_mels, *[dim] * n_layers]
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, kernel, padding="same")
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(dim) for _ in range(n_layers))
        self.gru = BiGRU(dim, gru_dim)

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Features F (B, D, T) of mels (B, M, T); ``mask`` (B, T) is 1 at valid frames."""
        valid = mask[:, None]
        h = mel * valid
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = norm(conv(h)).relu() * valid
        return self.gru(h, valid)


class StrengthHead(nn.Module):
    """R_s: strength in [0, 1] of a calibrated emotion vector.

    Args:
        in_dim: Size D of the vector.
        dim: Hidden size.
    """

    def __init__(self, in_dim: int, dim: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, vector: Tensor) -> Tensor:
        """Strengths (...) of vectors (..., D)."""
        return self.layers(vector)[..., 0].sigmoid()


class Generator(nn.Module):
    """G: mel of content and emotion, as long as the content.

    Args:
        code_dim: Size of the content code.
        emotion_dim: Size D of the emotion vector.
        speaker_dim: Size of the speaker vector; 0 for none.
        speaker_width: Size to which the speaker vector is projected.
        n_mels: Mel bands M.
        dim: Channels.
        kernel: Kernel size.
        dilations: Dilation of each residual block.
        postnet_dim: Channels of the post-net.
    """

    def __init__(
        self,
        code_dim: int = 64,
        emotion_dim: int = 256,
        speaker_dim: int = 256,
        speaker_width: int = 64,
        n_mels: int = 80,
        dim: int = 384,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 2, 4, 1, 2, 4),
        postnet_dim: int = 256,
    ) -> None:
        super().__init__()
        self.code_dim = code_dim
        self.emotion_dim = emotion_dim
        self.speaker_dim = speaker_dim
        self.speaker = nn.Linear(speaker_dim, speaker_width) if speaker_dim else None
        condition_dim = emotion_dim + (speaker_width if speaker_dim else 0)
        self.first = nn.Conv1d(code_dim, dim, kernel, padding="same")
        self.blocks = nn.ModuleList(FilmBlock(dim, condition_dim, kernel, d) for d in dilations)
        self.last = nn.Conv1d(dim, n_mels, 1)
        self.postnet = PostNet(n_mels, postnet_dim, kernel)

    def forward(
        self, content: Tensor, emotion: Tensor, speaker: Tensor | None, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mels before and after the post-net, each (B, M, T).

        Args:
            content: Content codes, (B, d_c, T).
            emotion: Calibrated emotion vectors, (B, D).
            speaker: Speaker vectors, (B, S); ``None`` if the generator takes none.
            mask: 1 at valid frames, (B, T).
        """
        valid = mask[:, None]
        condition = emotion
        if self.speaker is not None:
            assert speaker is not None
            condition = torch.cat([emotion, self.speaker(speaker)], 1)
        h = self.first(content * valid) * valid
        for block in self.blocks:
            h = block(h, condition, valid)
        coarse = self.last(h) * valid
        return coarse, coarse + self.postnet(coarse, valid)
