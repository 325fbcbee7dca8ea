"""Layers of Whisper's encoder as a representation that emotions are recognised from."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emovc.common.whisper import WhisperEncoder
from emovc.ser.utterances import Pool, pooled


class WhisperFeature(nn.Module):
    """Hidden layers of Whisper (50 frames per second) side by side, pooled over time.

    Mean and deviation of L layers of D values are a row (1, 2LD): the means of all, then the
    deviations.

    Args:
        encoder: Whisper with its weights and the layers to give.
        pool: What becomes of the frames.
        name: Name in the store.
    """

    def __init__(
        self, encoder: WhisperEncoder, pool: Pool = "mean_std", name: str = "whisper"
    ) -> None:
        super().__init__()
        self.name = name
        self.encoder = encoder
        self.pool: Pool = pool
        self.settings: dict[str, Any] = {
            "model": "whisper",
            "sample_rate": encoder.sample_rate,
            "layers": list(encoder.layers or ()),
            "peak": encoder.peak,
            "pool": pool,
            "weights": encoder.weights,
        }

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        sample_rate: int,
        layer: int | list[int] = 2,
        peak: float | None = 0.5,
        pool: Pool = "mean_std",
        name: str = "whisper",
    ) -> "WhisperFeature":
        """From a folder or a name on Hugging Face, such as ``openai/whisper-base``.

        Args:
            source: Where the weights are.
            sample_rate: Rate of the waveforms that it will get, in Hz.
            layer: Output of this block, counted from 0; the number of blocks is the final output.
                A list gives several.
            peak: Largest magnitude that utterances are brought to first; ``None``: as they are.
            pool: What becomes of the frames.
            name: Name in the store.

        Raises:
            UserError: There is no such model or layer.
        """
        layers = [layer] if isinstance(layer, int) else layer
        encoder = WhisperEncoder.from_pretrained(source, layers, sample_rate=sample_rate, peak=peak)
        return cls(encoder, pool, name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Pooled frames of waveforms (B, N), which don't depend on the padding."""
        states, counts = self.encoder(wav, lengths)
        rows = states.transpose(1, 2).flatten(2)  # (B, T, L * D)
        found = zip(rows, counts.tolist(), strict=True)
        return [pooled(frames[:count], self.pool) for frames, count in found]
