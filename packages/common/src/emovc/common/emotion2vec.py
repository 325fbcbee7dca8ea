"""emotion2vec: speech emotion representations of frames and utterances.

Source: Ma, Zheng, Ye, Li, Gao, Zhang and Chen, "emotion2vec: self-supervised pre-training for
speech emotion representation", Findings of ACL 2024, arXiv 2312.15185.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from emovc.common.emotion2vec_layers import HOP, RECEPTIVE, AudioEncoder, Block
from emovc.common.emotion2vec_loading import UNUSED, find_folder, read_folder, write_folder
from emovc.common.errors import UserError
from emovc.common.precision import single
from emovc.common.resample import Resample
from emovc.common.weights import load_exactly, require_trained

RATE = 16_000  # Hz, of the network itself


class Emotion2vecOutput(NamedTuple):
    """What :class:`Emotion2vec` says about a batch.

    Attributes:
        frames: Representation of each frame, 50 per second, zero at padding, (B, T, D).
        utterance: Mean of the valid frames, (B, D).
        mask: 1 at valid frames and 0 at padding, (B, T).
        layers: Output of the feed-forward layer of each of the last blocks (what the paper's
            teacher averages), (B, T, D) each; empty unless asked for.
    """

    frames: Tensor
    utterance: Tensor
    mask: Tensor
    layers: tuple[Tensor, ...]


class Emotion2vec(nn.Module):
    """The network of emotion2vec without the parts that only its pre-training needs.

    A padded batch gives what each utterance gives alone; gradients reach the waveform. On a CPU
    utterances of unlike length are encoded one after the other, on a GPU together. The names of
    the parameters are those of the official weights. Made by the constructor its weights are random
    and ``pretrained`` is False; :meth:`from_pretrained` loads real ones. The defaults are the base
    model's. Layer drop of the official training is left out.

    Args:
        sample_rate: Rate of the waveforms in Hz; others than 16 kHz are resampled inside.
        dim: Width D.
        heads: Number of attention heads.
        depth: Number of blocks after the prenet.
        prenet_depth: Number of blocks of the prenet.
        mlp_ratio: Hidden width of the feed-forward layers as a multiple of ``dim``.
        extra_tokens: Learned tokens before the frames.
        conv_channels: Width of the convolutions on the waveform.
        pos_width: Sum of the kernels of the positional convolutions in frames.
        pos_depth: Number of positional convolutions.
        pos_groups: Groups of each.
        n_classes: Emotions that the head tells apart; 0 for no head.
        dropout: Dropout of the transformer in training.
        window_s: Longer utterances are encoded in windows of equal length, at most this in s.

    Attributes:
        pretrained: Whether the weights are more than random; set it after training from scratch.
        labels: Name of each class of the head; those that start with "unuse" never win.
    """

    def __init__(
        self,
        sample_rate: int = RATE,
        dim: int = 768,
        heads: int = 12,
        depth: int = 8,
        prenet_depth: int = 4,
        mlp_ratio: float = 4.0,
        extra_tokens: int = 10,
        conv_channels: int = 512,
        pos_width: int = 95,
        pos_depth: int = 5,
        pos_groups: int = 16,
        n_classes: int = 0,
        dropout: float = 0.1,
        window_s: float = 30.0,
    ) -> None:
        super().__init__()
        if dim % heads or dim % pos_groups:
            raise UserError(
                f"dim {dim} must be divisible by heads {heads} and pos_groups {pos_groups}"
            )
        self.settings = dict(
            dim=dim, heads=heads, depth=depth, prenet_depth=prenet_depth, mlp_ratio=mlp_ratio,
            extra_tokens=extra_tokens, conv_channels=conv_channels, pos_width=pos_width,
            pos_depth=pos_depth, pos_groups=pos_groups, n_classes=n_classes, dropout=dropout,
            window_s=window_s,
        )  # fmt: skip
        self.sample_rate = sample_rate
        self.pretrained = False
        self.labels: tuple[str, ...] = ()
        self.resample = Resample(sample_rate, RATE)
        audio = AudioEncoder(
            dim, heads, prenet_depth, mlp_ratio, extra_tokens, conv_channels,
            pos_width, pos_depth, pos_groups, dropout,
        )  # fmt: skip
        self.modality_encoders = nn.ModuleDict({"AUDIO": audio})
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio, dropout) for _ in range(depth))
        self.proj = nn.Linear(dim, n_classes) if n_classes else None

    @classmethod
    def from_pretrained(
        cls, source: str | Path, sample_rate: int = RATE, offline: bool = False
    ) -> "Emotion2vec":
        """Load weights and their architecture; the result is in evaluation mode.

        Args:
            source: Folder written by FunASR (``config.yaml``, ``model.pt``, perhaps ``tokens.txt``)
                or by :meth:`save_pretrained`, or a model's name on Hugging Face
                (``emotion2vec/...``) or ModelScope (``iic/...``).
            sample_rate: Rate of the waveforms that it will hear, in Hz.
            offline: Download nothing; the environment's ``EMOVC_OFFLINE=1`` and
                ``HF_HUB_OFFLINE=1`` say the same.

        Raises:
            UserError: Nothing is there, or the files don't fit each other or this class.
        """
        stored = read_folder(find_folder(source, offline), cls)
        model = cls(sample_rate=sample_rate, **stored.settings)
        load_exactly(model, stored.weights, stored.path)
        model.labels = stored.labels
        model.pretrained = True
        return model.eval()

    def save_pretrained(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``.

        Raises:
            UserError: The weights are random.
        """
        require_trained(self, folder)
        write_folder(folder, self, self.settings, self.labels)

    def forward(
        self, wav: Tensor, lengths: Tensor | None = None, layers: bool = False
    ) -> Emotion2vecOutput:
        """Encode a batch.

        Args:
            wav: Waveforms padded on the right, (B, N); what the padding holds doesn't matter.
            lengths: Valid samples of each, (B,); ``None``: all.
            layers: Give the results of the layers as well.

        Raises:
            UserError: An utterance is shorter than a frame (25 ms).
        """
        with torch.autocast(wav.device.type, enabled=False):
            wav, counts = self._prepare(wav, lengths)
        longest = (round(float(self.settings["window_s"]) * RATE) - RECEPTIVE) // HOP + 1
        if max(counts) <= longest:
            frames, *results = self._encode(wav, counts, layers)
        else:
            frames, *results = self._encode_windows(wav, counts, layers, longest)
        mask = _mask(torch.tensor(counts, device=wav.device), frames.shape[1]).to(frames.dtype)
        utterance = frames.sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return Emotion2vecOutput(frames, utterance, mask, tuple(results))

    def logits(self, utterance: Tensor) -> Tensor:
        """Scores of the emotions before the softmax, (..., C), of utterance vectors (..., D).

        The head is linear in the mean of the frames: it also judges mixed or quantised vectors.

        Raises:
            UserError: There is no head.
        """
        if self.proj is None:
            raise UserError("this emotion2vec has no head: load one of the emotion2vec_plus models")
        logits = self.proj(utterance)
        unused = [label.startswith(UNUSED) for label in self.labels]
        if not any(unused):
            return logits
        return logits.masked_fill(torch.tensor(unused, device=logits.device), -torch.inf)

    def _prepare(self, wav: Tensor, lengths: Tensor | None) -> tuple[Tensor, list[int]]:
        """Waveforms at 16 kHz, of mean 0 and variance 1 over their own samples; frames of each."""
        if lengths is None:
            lengths = torch.full((len(wav),), wav.shape[1])
        lengths = lengths.to(wav.device)
        valid = _mask(lengths, wav.shape[1])
        wav = torch.where(valid, wav, 0.0)  # the padding may hold anything, NaN too
        wav = self.resample(single(wav))
        lengths = self.resample.lengths(lengths)
        counts = [(n - RECEPTIVE) // HOP + 1 for n in lengths.tolist()]
        if min(counts) < 1:
            raise UserError(
                f"utterance {counts.index(min(counts))} of the batch is shorter than the "
                f"{RECEPTIVE / RATE} s of one frame of emotion2vec; leave it out"
            )
        wav = wav[:, : int(lengths.max())]
        valid = _mask(lengths, wav.shape[1])
        n = lengths[:, None]
        centred = torch.where(valid, wav - torch.where(valid, wav, 0.0).sum(1, True) / n, 0.0)
        wav = centred * (centred.square().sum(1, True) / n + 1e-5).rsqrt()
        return wav.to(self.blocks[0].get_parameter("norm1.weight").dtype), counts

    def _encode(self, wav: Tensor, counts: list[int], layers: bool) -> list[Tensor]:
        """Output of the last block and, if asked for, the layers' results, (B, T, D) each.

        On a CPU only utterances of equal length go through the network together: there padding
        costs what speech costs, and a batch gains nothing.
        """
        if wav.device.type != "cpu" or len(set(counts)) == 1:
            return self._encode_padded(wav, counts, layers)
        states: list[Tensor] = []
        for count in sorted(set(counts), reverse=True):
            rows = [i for i, other in enumerate(counts) if other == count]
            part = wav[rows, : (count - 1) * HOP + RECEPTIVE]
            results = self._encode_padded(part, [count] * len(rows), layers)
            if not states:  # the longest come first
                states = [value.new_zeros(len(wav), count, value.shape[2]) for value in results]
            for state, value in zip(states, results, strict=True):
                state[rows, :count] = value
        return states

    def _encode_padded(self, wav: Tensor, counts: list[int], layers: bool) -> list[Tensor]:
        """The same for all utterances at once."""
        mask = _mask(torch.tensor(counts, device=wav.device), max(counts)).to(wav.dtype)
        x, bias = self.modality_encoders["AUDIO"](wav, mask)
        results = []
        for block in self.blocks:
            x, fed = block(x, bias)
            if layers:
                results.append(fed)
        extra = x.shape[1] - mask.shape[1]
        return [state[:, extra:] * mask[..., None] for state in (x, *results)]

    def _encode_windows(
        self, wav: Tensor, counts: list[int], layers: bool, longest: int
    ) -> list[Tensor]:
        """The same in windows of equal length for each utterance, each at most ``longest`` frames.

        The windows share no frame, so their mean weighted by length is the mean of all frames.
        """
        windows = [-(-count // longest) for count in counts]
        pieces: list[list[Tensor]] = [[] for _ in counts]
        for turn in range(max(windows)):
            rows = [i for i, n in enumerate(windows) if turn < n]
            starts = [counts[i] * turn // windows[i] for i in rows]
            stops = [counts[i] * (turn + 1) // windows[i] for i in rows]
            parts = [
                wav[i, start * HOP : (stop - 1) * HOP + RECEPTIVE]
                for i, start, stop in zip(rows, starts, stops, strict=True)
            ]
            sizes = [stop - start for start, stop in zip(starts, stops, strict=True)]
            states = torch.stack(self._encode(pad_sequence(parts, True), sizes, layers), dim=2)
            for i, row, size in zip(rows, states, sizes, strict=True):
                pieces[i].append(row[:size])  # (t, 1 + layers, D)
        joined = pad_sequence([torch.cat(parts) for parts in pieces], batch_first=True)
        return list(joined.unbind(dim=2))


def _mask(lengths: Tensor, size: int) -> Tensor:
    """True at the first ``lengths`` (B,) of ``size`` places, (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
