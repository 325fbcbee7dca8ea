"""Are the words still there: word and character error rate of a named recogniser."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from emovc.common.errors import UserError
from emovc.common.judges.hearing import require_speech
from emovc.common.judging import Goal, Verdict

NORMALISER = "nfkc-lower-nopunct-visible"  # to be renamed when normalise() changes


class Recogniser(Protocol):
    """Writes down what is said.

    Attributes:
        name: Short name, part of the names of the metrics.
        languages: ISO 639-1 codes of the languages it understands.
    """

    name: str
    languages: Sequence[str]

    @property
    def about(self) -> dict[str, Any]:
        """Settings, hash of the ``weights``, and corpora it was ``trained_on``."""
        ...

    def transcribe(self, wav: np.ndarray, sample_rate: int, language: str | None = None) -> str:
        """What is said in a recording (N,); empty where nothing was understood.

        Args:
            wav: The recording.
            sample_rate: Its rate in Hz.
            language: Its language, one of ``languages``; ``None`` where it is not known.

        Raises:
            UserError: The recording can't be recognised.
        """
        ...


@runtime_checkable
class BatchRecogniser(Protocol):
    """What a recogniser has besides, if several recordings at once take it less time."""

    def transcribe_batch(
        self, wavs: Sequence[np.ndarray], sample_rate: int, languages: Sequence[str | None]
    ) -> list[str]:
        """What is said in recordings, (N,) each, in their languages: the same as one by one.

        Raises:
            UserError: A recording can't be recognised.
        """
        ...


def normalise(text: str) -> str:
    """Words alone: NFKC, lower case, no punctuation, one space between words.

    Apostrophes vanish (``don't`` becomes ``dont``), and so does what can't be seen, such as soft
    hyphens; other signs part words. Letters keep their diacritics, and digits stay digits.
    """
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    text = re.sub(r"['’ʼ`´]", "", unicodedata.normalize("NFKC", text.replace("´", "'")).lower())
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join("".join(kept).split())


def error_rates(reference: str, hypothesis: str) -> tuple[float, float]:
    """Word and character error rate; both may exceed 1.

    Insertions, deletions and substitutions divided by the words (the characters, spaces among them)
    of the reference.

    Args:
        reference: Normalised text, not empty.
        hypothesis: Normalised transcript.

    Raises:
        UserError: jiwer isn't installed.
    """
    try:
        import jiwer
    except ImportError:
        raise UserError("error rates need jiwer: install the extra emovc-common[judges]") from None
    return float(jiwer.wer(reference, hypothesis)), float(jiwer.cer(reference, hypothesis))


class Intelligibility:
    """Word and character error rate against the text of the pair.

    Text without a known language, or in one that the recogniser does not understand, is a gap; so
    is a pair without a text. Where the recogniser writes nothing, all words are missing: both rates
    are 1.

    Args:
        recogniser: What writes the words down.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser
        self.name = recogniser.name
        self.metrics: Mapping[str, str] = {f"wer_{self.name}": f"WER ({self.name})",
                        f"cer_{self.name}": f"CER ({self.name})"}  # fmt: skip

    @property
    def about(self) -> dict[str, Any]:
        """What the recogniser is, and how texts are compared."""
        languages = sorted(self.recogniser.languages)
        return {**self.recogniser.about, "languages": languages, "normaliser": NORMALISER}

    def hear(self, wav: np.ndarray, sample_rate: int) -> str | None:
        """Normalised transcript of a recording (N,) whose language is not known.

        Raises:
            UserError: The recording holds no speech.
        """
        return self.hear_batch([wav], sample_rate, [None])[0]

    def hear_in_language(self, wav: np.ndarray, sample_rate: int, language: str) -> str | None:
        """Normalised transcript of a recording (N,); ``None`` if it is not in its languages.

        Raises:
            UserError: The recording holds no speech.
        """
        return self.hear_batch([wav], sample_rate, [language])[0]

    def hear_batch(
        self, wavs: Sequence[np.ndarray], sample_rate: int, languages: Sequence[str | None]
    ) -> list[str | None]:
        """Normalised transcripts of recordings (N,); ``None`` for those not in its languages.

        Raises:
            UserError: A recording holds no speech.
        """
        for wav in wavs:
            require_speech(wav, sample_rate)
        known = [
            i for i, code in enumerate(languages) if code in (None, *self.recogniser.languages)
        ]
        own, codes = [wavs[i] for i in known], [languages[i] for i in known]
        if isinstance(self.recogniser, BatchRecogniser):
            texts = self.recogniser.transcribe_batch(own, sample_rate, codes)
        else:
            both = zip(own, codes, strict=True)
            texts = [self.recogniser.transcribe(wav, sample_rate, code) for wav, code in both]
        found: list[str | None] = [None] * len(wavs)
        for i, text in zip(known, texts, strict=True):
            found[i] = normalise(text)
        return found

    def judge(self, heard: str | None, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """Compare a transcript with the text."""
        reference = normalise(goal.text or "")
        if not reference:
            return Verdict({}, gaps=(f"asr {self.name}: no text",))
        if goal.language is None:
            return Verdict({}, gaps=(f"asr {self.name}: language unknown",))
        if goal.language not in self.recogniser.languages or heard is None:
            return Verdict({}, gaps=(f"asr {self.name}: no {goal.language}",))
        wer, cer = error_rates(reference, heard)
        metrics = {f"wer_{self.name}": wer, f"cer_{self.name}": cer}
        return Verdict(metrics, {f"transcript_{self.name}": heard})
