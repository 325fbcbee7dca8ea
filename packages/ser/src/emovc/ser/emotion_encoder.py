"""The emotion encoder trained in this project: category and embedding of an utterance."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.pretrained import load_folder
from emovc.common.resample import Resample
from emovc.ser.emotion_network import EmotionNetwork, statistics
from emovc.ser.speech_images import SpeechImages

SHIPPED = Path(__file__).parent / "weights"
VARIANTS = ("all", "without_nemo", "without_emodb", "without_ravdess")
SHORTEST_S = 0.1


class Emotion(NamedTuple):
    """What the encoder says of utterances.

    Attributes:
        log_posterior: Log-probability of each emotion, (B, E).
        embedding: (B, D).
    """

    log_posterior: Tensor
    embedding: Tensor


class EmotionEncoder(nn.Module):
    """Emotion of an utterance, from its log-mel and its pitch.

    A padded batch gives what each utterance gives alone, gradients reach the waveform, and the
    level of a recording doesn't matter. Made by the constructor the weights are random and
    ``pretrained`` is False; :meth:`from_pretrained` loads real ones.

    Args:
        frontend: The log-mel; by default HiFi-GAN's.
        sample_rate: Rate of the waveforms in Hz; others than the front end's are resampled inside.
        hidden: Units before the embedding.
        dim: Size D of the embedding.
        dropout: Dropout in training.
        emotions: The emotions E it tells apart.
        trained_on: Corpora that the weights saw; filled in by training.

    Attributes:
        pretrained: Whether the weights are more than random.
    """

    def __init__(
        self,
        frontend: LogMel | None = None,
        sample_rate: int = 22_050,
        hidden: int = 256,
        dim: int = 128,
        dropout: float = 0.15,
        emotions: tuple[str, ...] = EMOTIONS,
        trained_on: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.emotions = tuple(emotions)
        self.trained_on = list(trained_on)
        self.dim = dim
        self.pretrained = False
        frontend = frontend or LogMel()
        self.resample = Resample(sample_rate, frontend.sample_rate)
        self.images = SpeechImages(frontend)
        n_statistics = 3 * 2 * frontend.n_mels
        self.network = EmotionNetwork(n_statistics, len(emotions), hidden, dim, dropout)

    @property
    def frontend(self) -> LogMel:
        """The log-mel it looks at."""
        return self.images.frontend

    @classmethod
    def from_pretrained(
        cls, source: str | Path | None = None, sample_rate: int = 22_050
    ) -> "EmotionEncoder":
        """Load weights; the result is in evaluation mode.

        Args:
            source: One of the shipped weights (``all``, which saw the training parts of nEMO,
                EMO-DB and RAVDESS, or ``without_<corpus>``), or a folder of
                ``emovc export``; ``None``: ``all``.
            sample_rate: Rate of the waveforms that it will hear, in Hz.

        Raises:
            UserError: There are no such weights, or they don't fit.
        """
        folder = SHIPPED / f"emotion_{source or 'all'}"
        if not folder.is_dir():
            folder = Path(str(source))
        if not folder.is_dir():
            raise UserError(
                f"{source}: no weights of the emotion encoder; give one of {', '.join(VARIANTS)},"
                " or a folder of emovc export"
            )
        return load_folder(folder, cls, {"sample_rate": sample_rate})

    def forward(self, wav: Tensor, lengths: Tensor) -> Emotion:
        """Emotion of waveforms (B, N), padded on the right, of ``lengths`` (B,).

        Raises:
            UserError: An utterance is shorter than 0.1 s.
        """
        embedding, scores = self.network(self.statistics(wav, lengths))
        return Emotion(scores.float().log_softmax(-1), embedding.float())

    def statistics(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """What the network looks at, (B, 480), of waveforms (B, N) of ``lengths`` (B,).

        Raises:
            UserError: An utterance is shorter than 0.1 s.
        """
        if int(lengths.min()) < SHORTEST_S * self.sample_rate:
            raise UserError(f"the emotion encoder needs {SHORTEST_S} s of audio or more")
        keep = torch.arange(wav.shape[1], device=wav.device) < lengths[:, None]
        wav = self.resample(torch.where(keep, wav, 0.0))
        return statistics(*self.images(wav, self.resample.lengths(lengths)))
