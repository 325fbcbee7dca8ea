"""AINN: attention-based interactive disentangling network for emotional voice conversion."""

from emovc.ainn.converter import AINN
from emovc.ainn.cue import calibrate, class_activation, emotional_cue
from emovc.ainn.disentanglement import Adversary, CueCorrelation
from emovc.ainn.encoders import Encoders
from emovc.ainn.model import ContentEncoder, EmotionEncoder, Generator, StrengthHead

__all__ = [
    "AINN",
    "Adversary",
    "ContentEncoder",
    "CueCorrelation",
    "EmotionEncoder",
    "Encoders",
    "Generator",
    "StrengthHead",
    "calibrate",
    "class_activation",
    "emotional_cue",
]
