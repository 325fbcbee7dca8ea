"""SpeechFlow: speech split into content, rhythm, pitch and timbre, with the random cycle loss."""

from emovc.speechflow.converter import SpeechFlow
from emovc.speechflow.cycle import CycleLoss
from emovc.speechflow.losses import code_distance, f0_loss, masked_mse
from emovc.speechflow.model import Codes, F0Converter, SpeechFlowNet
from emovc.speechflow.resampling import RandomResampling, apply_warp, warp_positions

__all__ = [
    "Codes",
    "CycleLoss",
    "F0Converter",
    "RandomResampling",
    "SpeechFlow",
    "SpeechFlowNet",
    "apply_warp",
    "code_distance",
    "f0_loss",
    "masked_mse",
    "warp_positions",
]
