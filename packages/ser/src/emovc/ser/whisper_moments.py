"""Mean and variance of Whisper's layers in segments of speech, as a stored feature."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.whisper import WhisperEncoder
from emovc.common.whisper_folder import HUB_NAME, VARIABLE

SEGMENT = 20  # frames of Whisper, 50 per second: 0.4 s
LAYERS = (0, 1, 2, 3)  # that are stored; the last two of base's six know less of emotion
RANGE_DB = 35.0  # below the loudest 20 ms; what is softer at both ends is no speech
MARGIN_S = 0.05  # of it that stays
NAME = "whisper_moments"


class Moments(NamedTuple):
    """Layers of Whisper, summed up in segments.

    Attributes:
        values: Mean and variance over the frames of each segment, (B, S, L, 2, D).
        frames: Frames of each segment, 0 in the padding, (B, S).
    """

    values: Tensor
    frames: Tensor


def load_whisper(encoder: WhisperEncoder, trained: str | None, owner: str, offline: bool) -> None:
    """Load the Whisper below a head, if it isn't yet.

    Args:
        encoder: Where it is loaded.
        trained: Hash of the one that the head was trained on; ``None``: any.
        owner: What needs it, for messages.
        offline: Download nothing.

    Raises:
        UserError: It can't be loaded, or is not the one of the training.
    """
    try:
        encoder.load(offline)
    except UserError as error:
        raise UserError(
            f"{owner} needs Whisper base ({error}); name its folder in {VARIABLE}"
        ) from None
    if trained is not None and encoder.weights != trained:
        raise UserError(
            f"{encoder.source}: is Whisper {encoder.weights}, {owner} was trained on"
            f" {trained}, which is {HUB_NAME}; name that in {VARIABLE}"
        )


def trim(wav: Tensor, lengths: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Utterances without the silence around them, padded on the right, and their lengths.

    So that silence costs nothing and says nothing; what is loud enough is as it was.

    Args:
        wav: Waveforms padded on the right, (B, N); what the padding holds doesn't matter.
        lengths: Valid samples of each, (B,).
        sample_rate: Rate in Hz.
    """
    hop, margin = sample_rate // 50, int(MARGIN_S * sample_rate)
    lengths = lengths.to(wav.device)
    place = torch.arange(wav.shape[1], device=wav.device)
    inside = torch.where(place < lengths[:, None], wav, 0.0)
    frames = nn.functional.pad(inside.detach(), (0, -wav.shape[1] % hop)).unflatten(1, (-1, hop))
    energy = frames.double().square().sum(2)
    loud = energy >= energy.amax(1, keepdim=True) * 10 ** (-RANGE_DB / 10)
    first = loud.int().argmax(1)
    last = loud.shape[1] - loud.flip(1).int().argmax(1)
    start = (first * hop - margin).clamp(min=0)
    size = (last * hop + margin).minimum(lengths) - start
    place = place[: int(size.max())]
    rows = inside.gather(1, (start[:, None] + place).clamp(max=wav.shape[1] - 1))
    return torch.where(place < size[:, None], rows, 0.0), size


def whisper_moments(encoder: WhisperEncoder, wav: Tensor, lengths: Tensor) -> Moments:
    """Moments of the speech in waveforms (B, N) of ``lengths`` (B,), less the silence around it."""
    return segment_moments(*encoder(*trim(wav, lengths, encoder.sample_rate)))


def segment_moments(states: Tensor, counts: Tensor, size: int = SEGMENT) -> Moments:
    """Mean and variance of each segment; the last one of an utterance may be shorter.

    Args:
        states: Frames, (B, L, T, D).
        counts: Valid frames of each utterance, (B,).
        size: Frames of a segment.
    """
    n_frames = states.shape[2]
    n_segments = -(-n_frames // size)
    padded = nn.functional.pad(states, (0, 0, 0, n_segments * size - n_frames))
    x = padded.unflatten(2, (n_segments, size)).transpose(1, 2)  # (B, S, L, F, D)
    valid = torch.arange(n_segments * size, device=states.device) < counts[:, None]
    valid = valid.unflatten(1, (n_segments, size))
    frames = valid.sum(2)
    keep = valid[:, :, None, :, None].to(x.dtype)
    n = frames.clamp(min=1)[:, :, None, None]
    mean = (x * keep).sum(3) / n
    variance = ((x - mean[:, :, :, None]) * keep).square().sum(3) / n
    return Moments(torch.stack([mean, variance], 3), frames.to(x.dtype))


def pool_moments(values: Tensor, weights: Tensor) -> Tensor:
    """Mean and standard deviation over time, (B, L, 2, D), of segments of given weights.

    With each segment's share of the frames as weights these are the mean and the deviation of all
    frames.

    Args:
        values: Mean and variance of each segment, (B, S, L, 2, D).
        weights: Weights that sum to 1, (B, S).
    """
    mean = torch.einsum("bs,bsld->bld", weights, values[:, :, :, 0])
    spread = values[:, :, :, 1] + (values[:, :, :, 0] - mean[:, None]).square()
    variance = torch.einsum("bs,bsld->bld", weights, spread)
    return torch.stack([mean, (variance + 1e-6).sqrt()], 2)


def statistics(moments: Moments) -> Tensor:
    """Mean and standard deviation over all frames of each utterance, (B, L, 2, D)."""
    shares = moments.frames / moments.frames.sum(1, keepdim=True)
    return pool_moments(moments.values, shares)


class WhisperMoments(nn.Module):
    """Moments of Whisper's layers for the feature store: training reads the audio once.

    A row of the stored value is a segment: means and variances of the layers in their order, then
    the number of frames.

    Args:
        encoder: Whisper with its weights.
        name: Name in the store.
    """

    def __init__(self, encoder: WhisperEncoder, name: str = NAME) -> None:
        super().__init__()
        self.name = name
        self.encoder = encoder
        self.settings: dict[str, Any] = {
            "sample_rate": encoder.sample_rate,
            "layers": list(encoder.layers or ()),
            "peak": encoder.peak,
            "segment": SEGMENT,
            "range_db": RANGE_DB,
            "weights": encoder.weights,
        }

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        sample_rate: int = 22_050,
        layers: Sequence[int] = LAYERS,
        name: str = NAME,
    ) -> "WhisperMoments":
        """With Whisper from a folder or a name on Hugging Face.

        Raises:
            UserError: There is no such model or layer.
        """
        return cls(WhisperEncoder.from_pretrained(source, layers, sample_rate=sample_rate), name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Rows (S, 2 L D + 1) of each of the waveforms (B, N) of ``lengths`` (B,)."""
        moments = whisper_moments(self.encoder, wav, lengths)
        rows = torch.cat([moments.values.flatten(2), moments.frames[..., None]], 2)
        return [own[own[:, -1] > 0] for own in rows]
