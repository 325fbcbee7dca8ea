"""The networks whose outputs are stored: d-vectors and emotion2vec."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from emovc.common.emotion2vec import Emotion2vec
from emovc.common.speaker import SpeakerEncoder
from emovc.common.weights import require_pretrained, weights_hash


class DvectorFeature(nn.Module):
    """Speaker vector of each utterance, (1, 256).

    Args:
        encoder: A pretrained speaker encoder.

    Raises:
        UserError: The encoder is random.
    """

    name = "dvector"

    def __init__(self, encoder: SpeakerEncoder) -> None:
        super().__init__()
        require_pretrained(encoder)
        self.encoder = encoder
        self.settings: dict[str, Any] = {
            **encoder.settings,
            "sample_rate": encoder.sample_rate,
            "weights": weights_hash(encoder),
        }

    @classmethod
    def from_pretrained(cls, sample_rate: int) -> "DvectorFeature":
        """With Resemblyzer's weights, hearing audio at ``sample_rate`` Hz."""
        return cls(SpeakerEncoder.from_pretrained(sample_rate=sample_rate))

    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Speaker vectors of waveforms (B, N)."""
        return list(self.encoder(wav, lengths)[:, None])


class Emotion2vecFeature(nn.Module):
    """emotion2vec's utterance vector, (1, 768) for the base model.

    Args:
        encoder: A pretrained emotion2vec.

    Raises:
        UserError: The encoder is random.
    """

    name = "emotion2vec"

    def __init__(self, encoder: Emotion2vec) -> None:
        super().__init__()
        require_pretrained(encoder)
        self.encoder = encoder
        self.settings: dict[str, Any] = {
            "sample_rate": encoder.sample_rate,
            "weights": weights_hash(encoder),
        }

    @classmethod
    def from_pretrained(cls, source: str | Path, sample_rate: int) -> "Emotion2vecFeature":
        """From a folder or hub name, hearing audio at ``sample_rate`` Hz."""
        return cls(Emotion2vec.from_pretrained(source, sample_rate=sample_rate))

    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Utterance vectors of waveforms (B, N)."""
        return list(self.encoder(wav, lengths).utterance[:, None])
