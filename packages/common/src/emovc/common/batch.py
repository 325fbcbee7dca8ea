"""The one batch type of all models."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Batch(NamedTuple):
    """A padded batch of utterances, with their partners if a model asks for pairs or triplets.

    A NamedTuple, because torch pins it and Lightning moves it without help.

    Attributes:
        ids: Manifest ids, for messages.
        wav: Waveforms in [-1, 1], zero-padded on the right, (B, N).
        lengths: Valid samples of each waveform, (B,).
        speaker: Index of the speaker among the training speakers, -1 if it is none of them, (B,).
        emotion: Index into :data:`emovc.common.emotions.EMOTIONS`, -1 if unlabelled, (B,).
        features: Stored features by name: per frame (B, T, D) or (B, T), zero-padded; per
            utterance (B, D).
        partners: One batch per partner: ``parallel`` gives the neutral recording of the same
            words; ``triplet`` another recording of the same emotion and a neutral one, all of one
            speaker; ``reference`` the reference. Empty for single utterances.
    """

    ids: list[str]
    wav: Tensor
    lengths: Tensor
    speaker: Tensor
    emotion: Tensor
    features: dict[str, Tensor]
    partners: "tuple[Batch, ...]" = ()


class Sample(NamedTuple):
    """One utterance before collation; see :class:`Batch`.

    Attributes:
        id: Manifest id.
        wav: Waveform, (N,).
        speaker: Index of the speaker.
        emotion: Index of the emotion.
        features: Features by name, (T, D), (T,) or (D,).
        pad_to: Samples the batch has at least.
        partners: Partners.
    """

    id: str
    wav: Tensor
    speaker: int
    emotion: int
    features: dict[str, Tensor]
    pad_to: int = 0
    partners: "tuple[Sample, ...]" = ()


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad samples, and their features per frame, with zeros to the longest of them."""
    longest = max(max(len(s.wav), s.pad_to) for s in samples)
    wav = torch.zeros(len(samples), longest)
    for row, sample in zip(wav, samples, strict=True):
        row[: len(sample.wav)] = sample.wav
    features = {
        name: pad_sequence([s.features[name] for s in samples], batch_first=True)
        for name in samples[0].features
    }
    partners = zip(*(s.partners for s in samples), strict=True)
    return Batch(
        ids=[s.id for s in samples],
        wav=wav,
        lengths=torch.tensor([len(s.wav) for s in samples]),
        speaker=torch.tensor([s.speaker for s in samples]),
        emotion=torch.tensor([s.emotion for s in samples]),
        features=features,
        partners=tuple(collate(group) for group in partners),
    )


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of the utterances of several, padded to the longest; partners are left out."""
    longest = max(batch.wav.shape[1] for batch in batches)
    frames = {n: max(b.features[n].shape[1] for b in batches) for n in batches[0].features}
    return Batch(
        ids=[name for batch in batches for name in batch.ids],
        wav=torch.cat([_widen(batch.wav, longest) for batch in batches]),
        lengths=torch.cat([batch.lengths for batch in batches]),
        speaker=torch.cat([batch.speaker for batch in batches]),
        emotion=torch.cat([batch.emotion for batch in batches]),
        features={
            n: torch.cat([_widen(b.features[n], t) for b in batches]) for n, t in frames.items()
        },
    )


def first(batch: Batch, count: int) -> Batch:
    """The first utterances of a batch, without partners."""
    return Batch(
        batch.ids[:count],
        batch.wav[:count],
        batch.lengths[:count],
        batch.speaker[:count],
        batch.emotion[:count],
        {name: values[:count] for name, values in batch.features.items()},
    )


def _widen(values: Tensor, length: int) -> Tensor:
    """Pad the second axis with zeros."""
    after = [0, 0] * (values.dim() - 2) + [0, length - values.shape[1]]
    return torch.nn.functional.pad(values, after)
