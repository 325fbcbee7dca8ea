"""The emotion encoder on Whisper as a judge of converted speech."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.judges.emotion import EmotionRecognition, HeardEmotion
from emovc.common.judges.hearing import hear_at
from emovc.common.judges.similarity import unit
from emovc.common.judging import Goal, Verdict
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.wav import read_wav
from emovc.ser.emotion_encoder import VARIANTS
from emovc.ser.whisper_emotion import WhisperEmotion
from emovc.ser.whisper_head import FEWEST, SpeakerStatistics

MOST = 40  # recordings of a speaker that are read; more change little
NAME = "encoder_whisper"  # in metrics; the recogniser of words is called whisper


class Analyzed(NamedTuple):
    """A recording as the judge keeps it.

    Attributes:
        plain: What is recognised without knowing the speaker.
        statistics: Mean and deviation of Whisper's layers, (1, L, 2, D), by which it is recognised
            again where the speaker is known.
    """

    plain: HeardEmotion
    statistics: Tensor


class WhisperEmotionJudge(EmotionRecognition):
    """Decision, probability and cosines of the emotion encoder on Whisper.

    With a manifest of real recordings the decision is made by the statistics of who speaks, which
    are taken from their recordings without labels; the cosines never are, since recordings of two
    speakers are compared.

    Args:
        weights: Shipped weights (``judge_all``, ``judge_without_nemo``, ``judge_without_emodb``,
            ``judge_without_ravdess``, or ``condition_...``), or a folder of
            ``emovc train-emotion``.
        speakers: Manifest with recordings of the speakers, better of all their emotions.
        whisper: Folder or name on Hugging Face of Whisper, which is downloaded; ``None``: the one
            in ``EMOVC_WHISPER``, in ``weights/whisper_base`` or in the hub's cache.
        name: Name in the metrics; by default ``encoder_whisper``, or with ``_without_<corpus>``.
        device: Where it runs.

    Raises:
        UserError: There are no such weights, no such Whisper, or no such manifest.
    """

    def __init__(
        self,
        weights: str = "judge_all",
        speakers: str | None = None,
        whisper: str | None = None,
        name: str | None = None,
        device: str = "cpu",
    ) -> None:
        known = {f"judge_{v}": NAME if v == "all" else f"{NAME}_{v}" for v in VARIANTS}
        network = WhisperEmotion.from_pretrained(weights, whisper=whisper, offline=whisper is None)
        super().__init__(network, name or known.get(weights, Path(weights).name), device=device)
        self.encoder = network
        self.speakers = speakers
        self.recordings: dict[str, list[Utterance]] = {}
        for u in read_manifest(Path(speakers)) if speakers else []:
            self.recordings.setdefault(u.speaker, []).append(u)
        self._fitted: dict[str, SpeakerStatistics] = {}

    @cached_property
    def about(self) -> dict[str, Any]:
        """The network, the hashes of its weights and of Whisper's, its training and labels."""
        whisper = {"whisper": self.encoder.encoder.weights}
        return {**super().about, **whisper, "speakers": self.speakers}

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> Any:
        """What is kept of a recording (N,).

        Raises:
            UserError: The recording holds no speech.
        """
        heard = torch.from_numpy(hear_at(wav, sample_rate, self.rate))[None].to(self.device)
        lengths = torch.tensor([heard.shape[1]], device=self.device)
        found = self.encoder.statistics(heard, lengths)
        return Analyzed(self._recognize(found, None), found)

    def judge(self, heard: Any, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """Compare what was recognised with the wanted emotion and with the recordings."""
        plain = {role: recording.plain for role, recording in recordings.items()}
        speaker = self.speaker(goal.speaker)
        if speaker is None:
            return super().judge(heard.plain, plain, goal)
        posterior = self._recognize(heard.statistics, speaker).posterior
        return super().judge(heard.plain._replace(posterior=posterior), plain, goal)

    def speaker(self, name: str) -> SpeakerStatistics | None:
        """Statistics of a speaker of the manifest; ``None`` without a manifest.

        Raises:
            UserError: The manifest has too few recordings of them.
        """
        if self.speakers is None:
            return None
        if name not in self._fitted:
            own = self.recordings.get(name, [])
            if len(own) < FEWEST:
                raise UserError(
                    f"{self.speakers}: has {len(own)} recordings of {name}, {FEWEST} are needed;"
                    " name a manifest with this speaker, or leave speakers out"
                )
            order = np.random.default_rng(0).permutation(len(own))[:MOST]
            wavs = [read_wav(own[i].path, self.rate)[0] for i in sorted(order)]
            tensors = [torch.from_numpy(wav).to(self.device) for wav in wavs]
            self._fitted[name] = self.encoder.fit_speaker(tensors)
        return self._fitted[name]

    @torch.inference_mode()
    def _recognize(self, statistics: Tensor, speaker: SpeakerStatistics | None) -> HeardEmotion:
        embedding, log_posterior = self.encoder.head(statistics, speaker)
        posterior = log_posterior[0, self.kept].double().softmax(dim=0).cpu().numpy()
        return HeardEmotion(posterior, unit(embedding[0].float().cpu().numpy()))
