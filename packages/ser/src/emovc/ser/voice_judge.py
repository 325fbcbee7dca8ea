"""The voice encoder as a judge of converted speech, whom no model is conditioned on."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.judges.hearing import hear_at
from emovc.common.judges.similarity import similarities, similarity_metrics
from emovc.common.judges.speaker_similarity import HEADING, METRIC, RECORDINGS
from emovc.common.judging import Goal, Verdict
from emovc.common.weights import weights_hash
from emovc.ser.voice import VARIANTS, VoiceEncoder


class VoiceSimilarity:
    """Cosine of the voice encoder's vectors with the target, and with other words of its speaker.

    It is on frozen layers of Whisper and independent of Resemblyzer's d-vectors, which models are
    conditioned on. Two voices of one corpus are at about 0.4, not at 0.

    Args:
        weights: Shipped weights, ``all`` (which know speakers of nEMO, EMO-DB and RAVDESS) or
            ``without_nemo``, or a folder of ``emovc train-voice``.
        whisper: Folder or name on Hugging Face of Whisper, which is downloaded; ``None``: the one
            in ``EMOVC_WHISPER``, in ``weights/whisper_base`` or in the hub's cache.
        name: Name in the metrics; by default ``voice``, or ``voice_without_nemo``.
        device: Where it runs.

    Raises:
        UserError: There are no such weights, or no such Whisper, or it is another one.
    """

    def __init__(
        self,
        weights: str = "all",
        whisper: str | None = None,
        name: str | None = None,
        device: str = "cpu",
    ) -> None:
        known = {v: "voice" if v == "all" else f"voice_{v}" for v in VARIANTS}
        encoder = VoiceEncoder.from_pretrained(weights, whisper=whisper, offline=whisper is None)
        self.encoder = encoder.to(device)
        self.source, self.device = weights, device
        self.name = name or known.get(weights, Path(weights).name)
        self.metrics: Mapping[str, str] = similarity_metrics(METRIC, HEADING, self.name, RECORDINGS)

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where the weights are from, their hash and Whisper's, and what they were trained on."""
        return {
            "source": self.source,
            "weights": weights_hash(self.encoder),
            "whisper": self.encoder.encoder.weights,
            "trained_on": self.encoder.trained_on,
        }

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector (V,) of a recording (N,).

        Raises:
            UserError: The recording holds no speech.
        """
        given = torch.from_numpy(hear_at(wav, sample_rate, self.encoder.sample_rate))
        lengths = torch.tensor([len(given)], device=self.device)
        return self.encoder(given[None].to(self.device), lengths)[0].cpu().numpy()

    def judge(self, heard: np.ndarray, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """Cosine with the target and, where there is one, with its speaker's other words."""
        return Verdict(similarities(METRIC, self.name, RECORDINGS, heard, recordings))
