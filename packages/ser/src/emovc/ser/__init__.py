"""Speech emotion recognition: the judges."""

from emovc.ser.emotion_encoder import Emotion, EmotionEncoder

__all__ = ["Emotion", "EmotionEncoder"]
