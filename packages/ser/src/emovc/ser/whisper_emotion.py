"""The emotion encoder on frozen layers of Whisper: category and embedding of an utterance."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.pretrained import load_folder
from emovc.common.transformers_loading import CONFIG
from emovc.common.whisper import WhisperEncoder
from emovc.common.whisper_folder import FOLDER, HUB_NAME, VARIABLE
from emovc.ser.emotion_encoder import SHIPPED, SHORTEST_S, VARIANTS, Emotion
from emovc.ser.whisper_head import SpeakerStatistics, WhisperHead
from emovc.ser.whisper_moments import load_whisper, statistics, whisper_moments

PURPOSES = ("judge", "condition")


class WhisperEmotion(nn.Module):
    """Emotion of an utterance, from layers of Whisper that stay as they are.

    A padded batch gives what each utterance gives alone, gradients reach the waveform, and the
    level of a recording doesn't matter. Whisper is no part of the weights: it is loaded by name or
    folder, and its hash must be that of the training. Made by the constructor the head is random
    and ``pretrained`` is False; :meth:`from_pretrained` loads a real one.

    Args:
        layers: Layers of Whisper; k is the output of block k, counted from 0.
        dim: Size D of the embedding.
        emotions: The emotions E it tells apart.
        trained_on: Corpora that the head saw; filled in by training.
        whisper: Folder or name on Hugging Face of Whisper; ``None``: the environment variable
            ``EMOVC_WHISPER``, or ``openai/whisper-base``.
        whisper_weights: Hash of the encoder that the head was trained on; filled in by training.
        whisper_dim: Width of Whisper's layers.
        sample_rate: Rate of the waveforms in Hz; others than 16 kHz are resampled inside.

    Attributes:
        pretrained: Whether the weights are more than random.
    """

    def __init__(
        self,
        layers: Sequence[int] = (1, 2),
        dim: int = 128,
        emotions: Sequence[str] = EMOTIONS,
        trained_on: Sequence[str] = (),
        whisper: str | None = None,
        whisper_weights: str | None = None,
        whisper_dim: int = 512,
        sample_rate: int = 22_050,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.emotions = tuple(emotions)
        self.trained_on = list(trained_on)
        self.dim = dim
        self.layers = tuple(layers)
        self.whisper_weights = whisper_weights
        self.pretrained = False
        self.encoder = WhisperEncoder(whisper_source(whisper), self.layers, sample_rate)
        n_layers, n_emotions = len(self.layers), len(self.emotions)
        self.head = WhisperHead(n_layers, whisper_dim, n_emotions, dim)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "judge_all",
        sample_rate: int = 22_050,
        whisper: str | Path | None = None,
        offline: bool = False,
    ) -> "WhisperEmotion":
        """Load weights and Whisper; the result is in evaluation mode.

        Args:
            source: One of the shipped weights, ``judge_all``, ``judge_without_<corpus>``,
                ``condition_all`` or ``condition_without_<corpus>``, or a folder of
                ``emovc train-emotion``.
            sample_rate: Rate of the waveforms that it will be given, in Hz.
            whisper: Folder or name on Hugging Face of Whisper; ``None``: ``EMOVC_WHISPER``, or
                ``openai/whisper-base``.
            offline: Download nothing.

        Raises:
            UserError: There are no such weights, or no such Whisper, or it is another one.
        """
        folder = SHIPPED / f"whisper_{source}"
        if not folder.is_dir():
            folder = Path(source)
        if not folder.is_dir():
            known = ", ".join(f"{p}_{v}" for p in PURPOSES for v in VARIANTS)
            raise UserError(
                f"{source}: no weights of the emotion encoder on Whisper; give one of {known}, or a"
                " folder of emovc train-emotion"
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
        load_whisper(self.encoder, self.whisper_weights, "the emotion encoder", offline)

    def forward(
        self, wav: Tensor, lengths: Tensor, speaker: SpeakerStatistics | None = None
    ) -> Emotion:
        """Emotion of waveforms (B, N), padded on the right, of ``lengths`` (B,).

        Args:
            wav: Waveforms.
            lengths: Valid samples of each.
            speaker: Statistics of who speaks, by :meth:`fit_speaker`, which makes the decision
                more certain; ``None``: nothing is known of them.

        Raises:
            UserError: An utterance is shorter than 0.1 s, or Whisper isn't loaded.
        """
        embedding, log_posterior = self.head(self.statistics(wav, lengths), speaker)
        return Emotion(log_posterior, embedding)

    def statistics(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Mean and deviation over time of the layers, (B, L, 2, D), of waveforms (B, N).

        Args:
            wav: Waveforms.
            lengths: Valid samples of each.

        Raises:
            UserError: An utterance is shorter than 0.1 s, or Whisper isn't loaded.
        """
        if int(lengths.min()) < SHORTEST_S * self.sample_rate:
            raise UserError(f"the emotion encoder needs {SHORTEST_S} s of audio or more")
        return statistics(whisper_moments(self.encoder, wav, lengths))

    @torch.no_grad()
    def fit_speaker(self, wavs: Sequence[Tensor]) -> SpeakerStatistics:
        """Statistics of one speaker, from recordings without labels.

        They are as good as the recordings are many and of mixed emotions: of neutral ones only,
        everything else looks more emotional than it is.

        Args:
            wavs: Waveforms (N,), three or more, better 20.

        Raises:
            UserError: There are too few.
        """
        found = []
        for wav in wavs:
            found.append(self.statistics(wav[None], torch.tensor([len(wav)]))[0])
        values = torch.stack(found) if found else self.head.mean.new_zeros(0)
        return self.head.describe_speaker(values)


def whisper_source(named: str | None = None) -> str:
    """Folder or name of Whisper: as named, by ``EMOVC_WHISPER``, in its folder, or on the hub."""
    own = str(FOLDER) if (FOLDER / CONFIG).is_file() else HUB_NAME
    return named or os.environ.get(VARIABLE) or own
