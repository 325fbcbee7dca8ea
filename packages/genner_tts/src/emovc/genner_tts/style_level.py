"""Local style at one level of time, aligned with the frames of the text.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.genner_tts.local_style import LocalStyle, LocalStyleEncoder
from emovc.genner_tts.style_alignment import StyleAligner
from emovc.genner_tts.transformer import sinusoidal_positions

Level = Literal["frame", "phone", "word"]


class Reference(NamedTuple):
    """Speech whose local style is taken over.

    Attributes:
        mel: Log-mels, (B, M, T).
        mask: 1 at valid frames, (B, T).
        mel2ph: Phone of each frame, counted from 1, 0 at padding, (B, T); only the level of phones
            needs it.
        mel2word: Word of each frame, likewise, for the level of words.
    """

    mel: Tensor
    mask: Tensor
    mel2ph: Tensor | None = None
    mel2word: Tensor | None = None

    def segments(self, level: Level) -> Tensor | None:
        """Segment of each frame at a level, (B, T); None for frames.

        Raises:
            UserError: The reference isn't aligned at this level.
        """
        if level == "frame":
            return None
        name = "mel2ph" if level == "phone" else "mel2word"
        segments = self.mel2ph if level == "phone" else self.mel2word
        if segments is None:
            raise UserError(
                f"the reference has no {name}: align it with its text, or leave out level '{level}'"
            )
        return segments


class AlignedStyle(NamedTuple):
    """Local style on the timeline of the text.

    Attributes:
        vectors: One per frame of the text, (B, T, C), zero at padding.
        attention: Attention weights of each layer, (K, B, T, N).
        style: The local style itself, of all references one after the other.
    """

    vectors: Tensor
    attention: Tensor
    style: LocalStyle


class StyleLevel(nn.Module):
    """Local style encoder and aligner of one level.

    Args:
        level: What one vector stands for.
        n_mels: Mel bands M.
        dim: Channels C.
        n_codes: Number of codes.
        heads: Attention heads.
        hidden: Channels inside the aligner's feed-forward parts.
        dropout: Dropout of the aligner.
    """

    def __init__(
        self,
        level: Level,
        n_mels: int = 80,
        dim: int = 256,
        n_codes: int = 128,
        heads: int = 2,
        hidden: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.level: Level = level
        self.encoder = LocalStyleEncoder(n_mels, dim, n_codes)
        self.keys = nn.Linear(2 * dim, dim)
        self.aligner = StyleAligner(dim, heads, hidden, dropout=dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        references: Sequence[Reference],
        forced: bool,
        quantise: bool,
    ) -> AlignedStyle:
        """Align the style of references with the text.

        Args:
            x: Frames of the text, (B, T, C).
            mask: 1 at valid frames, (B, T).
            references: At least one; their keys stand side by side, each with its own positions.
            forced: Whether each frame takes the style at the same relative time.
            quantise: Whether the style is put on codes.

        Raises:
            UserError: A reference isn't aligned at this level, or alignment is to be forced with
                several references.
        """
        if forced and len(references) > 1:
            raise UserError("forced alignment takes one reference; use attention for several")
        styles, keys = [], []
        for reference in references:
            segments = reference.segments(self.level)
            style = self.encoder(reference.mel, reference.mask, segments, quantise)
            positions = sinusoidal_positions(style.vectors).expand_as(style.vectors)
            styles.append(style)
            keys.append(self.keys(torch.cat([style.vectors, positions], 2)))
        style = _joined(styles)
        vectors, attention = self.aligner(x, mask, torch.cat(keys, 1), style.mask, forced)
        return AlignedStyle(vectors, attention, style)


def _joined(styles: list[LocalStyle]) -> LocalStyle:
    """The styles of several references one after the other."""
    codes = [style.codes for style in styles if style.codes is not None]
    perplexities = [style.perplexity for style in styles if style.perplexity is not None]
    return LocalStyle(
        torch.cat([style.vectors for style in styles], 1),
        torch.cat([style.mask for style in styles], 1),
        torch.cat([style.encoded for style in styles], 1),
        torch.cat(codes, 1) if codes else None,
        torch.stack(perplexities).mean() if perplexities else None,
    )
