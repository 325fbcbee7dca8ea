"""One utterance at a time: audio, stored features, partners."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from emovc.common.batch import Sample
from emovc.common.emotions import emotion_index
from emovc.common.feature_set import Features
from emovc.common.manifest import Utterance
from emovc.common.partners import Partners
from emovc.common.sampling import Request
from emovc.common.unchanged import read_utterance
from emovc.common.worker_files import CurrentFiles


class SpeechDataset(Dataset[Sample]):
    """Samples of one split.

    Args:
        utterances: Utterances of the split.
        partners: Their partners.
        speakers: Index of each training speaker.
        features: What they carry beside audio.
        sample_rate: Rate of the audio handed out, in Hz.
        hop_length: Samples per mel frame.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        partners: Partners,
        speakers: dict[str, int],
        features: Features,
        sample_rate: int,
        hop_length: int,
    ) -> None:
        self.utterances = utterances
        self.partners = partners
        self.speakers = speakers
        self.features = features
        self.sample_rate = sample_rate
        self.hop_length = hop_length
        self._at = CurrentFiles()

    def __getitem__(self, request: Request) -> Sample:
        """Sample of a request, with the partners that the request's seed draws."""
        rng = np.random.default_rng(request.seed)
        index = self.partners.indices[request.item]
        partners = self.partners.choose(index, rng)
        sample = self._sample(index, request.frames, rng)
        return sample._replace(
            partners=tuple(self._sample(i, request.frames, rng) for i in partners)
        )

    def _sample(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        """Whole utterance, or a crop of ``frames`` mel frames; what is too short is padded."""
        utterance = self.utterances[index]
        with self._at.reading(utterance.path):
            return self._cut(utterance, frames, rng)

    def _cut(self, utterance: Utterance, frames: int, rng: np.random.Generator) -> Sample:
        """A sample of an utterance."""
        wav = read_utterance(utterance, self.sample_rate)
        n_frames = len(wav) // self.hop_length
        start = int(rng.integers(max(n_frames - frames, 0) + 1)) if frames else 0
        count = min(frames, n_frames) if frames else n_frames
        if frames:
            wav = wav[start * self.hop_length : (start + count) * self.hop_length]
        return Sample(
            id=utterance.id,
            wav=torch.from_numpy(wav),
            speaker=self.speakers.get(utterance.speaker, -1),
            emotion=emotion_index(utterance.emotion),
            features=self._features(utterance, start, count),
            pad_to=frames * self.hop_length,
        )

    def _features(self, utterance: Utterance, start: int, count: int) -> dict[str, Tensor]:
        """Features of a crop; a frame more or less than the mel has is cut or padded away."""
        values: dict[str, Tensor] = {}
        for name, store in self.features.per_frame.items():
            rows = torch.from_numpy(np.array(store.get(utterance.sha256, start, count)))
            rows = torch.nn.functional.pad(rows, (0, 0, 0, count - len(rows)))
            values[name] = rows[:, 0] if rows.shape[1] == 1 else rows
        for name, store in self.features.per_utterance.items():
            values[name] = torch.from_numpy(np.array(store.get(utterance.sha256)[0]))
        for name, table in self.features.constants.items():
            values[name] = table[utterance.id]
        return values
