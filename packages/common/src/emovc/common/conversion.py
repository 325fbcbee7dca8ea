"""What a converter is asked for, and what every trained model is: a converter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.wav import SILENCE


@dataclass(frozen=True)
class Speech:
    """One utterance and what is known of it beside its sound.

    Attributes:
        wav: Waveform at the model's rate, (N,).
        speaker: Name of the speaker, for models with a table of speakers.
        text: Transcript, for models that read it.
        log_f0: Mean and standard deviation of the speaker's ln F0 where they are known; models
            that need them estimate them from the utterances at hand otherwise.
        language: Language of the text, such as ``en``.
    """

    wav: Tensor
    speaker: str | None = None
    text: str | None = None
    log_f0: tuple[float, float] | None = None
    language: str | None = None


def require_audible(reference: Speech) -> None:
    """Refuse a reference from which no emotion can be heard.

    Raises:
        UserError: It is silent.
    """
    if reference.wav.abs().max() < SILENCE:
        raise UserError("the reference is silent; give a recording of emotional speech")


@dataclass(frozen=True)
class EmotionTarget:
    """What the caller knows of the emotion he wants; a model uses what it needs.

    Attributes:
        references: Utterances to take the emotion from.
        category: Canonical emotion.
        arousal: 1 (calm) to 7 (active).
        strength: 0 (neutral) to 1 (as strong as it gets).

    Raises:
        UserError: A value is out of its range.
    """

    references: Sequence[Speech] = ()
    category: str | None = None
    arousal: float | None = None
    strength: float | None = None

    def __post_init__(self) -> None:
        if self.category is not None and self.category not in EMOTIONS:
            raise UserError(
                f"emotion {self.category!r} is unknown; use one of {', '.join(EMOTIONS)}"
            )
        for name, value, low, high in (
            ("arousal", self.arousal, 1, 7),
            ("strength", self.strength, 0, 1),
        ):
            if value is not None and not low <= value <= high:
                raise UserError(f"{name} {value} is out of range; give {low} to {high}")


@dataclass(frozen=True)
class Needs:
    """What of an :class:`EmotionTarget` a converter uses.

    Attributes:
        references: Fewest references.
        parallel: The reference must say the same words as the source.
        category: A category must be given.
        arousal: An arousal must be given.
        strength: A strength must be given.
    """

    references: int = 0
    parallel: bool = False
    category: bool = False
    arousal: bool = False
    strength: bool = False

    def check(self, target: EmotionTarget) -> None:
        """Refuse a target that lacks something.

        Raises:
            UserError: It does; the option to give is named.
        """
        if len(target.references) < self.references:
            raise UserError(
                f"this model needs {self.references} reference(s) and got"
                f" {len(target.references)}; give --reference FILE"
            )
        for name in ("category", "arousal", "strength"):
            if getattr(self, name) and getattr(target, name) is None:
                option = "emotion" if name == "category" else name
                raise UserError(f"this model needs --{option}, which was not given")


class Converter(Protocol):
    """A trained model that converts the emotion of speech.

    Attributes:
        frontend: The mel it works in; a vocoder must be of the same ``mel_id``.
        needs: What of the target it uses.
    """

    frontend: LogMel

    @property
    def needs(self) -> Needs:
        """What of an :class:`EmotionTarget` the model uses."""
        ...

    def convert(self, source: Speech, target: EmotionTarget, seed: int = 0) -> Tensor:
        """Convert one utterance.

        Args:
            source: The utterance.
            target: The emotion wanted.
            seed: Of whatever the model draws; the same seed gives the same result.

        Returns:
            Log-mel of the front end, (M, T).
        """
        ...


class CopySynthesis:
    """The converter that changes nothing: what the vocoder alone does to speech.

    Args:
        frontend: The mel.
    """

    needs = Needs()

    def __init__(self, frontend: LogMel) -> None:
        self.frontend = frontend

    def convert(self, source: Speech, target: EmotionTarget, seed: int = 0) -> Tensor:
        """Log-mel of the source, (M, T)."""
        return self.frontend(source.wav[None])[0]


class Vocoder(Protocol):
    """Turns log-mels into waveforms.

    Attributes:
        frontend: The mel it takes.
    """

    frontend: LogMel

    @property
    def label(self) -> str:
        """What reports call it: its kind, its weights and its settings."""
        ...

    def __call__(self, mel: Tensor) -> Tensor:
        """Waveforms (B, N) of log-mels (B, M, T)."""
        ...
