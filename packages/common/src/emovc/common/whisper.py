"""Whisper's encoder as a source of features of speech.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", ICML 2023.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.resample import Resample
from emovc.common.transformers_loading import CONFIG, find_folder, weights_file
from emovc.common.weights import load_exactly, read_weights, state_hash
from emovc.common.whisper_layers import RATE, WhisperBlocks, WhisperLogMel, length_mask

SIZES = {  # our name: that of config.json
    "n_mels": "num_mel_bins",
    "dim": "d_model",
    "heads": "encoder_attention_heads",
    "hidden": "encoder_ffn_dim",
    "n_positions": "max_source_positions",
    "n_blocks": "encoder_layers",
}
PREFIXES = ("model.encoder.", "encoder.")  # in files with and without the head that writes words
SHORTEST = 400  # samples at 16 kHz: one frame of the spectrum
OVERLAP = 15  # share of a window that it has in common with the next: 2 of 30 s


class WhisperStates(NamedTuple):
    """What :class:`WhisperEncoder` makes of a batch.

    Attributes:
        states: Outputs of the layers in the order asked for, frame t centred on 20 t ms, zero
            beyond the valid frames, (B, L, T, D).
        counts: Valid frames of each utterance, (B,).
    """

    states: Tensor
    counts: Tensor


class WhisperEncoder(nn.Module):
    """Hidden layers of Whisper's encoder, computed on each utterance's own length.

    Whisper itself fills every recording up to 30 s with silence, which costs as much as speech.
    Here an utterance has the first positions of the table and nothing after its end. What stands
    beside it in a batch, how far it is padded, and its gain change nothing. Longer utterances than
    the table (30 s) are encoded in windows of its length, evenly placed with at least 2 s in
    common, where the states are faded from one window's to the next's.

    The network is frozen; gradients reach the waveform. It is no part of the module tree, so
    it is neither trained nor moved nor saved with the model that owns it: the state dict is empty.
    It follows the waveforms to their device. Always in float32.

    Args:
        source: Folder with ``config.json`` and the weights, or name on Hugging Face.
        layers: Layers to give: k is the output of block k counted from 0; the number of blocks (6
            for base) is the output of the last block after the final layer norm. ``None``: all.
        sample_rate: Rate of the waveforms in Hz; others than 16 kHz are resampled inside.
        peak: Largest magnitude that each utterance is brought to first, since Whisper judges a
            quiet recording otherwise than a loud one. ``None``: it is taken as it is.
    """

    def __init__(
        self,
        source: str | Path = "openai/whisper-base",
        layers: Sequence[int] | None = None,
        sample_rate: int = RATE,
        peak: float | None = 0.5,
    ) -> None:
        super().__init__()
        if peak is not None and peak <= 0:
            raise UserError(f"WhisperEncoder: peak is {peak}; give a number above 0, or none")
        self.source = str(source)
        self.layers = None if layers is None else tuple(layers)
        self.sample_rate = sample_rate
        self.peak = peak
        self.dim = self.n_layers = 0
        self.weights = ""
        self.resample = Resample(sample_rate, RATE)
        self._loaded: tuple[WhisperLogMel, WhisperBlocks] | None = None  # a tuple isn't registered

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "openai/whisper-base",
        layers: Sequence[int] | None = None,
        offline: bool = False,
        sample_rate: int = RATE,
        peak: float | None = 0.5,
    ) -> "WhisperEncoder":
        """Build and load; the arguments are those of the class and of :meth:`load`.

        Raises:
            UserError: See :meth:`load`.
        """
        encoder = cls(source, layers, sample_rate, peak)
        encoder.load(offline)
        return encoder

    @property
    def pretrained(self) -> bool:
        """Whether the weights are loaded; there are no random ones."""
        return self._loaded is not None

    @property
    def teachers(self) -> set[str]:
        """Hash of all of the encoder's weights once they are loaded, see ``Panel``."""
        return {self.weights} if self.weights else set()

    def load(self, offline: bool = False) -> None:
        """Load the weights, if they aren't yet; then these attributes are known.

        ``dim`` is the size D of the states, ``n_layers`` the number of layers that there are,
        ``layers`` those that are given, and ``weights`` a hash of all of the encoder's weights,
        whichever layers are kept.

        Args:
            offline: Download nothing.

        Raises:
            UserError: There is no such model, it is of another kind, damaged or incomplete, or has
                no such layer.
        """
        if self._loaded is not None:
            return
        folder = find_folder(self.source, (), (), offline)
        sizes = _sizes(folder / CONFIG)
        n_blocks = sizes["n_blocks"]
        layers = tuple(range(n_blocks + 1)) if self.layers is None else self.layers
        for layer in layers or (-1,):
            if not 0 <= layer <= n_blocks:
                named = f"no layer {layer}" if layers else "layers, but none are asked for"
                raise UserError(f"{self.source}: has {named}; give layers of 0 to {n_blocks}")
        path = weights_file(folder)
        found = _encoder_weights(read_weights(path), path)
        with torch.device("meta"):  # no time for random weights that are replaced
            blocks = WhisperBlocks(**sizes, layers=layers)
        blocks.to_empty(device="cpu").requires_grad_(False)
        own = {name: value for name, value in found.items() if not _dropped(name, blocks, n_blocks)}
        load_exactly(blocks, own, path)
        self.layers = layers
        self.dim, self.n_layers, self.weights = sizes["dim"], n_blocks + 1, state_hash(found)
        self._loaded = WhisperLogMel(sizes["n_mels"]), blocks.eval()

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, wav: Tensor, lengths: Tensor) -> WhisperStates:
        """Encode a batch.

        Args:
            wav: Waveforms padded on the right, (B, N); what the padding holds doesn't matter.
            lengths: Valid samples of each, (B,).

        Raises:
            UserError: The weights aren't loaded, or an utterance is shorter than 25 ms.
        """
        if self._loaded is None:
            raise UserError(f"WhisperEncoder: {self.source} is not loaded; call load() first")
        log_mel, blocks = self._loaded
        log_mel, blocks = log_mel.to(wav.device), blocks.to(wav.device)
        lengths = lengths.to(wav.device)
        wav = torch.where(length_mask(lengths, wav.shape[1]), wav, 0.0).float()
        wav, lengths = self.resample.to(wav.device)(wav), self.resample.lengths(lengths)
        if int(lengths.min()) < SHORTEST:
            raise UserError(
                f"utterance {int(lengths.argmin())} of the batch is shorter than the"
                f" {SHORTEST / RATE} s of a frame of Whisper; leave it out"
            )
        wav = torch.where(length_mask(lengths, wav.shape[1]), wav, 0.0)
        if self.peak is not None:
            loudest = wav.abs().amax(dim=1, keepdim=True)
            wav = wav * (self.peak / torch.where(loudest > 0, loudest, 1.0))
        mel = log_mel(wav, lengths)
        sizes = log_mel.frames(lengths)
        counts = (sizes + 1).div(2, rounding_mode="floor")
        return WhisperStates(_encode(blocks, mel, sizes.tolist()), counts)


