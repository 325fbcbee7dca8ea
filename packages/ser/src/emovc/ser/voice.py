"""The voice encoder trained in this project: who speaks, from frozen layers of Whisper.

No model is conditioned on it, and it shares nothing with the d-vectors that they are conditioned
on. Source of the pooled statistics: Snyder et al., "X-vectors: robust DNN embeddings for speaker
recognition", ICASSP 2018. How heads are made: :mod:`emovc.ser.voice_training`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.pretrained import load_folder
from emovc.common.whisper import WhisperEncoder
from emovc.ser.emotion_encoder import SHIPPED
from emovc.ser.whisper_emotion import whisper_source
from emovc.ser.whisper_moments import load_whisper, statistics, whisper_moments

VARIANTS = ("all", "without_nemo")
SHORTEST_S = 0.1


class VoiceHead(nn.Module):
    """Statistics of Whisper's layers to the unit vector of a voice.

    Args:
        n_layers: Layers L of Whisper, mixed by learned weights that sum to 1.
        n_features: Their width D.
        hidden: Units between statistics and vector; 0: a linear map.
        dim: Size V of the vector.
        dropout: Share of the values dropped before each layer in training.
    """

    def __init__(
        self,
        n_layers: int = 1,
        n_features: int = 512,
        hidden: int = 0,
        dim: int = 192,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(n_layers, 2, n_features))
        self.register_buffer("deviation", torch.ones(n_layers, 2, n_features))
        self.layer_scores = nn.Parameter(torch.zeros(n_layers))
        self.first: nn.Linear | None = nn.Linear(2 * n_features, hidden) if hidden else None
        self.embed = nn.Linear(hidden or 2 * n_features, dim)
        self.dropout = nn.Dropout(dropout)

    def fit_scale(self, statistics: Tensor) -> None:
        """Take mean and deviation of training statistics (N, L, 2, D)."""
        self.mean.copy_(statistics.mean(0))
        self.deviation.copy_(statistics.std(0) + 1e-4)

    def mix(self, statistics: Tensor) -> Tensor:
        """The layers' weighted sum (B, 2 D) at zero mean and unit deviation, of (B, L, 2, D)."""
        scaled = ((statistics - self.mean) / self.deviation).flatten(2)
        return (scaled * self.layer_scores.softmax(0)[:, None]).sum(1)

    def forward(self, statistics: Tensor) -> Tensor:
        """Unit vectors (B, V) of means and deviations over time (B, L, 2, D)."""
        x = self.dropout(self.mix(statistics))
        if self.first is not None:
            x = self.dropout(F.relu(self.first(x)))
        return F.normalize(self.embed(x), dim=1)


class VoiceEncoder(nn.Module):
    """Voice of an utterance as a unit vector; scalar products of results are cosines.

    Means and deviations of Whisper's layers over time go through a small trained head. A padded
    batch gives what each utterance gives alone, gradients reach the waveform, and neither the level
    of a recording nor silence around it matters. Whisper is no part of the weights: it is loaded
    by name or folder, and its hash must be that of the training. Made by the constructor the head
    is random and ``pretrained`` is False; :meth:`from_pretrained` loads a real one.

    Args:
        layers: Layers of Whisper; k is the output of block k, counted from 0.
        hidden: Units of the head between statistics and vector; 0: a linear map.
        dim: Size V of the vector.
        dropout: Dropout in training.
        trained_on: Corpora that the head learned from; filled in by training.
        whisper: Folder or name on Hugging Face of Whisper; ``None``: the one in ``EMOVC_WHISPER``,
            in ``weights/whisper_base``, or ``openai/whisper-base``.
        whisper_weights: Hash of the encoder that the head was trained on; filled in by training.
        whisper_dim: Width of Whisper's layers.
        sample_rate: Rate of the waveforms in Hz; others than 16 kHz are resampled inside.

    Attributes:
        pretrained: Whether the weights are more than random.
    """

    def __init__(
        self,
        layers: Sequence[int] = (0,),
        hidden: int = 0,
        dim: int = 192,
        dropout: float = 0.0,
        trained_on: Sequence[str] = (),
        whisper: str | None = None,
        whisper_weights: str | None = None,
        whisper_dim: int = 512,
        sample_rate: int = 16_000,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.trained_on = list(trained_on)
        self.whisper_weights = whisper_weights
        self.pretrained = False
        self.encoder = WhisperEncoder(whisper_source(whisper), tuple(layers), sample_rate)
        self.head = VoiceHead(len(layers), whisper_dim, hidden, dim, dropout)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "all",
        sample_rate: int = 16_000,
        whisper: str | Path | None = None,
        offline: bool = False,
    ) -> "VoiceEncoder":
        """Load weights and Whisper; the result is in evaluation mode.

        Args:
            source: Shipped weights (``all``, of speakers of nEMO, EMO-DB and RAVDESS, or
                ``without_nemo``), or a folder of ``emovc train-voice``.
            sample_rate: Rate of the waveforms that it will be given, in Hz.
            whisper: Folder or name on Hugging Face of Whisper; ``None``: the one in
                ``EMOVC_WHISPER``, in ``weights/whisper_base``, or ``openai/whisper-base``.
            offline: Download nothing.

        Raises:
            UserError: There are no such weights, or no such Whisper, or it is another one.
        """
        folder = SHIPPED / f"voice_{source}"
        if not folder.is_dir():
            folder = Path(source)
        if not folder.is_dir():
            raise UserError(
                f"{source}: no weights of the voice encoder; give one of {', '.join(VARIANTS)}, or"
                " a folder of emovc train-voice"
            )
        place = None if whisper is None else str(whisper)
        network = load_folder(folder, cls, {"sample_rate": sample_rate, "whisper": place})
        network.load(offline)
        return network

    def load(self, offline: bool = False) -> None:
        """Load Whisper, if it isn't yet.

        Args:
            offline: Download nothing.

        Raises:
            UserError: It can't be loaded, or is not the one of the training.
        """
        load_whisper(self.encoder, self.whisper_weights, "the voice encoder", offline)

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Unit vectors (B, V) of waveforms (B, N), padded on the right, of ``lengths`` (B,).

        Raises:
            UserError: An utterance is shorter than 0.1 s, or Whisper isn't loaded.
        """
        if int(lengths.min()) < SHORTEST_S * self.sample_rate:
            raise UserError(f"the voice encoder needs {SHORTEST_S} s of audio or more")
        return self.head(statistics(whisper_moments(self.encoder, wav, lengths)))
