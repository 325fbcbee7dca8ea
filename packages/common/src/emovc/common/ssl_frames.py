"""Frames of pretrained speech networks on the clock of a mel.

Source: Hsu et al., "HuBERT", IEEE/ACM TASLP 29, 2021; Chen et al., "WavLM", IEEE JSTSP 16(6), 2022;
Baevski, Zhou, Mohamed and Auli, "wav2vec 2.0", NeurIPS 2020; Radford et al., "Whisper", ICML 2023.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emovc.common.checked_values import read_object
from emovc.common.errors import UserError
from emovc.common.resample import Resample
from emovc.common.transformers_loading import (
    CONFIG,
    PREPROCESSOR,
    Pretrained,
    find_folder,
    load_transformer,
)
from emovc.common.weights import weights_hash
from emovc.common.whisper import WhisperEncoder
from emovc.common.whisper_layers import HOP as WHISPER_HOP

ENCODERS = {"wavlm": "WavLMModel", "hubert": "HubertModel", "wav2vec2": "Wav2Vec2Model"}
RATE = 16_000  # Hz, of all of them


class SslFrames(nn.Module):
    """Hidden layers of HuBERT, WavLM, wav2vec 2.0 or Whisper for each frame of a mel; frozen.

    A padded batch gives what each utterance gives alone. The network is no part of the module
    tree, so it is neither trained nor moved nor saved with the model that owns it, and
    :meth:`load` is called again after loading a checkpoint. It follows the waveforms to their
    device. With one layer the state dict is empty. With a list of layers it holds the only weights
    that are trained: the frames are the layers' mean, weighted by a softmax over ``mixture``, which
    begins with equal weights.

    Args:
        source: Name on Hugging Face, or folder with ``config.json``, the weights and, but for
            Whisper, ``preprocessor_config.json``.
        layer: Hidden layer, or those of a learned mixture. Of HuBERT and its kin 0 is the
            transformer's input and k the output of block k counted from 1. Of Whisper k is the
            output of block k counted from 0, and the number of blocks the normalized output.
        dim: Size D of the frames, which must be that of the model.
        sample_rate: Rate of the waveforms in Hz; others than 16 kHz are resampled inside.
        hop_length: Samples between frames of the mel.
        differentiable: Let gradients through the frozen network to the waveform.
    """

    def __init__(
        self,
        source: str | Path = "facebook/hubert-base-ls960",
        layer: int | list[int] = 9,
        dim: int = 768,
        sample_rate: int = 22_050,
        hop_length: int = 256,
        differentiable: bool = False,
    ) -> None:
        super().__init__()
        self.source = str(source)
        self.layer = layer
        self.layers = (layer,) if isinstance(layer, int) else tuple(layer)
        if not self.layers:
            raise UserError("SslFrames: layer is empty; give a layer, or a list of some")
        self.dim = dim
        self.sample_rate = sample_rate
        self.hop_length = hop_length
        self.differentiable = differentiable
        self.resample = Resample(sample_rate, RATE)
        mixes = not isinstance(layer, int)
        self.mixture = nn.Parameter(torch.zeros(len(self.layers))) if mixes else None
        self._loaded: tuple[Pretrained | WhisperEncoder] | None = None  # a tuple isn't registered

    @property
    def pretrained(self) -> bool:
        """Whether the weights are loaded; there are no random ones."""
        return self._loaded is not None

    @property
    def weights(self) -> str:
        """Hash of the network's weights.

        Raises:
            UserError: They aren't loaded.
        """
        loaded = self._require_loaded()
        if isinstance(loaded, WhisperEncoder):
            return loaded.weights
        return weights_hash(loaded.network)

    def load(self, offline: bool = False) -> None:
        """Load the weights, if they aren't yet.

        Args:
            offline: Download nothing.

        Raises:
            UserError: There is no such model, it lacks weights, or layer or size don't fit.
        """
        if self._loaded is not None:
            return
        folder = find_folder(self.source, (), (PREPROCESSOR,), offline)
        kind = read_object(folder / CONFIG).get("model_type")
        if kind not in (*ENCODERS, "whisper"):
            known = ", ".join(ENCODERS)
            raise UserError(f"{self.source}: is a {kind} model; this takes {known}, whisper")
        if kind == "whisper":
            whisper = WhisperEncoder.from_pretrained(self.source, self.layers, offline)
            self._require_size(whisper.dim)
            self._loaded = (whisper,)
            return
        found = load_transformer(self.source, ENCODERS, offline)
        config = found.config
        self._require_size(config.hidden_size)
        for layer in self.layers:
            if not 0 <= layer <= config.num_hidden_layers:
                raise UserError(
                    f"SslFrames: {self.source} has no layer {layer};"
                    f" give 0 to {config.num_hidden_layers}"
                )
        normalises(found)
        # The layer after the last chosen stays: some models normalise what comes out of the last.
        encoder: Any = found.network.encoder
        encoder.layers = encoder.layers[: max(self.layers) + 1]
        found.network.requires_grad_(False)
        self._loaded = (found,)

    @property
    def teachers(self) -> set[str]:
        """Hash of the network once it is loaded, which stands in no state; see ``Panel``."""
        return {self.weights} if self.pretrained else set()

    def _require_loaded(self) -> Pretrained | WhisperEncoder:
        """The network, or a refusal."""
        if self._loaded is None:
            raise UserError(f"SslFrames: {self.source} is not loaded; call load() first")
        return self._loaded[0]

    def _require_size(self, size: int) -> None:
        """Refuse a model with frames of another size than the owner was built for."""
        if size != self.dim:
            raise UserError(
                f"SslFrames: dim is {self.dim}, but {self.source} has {size}; set dim to {size}"
            )

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, wav: Tensor, lengths: Tensor, n_frames: int) -> Tensor:
        """Frames (B, D, T) of waveforms, zero beyond the valid ones; in float32.

        Frame t of the mel is centred at sample (t + 1/2) * hop_length and valid if all its hop is,
        as in :class:`~emovc.common.audio.LogMel` by default.

        Args:
            wav: Waveforms padded on the right, (B, N); what the padding holds doesn't matter.
            lengths: Valid samples of each, (B,).
            n_frames: Frames T of the mel.

        Raises:
            UserError: The weights aren't loaded, or an utterance is shorter than 25 ms.
        """
        lengths = lengths.to(wav.device)
        steps = torch.arange(n_frames, device=wav.device)
        with torch.set_grad_enabled(self.differentiable and torch.is_grad_enabled()):
            frames = self._layers(wav, lengths, steps)
        if self.mixture is None:
            mixed = frames[:, 0]
        else:
            mixed = torch.einsum("l,bltd->btd", self.mixture.float().softmax(0), frames)
        valid = steps < lengths[:, None].div(self.hop_length, rounding_mode="floor")
        return torch.where(valid[..., None], mixed, 0.0).transpose(1, 2)

    def _layers(self, wav: Tensor, lengths: Tensor, steps: Tensor) -> Tensor:
        """The layers (B, L, T, D) at the centres of the mel's frames ``steps`` (T,)."""
        loaded = self._require_loaded()
        resampled = self.resample(torch.where(_mask(lengths, wav.shape[1]), wav, 0.0).float())
        resampled_lengths = self.resample.lengths(lengths)
        centres = (steps.double() + 0.5) * self.hop_length * RATE / self.sample_rate
        if isinstance(loaded, WhisperEncoder):
            states, counts = loaded(resampled, resampled_lengths)
            return interpolated(states, counts, centres / WHISPER_HOP)
        config = loaded.config
        counts = encoder_frames(config, resampled_lengths)
        if int(counts.min()) < 1:
            raise UserError("an utterance is shorter than the 25 ms of a frame; leave it out")
        states = self._states(loaded, resampled, resampled_lengths)
        places = (centres - receptive_field(config) / 2) / math.prod(config.conv_stride)
        return interpolated(states, counts, places)

    def _states(self, loaded: Pretrained, wav: Tensor, lengths: Tensor) -> Tensor:
        """The layers at the network's own frames, (B, L, K, D), of waveforms at its rate.

        Group norm averages over time, padding included, and its models know no mask: utterances of
        one length go through them together.
        """
        network = loaded.network.to(wav.device)
        valid = _mask(lengths, wav.shape[1])
        wav = standardised(wav, valid) if normalises(loaded) else torch.where(valid, wav, 0.0)
        if loaded.config.feat_extract_norm == "layer":
            out = network(wav, attention_mask=valid.long(), output_hidden_states=True)
            return torch.stack([out.hidden_states[layer] for layer in self.layers], dim=1)
        longest = int(encoder_frames(loaded.config, lengths).max())
        states = wav.new_zeros(len(wav), len(self.layers), longest, self.dim)
        for length in lengths.unique().tolist():
            rows = lengths == length
            out = network(wav[rows, :length], output_hidden_states=True).hidden_states
            chosen = torch.stack([out[layer] for layer in self.layers], dim=1)
            states[rows, :, : chosen.shape[2]] = chosen
        return states


