"""Is it the target's voice: cosine of speaker vectors, of two encoders that know different things.

Values of different encoders aren't comparable; the rows source, target and copy-synthesis say what
each is worth.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.judges.hearing import hear_at
from emovc.common.judges.similarity import similarities, similarity_metrics, unit
from emovc.common.judging import Goal, Verdict
from emovc.common.speaker import RATE as DVECTOR_RATE
from emovc.common.speaker import SpeakerEncoder
from emovc.common.transformers_loading import find_folder, load_network, load_part
from emovc.common.weights import weights_hash

METRIC, HEADING = "speaker_similarity", "speaker similarity"
RECORDINGS = ("target", "same_speaker")
XVECTOR_RATE = 16_000  # Hz
XVECTOR_S = 0.4  # the statistics of shorter recordings have no spread


class DvectorSimilarity:
    """Cosine of Resemblyzer's d-vectors with the target, and with other words of its speaker.

    The vectors have no negative entry, so different voices are near 0.5, not 0.

    Args:
        source: File or folder of weights; ``None``: those of the installed resemblyzer.
        device: Where it runs.

    Raises:
        UserError: There are no weights, or they don't fit.
    """

    name = "dvector"

    def __init__(self, source: str | Path | None = None, device: str = "cpu") -> None:
        self.encoder = SpeakerEncoder.from_pretrained(source).to(device)
        self.source, self.device = str(source) if source else "resemblyzer", device
        self.metrics: Mapping[str, str] = similarity_metrics(METRIC, HEADING, "", RECORDINGS)

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where the weights are from, their hash, and what they were trained on."""
        return {
            "source": self.source,
            "weights": weights_hash(self.encoder),
            "trained_on": ["librispeech", "voxceleb1", "voxceleb2"],
        }

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector (256,) of a recording (N,).

        Raises:
            UserError: The recording holds no speech.
        """
        heard = torch.from_numpy(hear_at(wav, sample_rate, DVECTOR_RATE))
        return self.encoder(heard[None].to(self.device))[0].cpu().numpy()

    def judge(self, heard: np.ndarray, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """Cosine with the target and, where there is one, with its speaker's other words."""
        return Verdict(similarities(METRIC, "", RECORDINGS, heard, recordings))


class XVectorSimilarity:
    """Cosine of the x-vectors of a WavLM that was trained to verify speakers.

    Source: Chen et al., "WavLM", IEEE JSTSP 16(6), 2022.

    Args:
        source: Name on Hugging Face or folder with its files.
        name: Name in the metrics; by default the last part of ``source``.
        trained_on: Corpora it was trained on; by default those of ``wavlm-base-plus-sv``.
        device: Where it runs.
        offline: Download nothing.

    Raises:
        UserError: It can't be loaded.
    """

    def __init__(
        self,
        source: str | Path = "microsoft/wavlm-base-plus-sv",
        name: str | None = None,
        trained_on: list[str] | None = None,
        device: str = "cpu",
        offline: bool = False,
    ) -> None:
        folder = find_folder(source, ("preprocessor_config.json",), (), offline)
        self.source, self.device = str(source), device
        self.name = name or Path(source).name
        self.trained_on = trained_on or ["librilight", "gigaspeech", "voxpopuli", "voxceleb1"]
        self.extractor = load_part("Wav2Vec2FeatureExtractor", folder)
        self.network = load_network("WavLMForXVector", folder).to(device)
        self.metrics: Mapping[str, str] = similarity_metrics(METRIC, HEADING, self.name, RECORDINGS)

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where the weights are from, their hash, and what they were trained on."""
        return {
            "source": self.source,
            "weights": weights_hash(self.network),
            "trained_on": self.trained_on,
        }

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector (D,) of a recording (N,).

        Raises:
            UserError: The recording holds no speech, or less than 0.4 s.
        """
        heard = self.extractor(
            hear_at(wav, sample_rate, XVECTOR_RATE, XVECTOR_S),
            sampling_rate=XVECTOR_RATE, return_tensors="pt",
        )  # fmt: skip
        vectors = self.network(heard.input_values.to(self.device)).embeddings
        return unit(vectors[0].cpu().numpy())

    def judge(self, heard: np.ndarray, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """Cosine with the target and, where there is one, with its speaker's other words."""
        return Verdict(similarities(METRIC, self.name, RECORDINGS, heard, recordings))