class _Window(NamedTuple):
    """Part of an utterance that is encoded at once.

    Attributes:
        row: Place of the utterance in the batch.
        start: First frame of the encoder.
        stop: Frame after the last.
        size: Frames of its mel.
        weight: Share that each of its states has in the result, (t,); ``None``: all of it.
    """

    row: int
    start: int
    stop: int
    size: int
    weight: Tensor | None


def _encode(blocks: WhisperBlocks, mel: Tensor, sizes: list[int]) -> Tensor:
    """States (B, L, T, D) of mels (B, M, K), of which so many frames are valid.

    On a CPU only windows of equal length go through the network together: there padding costs
    what speech costs, and a batch gains nothing. Elsewhere neighbours in length are padded.
    """
    windows = sorted(_windows(sizes, blocks.n_positions), key=lambda window: window.size)
    n_frames, dim = (max(sizes) + 1) // 2, blocks.embed_positions.embedding_dim
    states = mel.new_zeros(len(mel), len(blocks.wanted), n_frames, dim)
    while windows:
        group = windows[: len(mel)]
        if mel.device.type == "cpu":
            group = [window for window in group if window.size == group[0].size]
        del windows[: len(group)]
        longest = group[-1].size
        part = mel.new_zeros(len(group), mel.shape[1], longest)
        for i, (row, start, _, size, _) in enumerate(group):
            part[i, :, :size] = mel[row, :, 2 * start : 2 * start + size]
        ragged = group[0].size < longest
        counts = torch.tensor([w.size for w in group], device=mel.device) if ragged else None
        for out, (row, start, stop, _, weight) in zip(blocks(part, counts), group, strict=True):
            values = out[:, : stop - start]
            if weight is None:
                states[row, :, start:stop] = values
            else:
                states[row, :, start:stop] += values * weight.to(mel.device)[:, None]
    return states


