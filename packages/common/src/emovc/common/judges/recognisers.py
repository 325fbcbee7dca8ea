"""Speech recognisers: Whisper, CTC networks, and PocketSphinx, which needs no download."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from emovc.common.checked_values import read_object
from emovc.common.errors import UserError
from emovc.common.files import sha256_of, short_hash
from emovc.common.judges.hearing import hear_at
from emovc.common.judges.long_speech import join_transcripts, window_bounds
from emovc.common.transformers_loading import CONFIG, find_folder, load_network, load_part, quiet
from emovc.common.wav import SILENCE
from emovc.common.weights import weights_hash
from emovc.common.whisper_folder import FILES, TOKENIZER_FILES, find_whisper

RATE = 16_000  # Hz, of all of them
WHISPER_S, OVERLAP_S = 30, 5  # what Whisper takes at once, and what windows have in common
# Most tokens for a second of speech, counted in steps of 5 s: acted Polish, whose words take the
# most tokens of the corpora here, has up to 11. Half of the decoder's positions is Whisper's own
# limit. What it makes of noise may repeat itself without end, and ends there.
TOKENS_PER_S, STEP_S = 16, 5
AGAIN = "take all files of one model, such as openai/whisper-base"


class _Window(NamedTuple):
    """What Whisper takes at once.

    Attributes:
        wav: Samples at 16 kHz, (N,).
        gain: Factor that brings the recording to its level.
        language: ISO 639-1 code, or ``None`` to let Whisper decide.
        most: Most tokens of its transcript.
    """

    wav: np.ndarray
    gain: float
    language: str | None
    most: int


class Whisper:
    """Whisper without a prompt, for recordings of any length.

    A recording is brought to one peak first, since soft ones go wrong. What is longer than 30 s is
    cut into windows of equal length with 5 s in common, whose transcripts are joined by the words
    that both have. The number of tokens is bounded by the duration.

    Source: Radford et al., "Robust speech recognition via large-scale weak supervision", ICML 2023.

    Args:
        source: Name on Hugging Face (``openai/whisper-small``) or folder with its files; ``None``:
            the one on this machine, see :func:`~emovc.common.whisper_folder.find_whisper`.
        language: ISO 639-1 code of all recordings; ``None``: that of each recording where it is
            known, else Whisper decides, window by window.
        name: Name in the metrics; by default the last part of ``source``, or ``whisper``.
        beams: Hypotheses of the beam search; 1 is greedy decoding.
        peak: Peak that each recording is brought to; ``None`` keeps its level.
        batch_size: Windows decoded at once, which bounds the memory.
        device: Where it runs.
        offline: Download nothing.

    Raises:
        UserError: It can't be loaded, does not know the language, or a number is out of range.
    """

    def __init__(
        self,
        source: str | Path | None = None,
        language: str | None = None,
        name: str | None = None,
        beams: int = 1,
        peak: float | None = 0.7,
        batch_size: int = 8,
        device: str = "cpu",
        offline: bool = False,
    ) -> None:
        if min(beams, batch_size) < 1 or (peak is not None and not 0 < peak <= 1):
            raise UserError(
                f"Whisper: beams {beams}, batch_size {batch_size}, peak {peak}: give 1 or more, 1"
                " or more, and a number above 0 up to 1"
            )
        found = find_whisper() if source is None else source
        folder = find_folder(found, FILES, TOKENIZER_FILES, offline)
        _require_whisper(folder)
        self.source, self.language, self.device = str(found), language, device
        self.beams, self.peak, self.batch_size = beams, peak, batch_size
        self.name = name or ("whisper" if source is None else Path(source).name)
        self.processor = load_part("WhisperProcessor", folder)
        self.network = load_network("WhisperForConditionalGeneration", folder).to(device)
        bands = self.processor.feature_extractor.feature_size
        if bands != self.network.config.num_mel_bins:
            raise UserError(
                f"{found}: the network takes {self.network.config.num_mel_bins} mel bands and the"
                f" preprocessor makes {bands}; {AGAIN}"
            )
        tokens = getattr(self.network.generation_config, "lang_to_id", None) or {"<|en|>": 0}
        self.multilingual = len(tokens) > 1
        known = [token.strip("<|>") for token in tokens]
        if language is not None and language not in known:
            raise UserError(
                f"{found}: this Whisper does not know the language {language}; it knows "
                + ", ".join(known)
            )
        self.languages: Sequence[str] = [language] if language else known

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where it is from, size and hash of its weights, and its decoding."""
        config = self.network.config
        return {
            "source": self.source,
            "weights": weights_hash(self.network),
            "size": f"{config.encoder_layers} + {config.decoder_layers} layers of {config.d_model}",
            "trained_on": ["undisclosed recordings of the web"],
            "decoding": "greedy" if self.beams == 1 else f"beam search of {self.beams}",
            "level": "as it is" if self.peak is None else f"peak of {self.peak:g}",
            "windows": f"{WHISPER_S} s, {OVERLAP_S} s in common, joined by words",
            "tokens": f"at most {TOKENS_PER_S} per s, in steps of {STEP_S} s",
            "language": self.language or "of each recording",
        }

    def transcribe(self, wav: np.ndarray, sample_rate: int, language: str | None = None) -> str:
        """What is said in a recording (N,) of any length.

        Args:
            wav: The recording.
            sample_rate: Its rate in Hz.
            language: Its language, unless all have one.

        Raises:
            UserError: The recording holds no speech, or Whisper does not know the language.
        """
        return self.transcribe_batch([wav], sample_rate, [language])[0]

    def transcribe_batch(
        self, wavs: Sequence[np.ndarray], sample_rate: int, languages: Sequence[str | None]
    ) -> list[str]:
        """What is said in recordings of any length, (N,) each.

        Args:
            wavs: The recordings.
            sample_rate: Their rate in Hz.
            languages: Language of each, unless all have one.

        Raises:
            UserError: A recording holds no speech, or Whisper does not know its language.
        """
        windows: list[_Window] = []
        of_recording: list[tuple[range, float]] = []  # its windows, and the share in common
        for wav, language in zip(wavs, languages, strict=True):
            heard = hear_at(wav, sample_rate, RATE)
            bounds = window_bounds(len(heard), WHISPER_S * RATE, OVERLAP_S * RATE)
            code = self._code(language)
            gain = 1.0 if self.peak is None else self.peak / float(np.abs(heard).max())
            first, length = len(windows), bounds[0][1]
            windows += [
                _Window(heard[start:stop], gain, code, self._most_tokens(length))
                for start, stop in bounds
            ]
            of_recording.append((range(first, len(windows)), OVERLAP_S * RATE / length))
        texts = [""] * len(windows)
        for batch in self._batches(windows):
            for i, text in zip(batch, self._decode([windows[i] for i in batch]), strict=True):
                texts[i] = text
        return [join_transcripts([texts[i] for i in own], share) for own, share in of_recording]

    def _code(self, language: str | None) -> str | None:
        """The language to decode in, ``None`` if Whisper decides."""
        code = self.language or language
        if code is not None and code not in self.languages:
            raise UserError(
                f"{self.name}: does not know the language {code}; leave such recordings out, or"
                " take a recogniser that does"
            )
        return code

    def _most_tokens(self, n_samples: int) -> int:
        """Most tokens of a window of so many samples."""
        steps = math.ceil(n_samples / (STEP_S * RATE))
        return min(steps * STEP_S * TOKENS_PER_S, self.network.config.max_target_positions // 2)

    def _batches(self, windows: Sequence[_Window]) -> Iterator[list[int]]:
        """Indices of windows that are decoded together: of one language and one bound of tokens.

        Windows without a sound are in none, as Whisper makes up words for silence.
        """
        groups: dict[tuple[str | None, int], list[int]] = {}
        for i, window in enumerate(windows):
            if np.abs(window.wav).max() >= SILENCE:
                groups.setdefault((window.language, window.most), []).append(i)
        for group in groups.values():
            for first in range(0, len(group), self.batch_size):
                yield group[first : first + self.batch_size]

    @torch.inference_mode()
    def _decode(self, windows: Sequence[_Window]) -> list[str]:
        """Transcripts of windows of one language and one bound."""
        given = self.processor.feature_extractor(
            [w.gain * w.wav for w in windows], sampling_rate=RATE, return_tensors="pt",
            return_attention_mask=True,
        ).to(self.device)  # fmt: skip
        asked: dict[str, Any] = {}
        if self.multilingual:
            asked = {"language": windows[0].language, "task": "transcribe"}
        with quiet():  # it warns of arguments that it itself hands on
            tokens = self.network.generate(
                given.input_features, attention_mask=given.attention_mask, num_beams=self.beams,
                do_sample=False, max_new_tokens=windows[0].most, **asked,
            )  # fmt: skip
        return [str(text) for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]


class Wav2Vec2CTC:
    """A network with a CTC head over letters, decoded greedily: wav2vec 2.0, HuBERT, WavLM.

    Source: Baevski, Zhou, Mohamed and Auli, "wav2vec 2.0", NeurIPS 2020.

    Args:
        source: Name on Hugging Face (``facebook/wav2vec2-base-960h``) or folder with its files.
        languages: ISO 639-1 codes of what it was trained on; the files don't say.
        name: Name in the metrics; by default the last part of ``source``.
        trained_on: Corpora it was trained on.
        device: Where it runs.
        offline: Download nothing.

    Raises:
        UserError: It can't be loaded.
    """

    def __init__(
        self,
        source: str | Path,
        languages: list[str],
        name: str | None = None,
        trained_on: list[str] | None = None,
        device: str = "cpu",
        offline: bool = False,
    ) -> None:
        needed = ("vocab.json", "preprocessor_config.json")
        folder = find_folder(source, needed, TOKENIZER_FILES, offline)
        self.source, self.device = str(source), device
        self.languages: Sequence[str] = languages
        self.trained_on = trained_on or []
        self.name = name or Path(source).name
        self.processor = load_part("Wav2Vec2Processor", folder)
        self.network = load_network("AutoModelForCTC", folder).to(device)

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where it is from, hash of its weights, and its decoding."""
        return {
            "source": self.source,
            "weights": weights_hash(self.network),
            "trained_on": self.trained_on,
            "decoding": "greedy",
        }

    @torch.inference_mode()
    def transcribe(self, wav: np.ndarray, sample_rate: int, language: str | None = None) -> str:
        """What is said in a recording (N,), whatever its language is said to be.

        Raises:
            UserError: The recording holds no speech.
        """
        heard = self.processor.feature_extractor(
            hear_at(wav, sample_rate, RATE), sampling_rate=RATE, return_tensors="pt"
        )
        logits = self.network(heard.input_values.to(self.device)).logits  # (1, T, letters)
        return str(self.processor.batch_decode(logits.argmax(dim=-1))[0])


class PocketSphinx:
    """The recogniser for English with its bundled model; weak, but at hand on every machine.

    Each recording is recognised on its own, whatever was heard before.

    Raises:
        UserError: pocketsphinx isn't installed.
    """

    name = "pocketsphinx"
    languages: Sequence[str] = ("en",)

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError:
            raise UserError("judge pocketsphinx: install the extra emovc-common[judges]") from None
        self.decoder = Decoder(samprate=float(RATE), loglevel="FATAL")

    @cached_property
    def about(self) -> dict[str, Any]:
        """Hash of the acoustic model, the dictionary and the language model."""
        config = self.decoder.config
        files = sorted(Path(config["hmm"]).iterdir()) + [Path(config["dict"]), Path(config["lm"])]
        return {
            "source": "en-us of the package pocketsphinx",
            "weights": short_hash([sha256_of(file) for file in files if file.is_file()]),
            "trained_on": ["undisclosed American English"],
            "decoding": "trigrams of the package",
        }

    def transcribe(self, wav: np.ndarray, sample_rate: int, language: str | None = None) -> str:
        """What is said in a recording (N,), whatever its language is said to be.

        Raises:
            UserError: The recording holds no speech, or the decoder gives up.
        """
        heard = hear_at(wav, sample_rate, RATE)
        samples = np.clip(np.rint(heard * 2.0**15), -(2**15), 2**15 - 1).astype(np.int16)
        self.decoder.start_utt()
        try:
            self.decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        except RuntimeError:
            raise UserError("the recording makes pocketsphinx give up; leave it out") from None
        finally:
            self.decoder.end_utt()
        found = self.decoder.hyp()
        return found.hypstr if found else ""


def _require_whisper(folder: Path) -> None:
    """Require the configuration of a Whisper, and what it says of languages.

    Raises:
        UserError: It is of another model, or absent.
    """
    kind = read_object(folder / CONFIG).get("model_type")
    if kind != "whisper":
        raise UserError(f"{folder}: is a {kind} model, not a Whisper; {AGAIN}")
    if not (folder / FILES[0]).is_file():  # without it the library takes it for an English one
        raise UserError(f"{folder}: lacks {FILES[0]}; {AGAIN}")
