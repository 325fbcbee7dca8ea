"""Speech recognisers: Whisper, CTC networks, and PocketSphinx, which needs no download."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.errors import UserError
from emovc.common.files import sha256_of, short_hash
from emovc.common.judges.hearing import hear_at
from emovc.common.transformers_loading import find_folder, load_network, load_part, quiet
from emovc.common.weights import weights_hash

RATE = 16_000  # Hz, of all of them
WHISPER_S = 30  # what Whisper hears at once
WHISPER_FILES = ("generation_config.json", "preprocessor_config.json")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "normalizer.json",
    "added_tokens.json", "special_tokens_map.json",
)  # fmt: skip


class Whisper:
    """Whisper, greedy and without a prompt.

    Source: Radford et al., "Robust speech recognition via large-scale weak supervision", ICML 2023.

    Args:
        source: Name on Hugging Face (``openai/whisper-small``) or folder with its files.
        language: ISO 639-1 code; ``None``: Whisper decides for each recording.
        name: Name in the metrics; by default the last part of ``source``.
        device: Where it runs.
        offline: Download nothing.

    Raises:
        UserError: It can't be loaded, or does not know the language.
    """

    def __init__(
        self,
        source: str | Path,
        language: str | None = None,
        name: str | None = None,
        device: str = "cpu",
        offline: bool = False,
    ) -> None:
        folder = find_folder(source, WHISPER_FILES, TOKENIZER_FILES, offline)
        self.source, self.language, self.device = str(source), language, device
        self.name = name or Path(source).name
        self.processor = load_part("WhisperProcessor", folder)
        self.network = load_network("WhisperForConditionalGeneration", folder).to(device)
        tokens = getattr(self.network.generation_config, "lang_to_id", None) or {"<|en|>": 0}
        self.multilingual = len(tokens) > 1
        known = [token.strip("<|>") for token in tokens]
        if language is not None and language not in known:
            raise UserError(
                f"{source}: this Whisper does not know the language {language}; it knows "
                + ", ".join(known)
            )
        self.languages: Sequence[str] = [language] if language else known

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where it is from, hash of its weights, and its decoding."""
        return {
            "source": self.source,
            "weights": weights_hash(self.network),
            "trained_on": ["undisclosed recordings of the web"],
            "decoding": "greedy",
            "language": self.language or "detected",
        }

    @torch.inference_mode()
    def transcribe(self, wav: np.ndarray, sample_rate: int) -> str:
        """What is said in a recording (N,) of at most 30 s.

        Raises:
            UserError: The recording is longer, or holds no speech.
        """
        if len(wav) > WHISPER_S * sample_rate:
            raise UserError(f"the recording is longer than the {WHISPER_S} s that Whisper hears")
        heard = self.processor.feature_extractor(
            hear_at(wav, sample_rate, RATE), sampling_rate=RATE, return_tensors="pt",
            return_attention_mask=True,
        ).to(self.device)  # fmt: skip
        asked = {"language": self.language, "task": "transcribe"} if self.multilingual else {}
        with quiet():  # it warns of arguments that it itself hands on
            tokens = self.network.generate(
                heard.input_features, attention_mask=heard.attention_mask, num_beams=1,
                do_sample=False, **asked,
            )  # fmt: skip
        return str(self.processor.batch_decode(tokens, skip_special_tokens=True)[0])


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
    def transcribe(self, wav: np.ndarray, sample_rate: int) -> str:
        """What is said in a recording (N,).

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

    def transcribe(self, wav: np.ndarray, sample_rate: int) -> str:
        """What is said in a recording (N,).

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
