"""Who speaks: the d-vector of an utterance, and a learned table of known speakers.

Source: Wan, Wang, Papir and Moreno, "Generalized end-to-end loss for speaker verification", 2018;
front end, voice activity detection and public weights are Resemblyzer's.
"""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.audio import slaney_mel_filters
from emovc.common.errors import UserError
from emovc.common.files import write_json
from emovc.common.resample import Resample
from emovc.common.voice_activity import shorten_silences
from emovc.common.weights import (
    load_exactly,
    read_settings,
    read_weights,
    require_trained,
    save_weights,
)

RATE = 16_000  # Hz, of the network itself
N_FFT, HOP, N_MELS = 400, 160, 40
PARTIAL = 160  # frames that the network hears at once
NAME_BYTES = 64  # longest name in a SpeakerTable


class SpeakerEncoder(nn.Module):
    """Voice of an utterance as a unit vector: the mean over windows of 1.6 s of an LSTM's result.

    The windows of a batch go through the LSTM together; a padded batch gives what each utterance
    gives alone, and gradients reach the waveform. Scalar products of results are cosines. Made by
    the constructor the weights are random; :meth:`from_pretrained` loads real ones.

    Args:
        sample_rate: Rate of the waveforms in Hz; others than 16 kHz are resampled inside.
        hidden: Width of the LSTM.
        dim: Size D of the result.
        layers: Layers of the LSTM.
        windows_per_s: Windows that begin in each second; they overlap if it is above 0.625.
        min_coverage: Share of the last window that must be filled; else it is left out, unless it
            is the only one.
        raise_to_dbfs: Level in dB to which quieter utterances are raised; ``None`` for none.
        vad: Shorten silences first, as Resemblyzer's ``preprocess_wav`` does (needs webrtcvad).

    Attributes:
        pretrained: Whether the weights are more than random; set it after training from scratch.
    """

    def __init__(
        self,
        sample_rate: int = RATE,
        hidden: int = 256,
        dim: int = 256,
        layers: int = 3,
        windows_per_s: float = 1.3,
        min_coverage: float = 0.75,
        raise_to_dbfs: float | None = -30.0,
        vad: bool = False,
    ) -> None:
        super().__init__()
        self.step = round(RATE / windows_per_s / HOP)  # frames between windows
        if not 0 < self.step <= PARTIAL:
            raise UserError(f"SpeakerEncoder: windows_per_s {windows_per_s} is not in [0.625, 100]")
        self.settings = dict(
            hidden=hidden, dim=dim, layers=layers, windows_per_s=windows_per_s,
            min_coverage=min_coverage, raise_to_dbfs=raise_to_dbfs, vad=vad,
        )  # fmt: skip
        self.sample_rate = sample_rate
        self.min_coverage = min_coverage
        self.raise_to_dbfs = raise_to_dbfs
        self.vad = vad
        self.pretrained = False
        self.resample = Resample(sample_rate, RATE)
        self.lstm = nn.LSTM(N_MELS, hidden, layers, batch_first=True)
        self.linear = nn.Linear(hidden, dim)
        filters = torch.from_numpy(slaney_mel_filters(RATE, N_FFT, N_MELS, 0.0, RATE / 2))
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    @classmethod
    def from_pretrained(
        cls, source: str | Path | None = None, sample_rate: int = RATE, vad: bool = False
    ) -> "SpeakerEncoder":
        """Load weights; the result is in evaluation mode.

        Args:
            source: A file in Resemblyzer's format or a folder of :meth:`save_pretrained`;
                ``None``: the weights inside the installed resemblyzer.
            sample_rate: Rate of the waveforms that it will hear, in Hz.
            vad: Shorten silences first.

        Raises:
            UserError: There are no weights, or they don't fit.
        """
        path = _bundled_weights() if source is None else Path(source)
        settings: dict[str, Any] = {}
        if path.is_dir():
            settings, path = read_settings(path / "config.json", cls), path / "model.safetensors"
        state = read_weights(path)
        state = state.get("model_state", state)  # similarity_*: of the training loss
        state = {name: w for name, w in state.items() if not name.startswith("similarity_")}
        encoder = cls(**{**settings, "sample_rate": sample_rate, "vad": vad})
        load_exactly(encoder, state, path)
        encoder.pretrained = True
        return encoder.eval()

    def save_pretrained(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``, each atomically.

        Raises:
            UserError: The weights are random.
        """
        require_trained(self, folder)
        save_weights(self, folder / "model.safetensors")
        write_json(folder / "config.json", {"settings": self.settings})

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Unit vectors (B, D) of waveforms (B, N), padded on the right, of ``lengths`` (B,).

        All in float32 also under autocast: LSTMs lack bfloat16 kernels on many processors.
        """
        mel, owner = self._windows(*self._prepare(wav, lengths))
        # cuDNN gives gradients in training mode only; without dropout the results are the same.
        self.lstm.train(torch.is_grad_enabled())
        _, (hidden, _) = self.lstm(mel)
        parts = F.normalize(F.relu(self.linear(hidden[-1])), dim=1)
        total = parts.new_zeros(len(wav), parts.shape[1]).index_add(0, owner, parts)
        return F.normalize(total, dim=1)

    def _prepare(self, wav: Tensor, lengths: Tensor | None) -> tuple[Tensor, list[int]]:
        """Waveforms at 16 kHz and the common level, zero at padding, and their lengths."""
        if lengths is None:
            lengths = torch.full((len(wav),), wav.shape[1])
        lengths = lengths.to(wav.device)
        wav = self.resample(_zero_padding(wav, lengths).to(self.filters.dtype))
        lengths = self.resample.lengths(lengths)
        wav = _zero_padding(wav, lengths)
        if self.raise_to_dbfs is not None:
            power = wav.square().sum(dim=1, keepdim=True) / lengths[:, None]
            gain = 10 ** (self.raise_to_dbfs / 20) * power.clamp(min=1e-12).rsqrt()
            wav = wav * gain.clamp(min=1)
        counts = lengths.tolist()
        return shorten_silences(wav, counts) if self.vad else (wav, counts)

    def _windows(self, wav: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
        """Mel windows (P, 160, 40) of all utterances and the utterance of each, (P,)."""
        starts = [self._starts(count) for count in counts]
        end = max(part[-1] + PARTIAL for part in starts) * HOP
        wav = F.pad(wav, (0, max(0, end - wav.shape[1])))
        spec = torch.stft(
            wav, N_FFT, HOP, window=self.window, pad_mode="constant", return_complex=True
        )
        mel = (self.filters @ (spec.real.square() + spec.imag.square())).transpose(1, 2)
        pairs = [(i, start) for i, part in enumerate(starts) for start in part]
        owner, first = torch.tensor(pairs, device=wav.device).unbind(1)
        frames = first[:, None] + torch.arange(PARTIAL, device=wav.device)  # (P, 160)
        return mel[owner[:, None], frames], owner

    def _starts(self, count: int) -> range:
        """First frame of each window of an utterance of ``count`` samples."""
        n_frames = -(-(count + 1) // HOP)
        starts = range(0, max(1, n_frames - PARTIAL + self.step + 1), self.step)
        coverage = (count / HOP - starts[-1]) / PARTIAL
        return starts[:-1] if len(starts) > 1 and coverage < self.min_coverage else starts


def _zero_padding(wav: Tensor, lengths: Tensor) -> Tensor:
    """Zero what lies after the valid samples (B,) of (B, N), be it NaN."""
    return torch.where(torch.arange(wav.shape[1], device=wav.device) < lengths[:, None], wav, 0.0)


def _bundled_weights() -> Path:
    """The weights inside the installed resemblyzer; importing it would import librosa."""
    try:
        distribution = importlib.metadata.distribution("resemblyzer")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            "the speaker encoder's weights come with resemblyzer: install the extra "
            "emovc-common[speaker], or name a file of weights"
        ) from None
    return Path(str(distribution.locate_file("resemblyzer/pretrained.pt")))


class SpeakerTable(nn.Module):
    """A learned vector for each of a fixed list of speakers, whose names go with the weights.

    Args:
        n_speakers: Number of speakers.
        dim: Size D of the vectors.
    """

    def __init__(self, n_speakers: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_speakers, dim) * dim**-0.5)  # norms near 1
        self.name_bytes: Tensor
        self.register_buffer("name_bytes", torch.zeros(n_speakers, NAME_BYTES, dtype=torch.uint8))

    @property
    def names(self) -> list[str]:
        """Names of the speakers, empty strings before :meth:`set_names`."""
        rows = self.name_bytes.cpu().numpy()
        return [row.tobytes().rstrip(b"\0").decode() for row in rows]

    def set_names(self, names: Sequence[str]) -> None:
        """Name the speakers in the order of the table.

        Raises:
            UserError: Not one name for each, two are the same, or one is empty or too long.
        """
        if len(names) != len(self.weight) or len(set(names)) != len(names):
            raise UserError(
                f"{len(names)} names ({len(set(names))} different) for a table of "
                f"{len(self.weight)} speakers; give each its own"
            )
        rows = b""
        for name in names:
            data = name.encode()
            if not 0 < len(data) <= NAME_BYTES or 0 in data:
                raise UserError(f"speaker name {name!r}: must have 1 to {NAME_BYTES} bytes")
            rows += data.ljust(NAME_BYTES, b"\0")
        table = torch.frombuffer(bytearray(rows), dtype=torch.uint8)
        self.name_bytes.copy_(table.view_as(self.name_bytes))

    def index(self, name: str) -> int:
        """Row of a speaker.

        Raises:
            UserError: Nobody has this name; the known ones are listed.
        """
        names = self.names
        if name not in names:
            known = ", ".join(filter(None, names)) or "none, set_names was not called"
            raise UserError(f"speaker {name} is unknown to the model; it knows {known}")
        return names.index(name)

    def forward(self, index: Tensor) -> Tensor:
        """Vectors (B, D) of speakers (B,)."""
        return F.embedding(index, self.weight)
