"""What a synthesis is asked for beside its text, and what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from emovc.common.conversion import Speech
from emovc.genner_tts.style_level import Level


@dataclass(frozen=True)
class StyleRequest:
    """Where speech takes its voice, emotion and prosody from.

    All of it comes from the references unless something else is given. Without levels of local
    style (``levels=()``) only the vectors of voice and emotion count. With ``voice`` being neutral
    speech of the speaker too, nothing but the emotion vector carries emotion.

    Attributes:
        references: Recordings whose emotion is taken, the mean of their vectors.
        voice: Recordings whose voice is taken, the mean of their vectors; by default the
            references.
        local: Recordings whose local style is taken; by default the references.
        levels: Levels of local style; by default all that can be used: those with trained codes,
            and without the texts of the recordings only that of frames.
        emotion: Emotion vector, (E,), in place of the references'.
        speaker: Speaker vector, (S,), in place of the voice's.
    """

    references: Sequence[Speech] = ()
    voice: Sequence[Speech] = ()
    local: Sequence[Speech] = ()
    levels: Sequence[Level] | None = None
    emotion: Tensor | None = None
    speaker: Tensor | None = None


class Spoken(NamedTuple):
    """A synthesised text.

    Attributes:
        mel: Log-mel of the front end, (M, T).
        phones: Phones of the text.
        durations: Frames of each, (L,).
        f0_hz: F0 in Hz, 0 at unvoiced frames, (T,).
        bits: Bits of the emotion vector, where it was quantised.
    """

    mel: Tensor
    phones: list[str]
    durations: Tensor
    f0_hz: Tensor
    bits: float | None
