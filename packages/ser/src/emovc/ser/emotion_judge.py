"""The emotion encoder as a judge of converted speech."""

from pathlib import Path

from emovc.common.judges.emotion import EmotionRecognition
from emovc.ser.emotion_encoder import VARIANTS, EmotionEncoder


class EmotionJudge(EmotionRecognition):
    """Decision, probability and cosines of the emotion encoder trained in this project.

    Args:
        weights: Shipped weights (``all``, ``without_nemo``, ``without_emodb``,
            ``without_ravdess``) or a folder of ``emovc export``.
        name: Name in the metrics; by default ``encoder``, or ``encoder_without_<corpus>``.
        device: Where it runs.

    Raises:
        UserError: There are no such weights.
    """

    def __init__(self, weights: str = "all", name: str | None = None, device: str = "cpu") -> None:
        known = {v: "encoder" if v == "all" else f"encoder_{v}" for v in VARIANTS}
        name = name or known.get(weights, Path(weights).name)
        super().__init__(EmotionEncoder.from_pretrained(weights), name, device=device)
