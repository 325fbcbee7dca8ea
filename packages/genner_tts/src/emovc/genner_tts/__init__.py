"""Genner TTS: expressive speech synthesis from emotion references."""

from emovc.common.emotion_hearing import EmotionHearing
from emovc.genner_tts.acoustic import GennerAcoustic
from emovc.genner_tts.aligner import Aligner
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.style_request import Spoken, StyleRequest
from emovc.genner_tts.synthesizer import GennerTTS

__all__ = [
    "Aligner",
    "EmotionHearing",
    "EmotionQuantizer",
    "GennerAcoustic",
    "GennerTTS",
    "Spoken",
    "StyleRequest",
]