def _windows(sizes: list[int], longest: int) -> list[_Window]:
    """The windows of utterances with mels of so many frames; the longest has so many states."""
    windows = []
    for row, size in enumerate(sizes):
        frames = (size + 1) // 2
        if frames <= longest:
            windows.append(_Window(row, 0, frames, size, None))
            continue
        overlap = max(longest // OVERLAP, 2)
        n = -(-(frames - overlap) // (longest - overlap))
        starts = [round(i * (frames - longest) / (n - 1)) for i in range(n)]
        # From 0 at an inner edge, where the convolutions lack what is beyond it, to 1.
        rise = (torch.arange(longest) / overlap).clamp(max=1)
        weights = [rise * rise.flip(0) for _ in starts]
        weights[0], weights[-1] = rise.flip(0), rise
        total = torch.zeros(frames)
        for start, weight in zip(starts, weights, strict=True):
            total[start : start + longest] += weight
        for start, weight in zip(starts, weights, strict=True):
            stop, share = start + longest, weight / total[start : start + longest]
            windows.append(_Window(row, start, stop, min(2 * longest, size - 2 * start), share))
    return windows


def _sizes(path: Path) -> dict[str, Any]:
    """Sizes of the encoder out of ``config.json``.

    Raises:
        UserError: The model is no Whisper, or the file is incomplete.
    """
    config = read_json(path)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "whisper":
        raise UserError(f"{path.parent}: is a {kind} model; this takes whisper")
    for key in SIZES.values():
        if not isinstance(config.get(key), int) or config[key] < 1:
            raise UserError(
                f"{path}: {key} is {config.get(key)}, a whole number is needed; copy or download"
                " the file again"
            )
    sizes = {name: config[key] for name, key in SIZES.items()}
    if sizes["dim"] % sizes["heads"]:
        raise UserError(
            f"{path}: d_model {sizes['dim']} is not divisible by encoder_attention_heads"
            f" {sizes['heads']}; copy or download the file again"
        )
    return sizes


def _encoder_weights(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The encoder's weights out of a whole model's, in float32.

    Raises:
        UserError: There are none.
    """
    for prefix in PREFIXES:
        named = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if named:
            return {name: value.float() for name, value in named.items()}
    raise UserError(f"{path}: holds no encoder of Whisper; copy or download the model again")


def _dropped(name: str, blocks: WhisperBlocks, n_blocks: int) -> bool:
    """Whether a weight belongs to what no layer that is asked for needs."""
    parts = name.split(".")
    if parts[0] == "layers" and parts[1].isdigit():
        return len(blocks.layers) <= int(parts[1]) < n_blocks
    return parts[0] == "layer_norm" and blocks.layer_norm is None
