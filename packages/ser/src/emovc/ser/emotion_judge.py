"""The emotion encoder as a judge of converted speech."""

from emovc.common.judges.emotion import EmotionRecognition
from emovc.ser.emotion_encoder import EmotionEncoder


class EmotionJudge(EmotionRecognition):
    """Decision, probability and cosines of the emotion encoder trained in this project.

    Args:
        weights: Shipped weights (``all``, ``without_nemo``, ``without_emodb``,
            ``without_ravdess``) or a folder of ``emovc export``.
        name: Name in the metrics; by default the weights'.
        device: Where it runs.

    Raises:
        UserError: There are no such weights.
    """

    def __init__(self, weights: str = "all", name: str | None = None, device: str = "cpu") -> None:
        super().__init__(EmotionEncoder.from_pretrained(weights), name or weights, device=device)
