"""Speaker and emotion of an utterance as vectors of the model's width.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EmotionNorm = Literal["none", "l2", "layernorm", "zscore"]


class GlobalStyle(nn.Module):
    """Speaker and emotion vectors to the model's width.

    Args:
        speaker_dim: Size of speaker vectors.
        emotion_dim: Size of emotion vectors.
        dim: Channels C.
        emo_norm: What is done to emotion vectors first; ``layernorm`` has no weights of its own,
            ``zscore`` takes each value in deviations from its mean, see :meth:`set_scale`.
    """

    emotion_mean: Tensor
    emotion_sd: Tensor

    def __init__(self, speaker_dim: int, emotion_dim: int, dim: int, emo_norm: EmotionNorm) -> None:
        super().__init__()
        self.emo_norm = emo_norm
        self.speaker = nn.Linear(speaker_dim, dim)
        self.emotion = nn.Linear(emotion_dim, dim)
        if emo_norm == "zscore":
            self.register_buffer("emotion_mean", torch.zeros(emotion_dim))
            self.register_buffer("emotion_sd", torch.ones(emotion_dim))

    def set_scale(self, emotions: Tensor) -> None:
        """Take mean and deviation of a corpus' emotion vectors (N, E); checkpoints carry them.

        A value that is the same in all of them tells nothing, and keeps its unit.
        """
        sd, mean = torch.std_mean(emotions.double(), 0)
        self.emotion_mean.copy_(mean)
        self.emotion_sd.copy_(torch.where(sd > 0, sd, 1.0))

    def forward(self, speaker: Tensor, emotion: Tensor) -> tuple[Tensor, Tensor]:
        """Map vectors (B, S) and (B, E) to (B, 1, C) each."""
        if self.emo_norm == "l2":
            emotion = F.normalize(emotion, dim=1)
        elif self.emo_norm == "layernorm":
            emotion = F.layer_norm(emotion, emotion.shape[1:])
        elif self.emo_norm == "zscore":
            emotion = (emotion - self.emotion_mean) / self.emotion_sd
        return self.speaker(speaker)[:, None], self.emotion(emotion)[:, None]
