"""Speaker and emotion of an utterance as vectors of the model's width.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

EmotionNorm = Literal["none", "l2", "layernorm"]


class GlobalStyle(nn.Module):
    """Speaker and emotion vectors to the model's width.

    Args:
        speaker_dim: Size of speaker vectors.
        emotion_dim: Size of emotion vectors.
        dim: Channels C.
        emo_norm: What is done to emotion vectors first; ``layernorm`` has no weights of its own.
    """

    def __init__(self, speaker_dim: int, emotion_dim: int, dim: int, emo_norm: EmotionNorm) -> None:
        super().__init__()
        self.emo_norm = emo_norm
        self.speaker = nn.Linear(speaker_dim, dim)
        self.emotion = nn.Linear(emotion_dim, dim)

    def forward(self, speaker: Tensor, emotion: Tensor) -> tuple[Tensor, Tensor]:
        """Map vectors (B, S) and (B, E) to (B, 1, C) each."""
        if self.emo_norm == "l2":
            emotion = F.normalize(emotion, dim=1)
        elif self.emo_norm == "layernorm":
            emotion = F.layer_norm(emotion, emotion.shape[1:])
        return self.speaker(speaker)[:, None], self.emotion(emotion)[:, None]
