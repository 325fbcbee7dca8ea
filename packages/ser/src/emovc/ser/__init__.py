"""Speech emotion recognition: the judges of the evaluation."""

from emovc.ser.codec import Codec
from emovc.ser.emotion_encoder import Emotion, EmotionEncoder
from emovc.ser.hyfuse import HYFuse
from emovc.ser.whisper_emotion import WhisperEmotion

__all__ = ["Codec", "Emotion", "EmotionEncoder", "HYFuse", "WhisperEmotion"]
