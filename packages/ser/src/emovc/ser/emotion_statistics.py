"""What the emotion encoder looks at, as a stored feature: training reads the audio once."""

from typing import Any

import torch
from torch import Tensor, nn

from emovc.ser.emotion_encoder import EmotionEncoder
from emovc.ser.speech_images import SpeechImages


class EmotionStatistics(nn.Module):
    """Statistics of the images of speech, (1, 480); nothing in them is learned.

    Args:
        sample_rate: Rate in Hz that it hears.
    """

    name = "emotion_statistics"

    def __init__(self, sample_rate: int = 22_050) -> None:
        super().__init__()
        self.encoder = EmotionEncoder(sample_rate=sample_rate)
        self.settings: dict[str, Any] = {
            "sample_rate": sample_rate,
            "mel_id": self.encoder.frontend.mel_id,
            "images": SpeechImages.VERSION,
        }

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Statistics of waveforms (B, N) of ``lengths`` (B,)."""
        return list(self.encoder.statistics(wav, lengths)[:, None])
