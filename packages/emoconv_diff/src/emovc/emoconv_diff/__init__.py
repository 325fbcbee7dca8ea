"""EmoConv-Diff: emotion conversion by diffusion, steered by arousal."""

from emovc.common.emotion_hearing import EmotionHearing
from emovc.emoconv_diff.bank import EmotionBank
from emovc.emoconv_diff.converter import EmoConvDiff
from emovc.emoconv_diff.diffusion import Schedule, estimate_x0
from emovc.emoconv_diff.encoder import AverageVoiceEncoder
from emovc.emoconv_diff.losses import guided, reconstruction_loss, score_matching_loss
from emovc.emoconv_diff.preconditioning import Scaling
from emovc.emoconv_diff.samplers import sample, trajectory
from emovc.emoconv_diff.unet import ScoreNet

__all__ = [
    "AverageVoiceEncoder",
    "EmoConvDiff",
    "EmotionBank",
    "EmotionHearing",
    "Scaling",
    "Schedule",
    "ScoreNet",
    "estimate_x0",
    "guided",
    "reconstruction_loss",
    "sample",
    "score_matching_loss",
    "trajectory",
]
