"""Arousal, dominance and valence by audEERING's wav2vec 2.0 model of MSP-Podcast.

Source: Wagner, Triantafyllopoulos, Wierstorf, Schmitt, Burkhardt, Eyben and Schuller, "Dawn of the
transformer era in speech emotion recognition: closing the valence gap", IEEE Transactions on
Pattern Analysis and Machine Intelligence, 2023, arXiv 2203.07378.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.files import read_json, write_json
from emovc.common.resample import Resample
from emovc.common.ssl_frames import RATE, encoder_frames, standardised
from emovc.common.transformers_loading import CONFIG, find_folder, weights_file
from emovc.common.weights import load_exactly, read_weights, require_trained, save_weights

NAME = "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim"
DIMENSIONS = ("arousal", "dominance", "valence")  # in the order of the head
WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0",
               "weight_v": "parametrizations.weight.original1"}  # fmt: skip
INSTALL = "pip install 'emovc-ser[representations]'"

log = logging.getLogger(__name__)


class MspDimOutput(NamedTuple):
    """What :class:`MspDim` says about a batch; 0 is the least and 1 the most.

    Attributes:
        embedding: Mean of the last hidden states, (B, D), D = 1024 of the public model.
        arousal: From calm to active, (B,).
        dominance: From weak to strong, (B,).
        valence: From negative to positive, (B,).
    """

    embedding: Tensor
    arousal: Tensor
    dominance: Tensor
    valence: Tensor


class MspDim(nn.Module):
    """wav2vec 2.0, the mean over valid frames, and a head of two layers.

    A padded batch gives what each utterance gives alone; gradients reach the waveform. The names of
    the parameters are those of the public weights. Made by the constructor the weights are random
    and ``pretrained`` is False; :meth:`from_pretrained` loads real ones.

    Args:
        config: The ``config.json`` of a transformers Wav2Vec2 model.
        sample_rate: Rate of the waveforms in Hz; others than 16 kHz are resampled inside.

    Attributes:
        pretrained: Whether the weights are more than random; set it after training from scratch.

    Raises:
        UserError: transformers is not installed.
    """

    def __init__(self, config: Mapping[str, Any], sample_rate: int = RATE) -> None:
        super().__init__()
        try:
            from transformers import Wav2Vec2Config, Wav2Vec2Model
        except ImportError:
            raise UserError(f"MspDim needs transformers: {INSTALL}") from None
        parsed = Wav2Vec2Config(**config)
        self.config = parsed
        self.sample_rate = sample_rate
        self.pretrained = False
        self.resample = Resample(sample_rate, RATE)
        self.wav2vec2 = Wav2Vec2Model(parsed)
        self.classifier = nn.ModuleDict(
            {
                "dense": nn.Linear(parsed.hidden_size, parsed.hidden_size),
                "out_proj": nn.Linear(parsed.hidden_size, len(DIMENSIONS)),
            }
        )

    @classmethod
    def from_pretrained(
        cls, source: str | Path = NAME, sample_rate: int = RATE, offline: bool = False
    ) -> "MspDim":
        """Load weights; the result is in evaluation mode.

        Args:
            source: Folder with ``config.json`` and ``model.safetensors`` (or
                ``pytorch_model.bin``), or the model's name on Hugging Face, from where it is
                downloaded once (661 MB).
            sample_rate: Rate of the waveforms that it will hear, in Hz.
            offline: Download nothing.

        Raises:
            UserError: Nothing is there, or the files don't fit each other.
        """
        folder = find_folder(source, (), (), offline)
        config = read_json(folder / CONFIG)
        kind = config.get("model_type") if isinstance(config, dict) else None
        if kind != "wav2vec2":
            raise UserError(f"{folder / CONFIG}: of a {kind} model, not wav2vec2; get {NAME}")
        model = cls(config, sample_rate)
        path = weights_file(folder)
        weights = {_new_name(name): w for name, w in read_weights(path).items()}
        load_exactly(model, weights, path)
        model.pretrained = True
        log.warning("%s: the licence of this model is CC BY-NC-SA 4.0, for research only", NAME)
        return model.eval()

    def save_pretrained(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``.

        Raises:
            UserError: The weights are random.
        """
        require_trained(self, folder)
        save_weights(self, folder / "model.safetensors")
        write_json(folder / "config.json", self.config.to_dict())

    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> MspDimOutput:
        """Judge a batch.

        Args:
            wav: Waveforms padded on the right, (B, N); what the padding holds doesn't matter.
            lengths: Valid samples of each, (B,); ``None``: all.

        Raises:
            UserError: An utterance is shorter than a frame (25 ms).
        """
        if lengths is None:
            lengths = torch.full((len(wav),), wav.shape[1], device=wav.device)
        wav, valid = self._prepare(wav, lengths.to(wav.device))
        states = self.wav2vec2(wav, attention_mask=valid).last_hidden_state  # (B, T, D)
        frames = encoder_frames(self.config, valid.sum(1))
        mask = torch.arange(states.shape[1], device=wav.device) < frames[:, None]
        embedding = torch.where(mask[..., None], states, 0.0).sum(1) / frames[:, None]
        hidden = torch.tanh(self.classifier["dense"](embedding))
        return MspDimOutput(embedding, *self.classifier["out_proj"](hidden).unbind(1))

    def _prepare(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms of mean 0 and variance 1 at 16 kHz, zero at padding, and what is valid."""
        wav = self.resample(torch.where(_mask(lengths, wav.shape[1]), wav, 0.0))
        lengths = self.resample.lengths(lengths)
        if int(encoder_frames(self.config, lengths).min()) < 1:
            raise UserError("an utterance is shorter than the 25 ms of a frame; leave it out")
        valid = _mask(lengths, wav.shape[1])
        return standardised(wav, valid), valid.long()


def _mask(lengths: Tensor, size: int) -> Tensor:
    """True at the first ``lengths`` (B,) of ``size`` places, (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _new_name(name: str) -> str:
    """Name of a weight in today's PyTorch, whose weight normalisation calls its parts otherwise."""
    head, _, last = name.rpartition(".")
    return f"{head}.{WEIGHT_NORM[last]}" if last in WEIGHT_NORM else name
