"""The whole objective of the synthesizer: each loss by name, and its weight.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022, and the authors' code.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from emovc.genner_tts.acoustic_outputs import AcousticOutput
from emovc.genner_tts.inventory import PAD
from emovc.genner_tts.losses import (
    commitment_loss,
    duration_losses,
    f0_loss,
    flow_nll,
    guided_attention_loss,
    mel_l1_loss,
    ssim_loss,
    unvoiced_loss,
)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses; the defaults are those of GenerSpeech's code.

    Attributes:
        mel: Mean absolute error of the decoder's mel.
        ssim: Dissimilarity of the same as an image.
        phone_duration: Of log-durations of phones.
        word_duration: Of words.
        sentence_duration: Of whole texts.
        f0: Mean absolute error of F0 at voiced frames.
        unvoiced: Cross-entropy of voicing.
        flow: Negative log-likelihood of the post-net.
        guided: Attention off the diagonal, mean over the levels.
        commitment: Local style off its codes, mean over the levels.
    """

    mel: float = 0.5
    ssim: float = 0.5
    phone_duration: float = 0.1
    word_duration: float = 1.0
    sentence_duration: float = 1.0
    f0: float = 1.0
    unvoiced: float = 1.0
    flow: float = 1.0
    guided: float = 1.0
    commitment: float = 1.0

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Weighted sum of losses by name."""
        weights = asdict(self)
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


class Target(NamedTuple):
    """What the acoustic model should give.

    Attributes:
        mel: Decimal log-mels, (B, M, T).
        phones: Numbers of phones, 0 at padding, (B, L).
        words: Word of each phone, counted from 1, 0 at padding, (B, L).
        durations: Frames of each phone, (B, L).
        f0_hz: F0 in Hz, 0 at unvoiced frames, (B, T).
        f0: The same, normalised, meaningless at unvoiced frames, (B, T).
    """

    mel: Tensor
    phones: Tensor
    words: Tensor
    durations: Tensor
    f0_hz: Tensor
    f0: Tensor


def losses_of(out: AcousticOutput, target: Target, guided: bool) -> dict[str, Tensor]:
    """Losses by their names in :class:`LossWeights`; those that don't apply are left out.

    Args:
        out: What the acoustic model gave.
        target: What it should give.
        guided: Whether local style was aligned by attention, which is to be guided.
    """
    mask, voiced = out.mask, (target.f0_hz > 0) * out.mask
    spans = duration_losses(out.log_durations, target.durations, target.phones > PAD, target.words)
    losses = {
        "mel": mel_l1_loss(out.mel, target.mel, mask),
        "ssim": ssim_loss(out.mel, target.mel, mask),
        "phone_duration": spans.phone,
        "word_duration": spans.word,
        "sentence_duration": spans.sentence,
        "f0": f0_loss(out.pitch, target.f0, voiced),
        "unvoiced": unvoiced_loss(out.pitch, voiced, mask),
    }
    if out.flow is not None:
        losses["flow"] = flow_nll(out.flow)
    levels = list(out.levels.values())
    if guided and levels:
        maps = [guided_attention_loss(a.attention, mask, a.style.mask) for a in levels]
        losses["guided"] = torch.stack(maps).mean()
    coded = [
        commitment_loss(a.style.encoded, a.style.codes, a.style.mask)
        for a in levels
        if a.style.codes is not None
    ]
    if coded:
        losses["commitment"] = torch.stack(coded).mean()
    return losses


def duration_error(log_durations: Tensor, durations: Tensor) -> Tensor:
    """Mean share by which the predicted lengths of utterances are wrong.

    Args:
        log_durations: Predicted log(d + 1) of each phone, 0 at padding, (B, L).
        durations: Frames of each phone, (B, L).
    """
    true, found = durations.sum(1), torch.expm1(log_durations.float()).clamp(min=0).sum(1)
    return ((found - true).abs() / true).mean()
