"""The networks whose outputs are stored: d-vectors, emotion2vec, frames of pretrained networks."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emovc.common.emotion2vec import Emotion2vec
from emovc.common.errors import UserError
from emovc.common.speaker import SpeakerEncoder
from emovc.common.ssl_frames import SslFrames
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


class SslFeature(nn.Module):
    """A layer of Whisper, HuBERT, WavLM or wav2vec 2.0, one row per frame of the mel, (T, D).

    On the clock of the mel, so that crops of a batch carry it as they carry F0. A second of
    Whisper base takes 176 kB.

    Args:
        frames: The network, loaded, with one layer.
        name: Name in the store.

    Raises:
        UserError: The network isn't loaded, or its layers are mixed by untrained weights.
    """

    def __init__(self, frames: SslFrames, name: str = "ssl") -> None:
        super().__init__()
        require_pretrained(frames)
        if frames.mixture is not None:
            raise UserError("SslFeature: a mixture of layers is not trained here; give one layer")
        self.name = name
        self.frames = frames
        self.settings: dict[str, Any] = {
            "layer": frames.layer,
            "sample_rate": frames.sample_rate,
            "hop_length": frames.hop_length,
            "weights": frames.weights,
        }

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        sample_rate: int,
        layer: int,
        dim: int = 512,
        hop_length: int = 256,
        name: str = "ssl",
    ) -> "SslFeature":
        """From a folder or hub name.

        Args:
            source: Name on Hugging Face such as ``openai/whisper-base``, or folder.
            sample_rate: Rate of the waveforms in Hz.
            layer: Hidden layer, counted as :class:`~emovc.common.ssl_frames.SslFrames` does.
            dim: Size D of the model's frames.
            hop_length: Samples between frames of the mel.
            name: Name in the store.

        Raises:
            UserError: There is no such model or layer, or its frames have another size.
        """
        frames = SslFrames(source, layer, dim, sample_rate, hop_length)
        frames.load()
        return cls(frames, name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Frames of waveforms (B, N), one for each whole hop."""
        counts = (lengths // self.frames.hop_length).tolist()
        values = self.frames(wav, lengths, max(counts)).transpose(1, 2)  # (B, T, D)
        return [value[:count] for value, count in zip(values, counts, strict=True)]
