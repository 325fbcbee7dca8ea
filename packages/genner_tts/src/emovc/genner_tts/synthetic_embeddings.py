"""Synthetic emotion embeddings that are built like real ones, for tests and first runs."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

EMOTIONS = ("neutral", "happy", "angry", "sad", "surprise")
N_SPEAKERS = 10
DECAY = 0.6  # of the spectrum: the k-th principal axis has a deviation of k^-0.6
OFFSETS = (0.0, 1.0, 1.1, 0.9, 1.0)  # length of each emotion's distance from neutral
SPREADS = (0.525, 0.75, 0.825, 0.6, 0.75)  # deviation within each emotion
SPEAKER_SPREAD = 0.6
COMMON_LENGTH = 2.0  # of the mean that all share: real embeddings point one way


class Labelled(NamedTuple):
    """Embeddings and what they are of.

    Attributes:
        vectors: Embeddings, (N, D).
        emotion: Index into :data:`EMOTIONS`, (N,).
        speaker: Index of the speaker, (N,).
    """

    vectors: Tensor
    emotion: Tensor
    speaker: Tensor


class SyntheticSource:
    """Speaker, emotion of varying intensity, and noise, each along the same decaying spectrum.

    The offsets of the other emotions cancel out, so that neutral is nearest to the mean of all.

    Args:
        dim: Size D of the embeddings.
        seed: Of everything that is drawn, now and later.
    """

    def __init__(self, dim: int = 256, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.axes = torch.linalg.qr(self._randn(dim, dim))[0].T
        spectrum = torch.arange(1, dim + 1).pow(-DECAY)
        self.spectrum = spectrum / spectrum.norm()
        offsets = torch.nn.functional.normalize(self._coloured(len(EMOTIONS)), dim=1)
        offsets = offsets - offsets[1:].mean(0)
        self.offsets = offsets * torch.tensor(OFFSETS)[:, None]
        self.speakers = SPEAKER_SPREAD * self._coloured(N_SPEAKERS)
        self.mean = self._randn(dim) * (COMMON_LENGTH / math.sqrt(dim))

    def draw(self, per_emotion: int) -> Labelled:
        """So many embeddings of each emotion, in the order of :data:`EMOTIONS`."""
        emotion = torch.arange(len(EMOTIONS)).repeat_interleave(per_emotion)
        speaker = torch.randint(N_SPEAKERS, emotion.shape, generator=self.generator)
        intensity = 0.6 + 0.8 * torch.rand(len(emotion), 1, generator=self.generator)
        spread = torch.tensor(SPREADS)[emotion, None]
        vectors = self.mean + self.speakers[speaker] + intensity * self.offsets[emotion]
        return Labelled(vectors + spread * self._coloured(len(emotion)), emotion, speaker)

    def _randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def _coloured(self, count: int) -> Tensor:
        """Gaussian vectors (count, D) of the spectrum."""
        return (self._randn(count, len(self.spectrum)) * self.spectrum) @ self.axes