def interpolated(states: Tensor, counts: Tensor, places: Tensor) -> Tensor:
    """Values between frames on the straight line; before the first and after the last, these.

    Args:
        states: Frames, (B, ..., K, D).
        counts: Valid frames of each, (B,).
        places: Where values are wanted, in frames, (T,).

    Returns:
        Values, (B, ..., T, D).
    """
    last = counts[:, None] - 1
    places = places.clamp(min=0)[None].minimum(last)  # (B, T)
    before = places.floor().long()
    share = (places - before).to(states.dtype)

    def along_time(rows: Tensor) -> Tensor:
        """One value per place (B, T) for all layers and sizes, (B, 1, ..., T, 1)."""
        return rows.view(len(rows), *[1] * (states.dim() - 3), -1, 1)

    def at(place: Tensor) -> Tensor:
        return states.take_along_dim(along_time(place), dim=-2)

    return torch.lerp(at(before), at((before + 1).minimum(last)), along_time(share))


def receptive_field(config: Any, frames: int = 1) -> int:
    """Samples that the convolutions of wav2vec 2.0's kin need for so many frames."""
    samples = frames
    for kernel, stride in zip(config.conv_kernel[::-1], config.conv_stride[::-1], strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def encoder_frames(config: Any, lengths: Tensor) -> Tensor:
    """Frames of waveforms of ``lengths`` samples at the network's rate, (B,)."""
    hop = math.prod(config.conv_stride)
    return (lengths - receptive_field(config)).div(hop, rounding_mode="floor") + 1


def normalises(pretrained: Pretrained) -> bool:
    """Whether the network was trained on standardised waveforms.

    Raises:
        UserError: The model doesn't say; a wrong guess would pass for a weak model.
    """
    if "do_normalize" not in pretrained.preprocessor:
        raise UserError(
            f"{pretrained.source}: lacks do_normalize in {PREPROCESSOR}; add that file of the model"
        )
    return bool(pretrained.preprocessor["do_normalize"])


def standardised(wav: Tensor, valid: Tensor | None = None) -> Tensor:
    """Waveforms (B, N) of mean 0 and variance 1 where they are ``valid`` (B, N), else 0."""
    if valid is None:
        valid = torch.ones_like(wav, dtype=torch.bool)
    n = valid.sum(1, keepdim=True)
    mean = torch.where(valid, wav, 0.0).sum(1, keepdim=True) / n
    centred = torch.where(valid, wav - mean, 0.0)
    return centred * (centred.square().sum(1, keepdim=True) / n + 1e-7).rsqrt()


def _mask(lengths: Tensor, size: int) -> Tensor:
    """True at the first ``lengths`` (B,) of ``size`` places, (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
