"""What the acoustic model gives."""

from typing import NamedTuple

from torch import Tensor

from emovc.genner_tts.flow import FlowOutput
from emovc.genner_tts.style_level import AlignedStyle, Level


class AcousticOutput(NamedTuple):
    """What the losses need.

    Attributes:
        mel: The decoder's log-mels, (B, M, T), zero at padding.
        mask: 1 at valid frames, (B, T).
        log_durations: Predicted log(d + 1), d in frames, (B, L), zero at padding.
        pitch: Predicted normalised F0 and unvoiced logit, (B, T, 2), zero at padding.
        levels: Local style of each level in use.
        flow: Latents of the true mels; None without flow or true mels.
    """

    mel: Tensor
    mask: Tensor
    log_durations: Tensor
    pitch: Tensor
    levels: dict[Level, AlignedStyle]
    flow: FlowOutput | None


class Synthesis(NamedTuple):
    """Synthesised speech.

    Attributes:
        mel: Log-mels, (B, M, T), zero at padding.
        mask: 1 at valid frames, (B, T).
        durations: Frames of each phone, (B, L).
        f0_hz: F0 in Hz, 0 at unvoiced frames, (B, T).
    """

    mel: Tensor
    mask: Tensor
    durations: Tensor
    f0_hz: Tensor


class Decoded(NamedTuple):
    """Frames of a text turned into a mel.

    Attributes:
        mel: The decoder's log-mels, (B, M, T), zero at padding.
        mask: 1 at valid frames, (B, T).
        pitch: Predicted normalised F0 and unvoiced logit, (B, T, 2).
        f0_hz: F0 in use, 0 at unvoiced frames, (B, T).
        levels: Local style of each level in use.
        cond: Condition of the flow, (B, D, T).
    """

    mel: Tensor
    mask: Tensor
    pitch: Tensor
    f0_hz: Tensor
    levels: dict[Level, AlignedStyle]
    cond: Tensor
