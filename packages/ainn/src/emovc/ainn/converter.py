"""AINN as a whole: waveforms in, log-mels out."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emovc.ainn.encoders import Emotion, Encoders
from emovc.ainn.model import Generator
from emovc.ainn.strength import at_strength
from emovc.common.audio import LogMel, frame_levels_db
from emovc.common.batch import Batch
from emovc.common.conversion import EmotionTarget, Needs, Speech, require_audible
from emovc.common.errors import UserError
from emovc.common.pretrained import load_checkpoint, load_folder
from emovc.common.speaker import SpeakerEncoder, SpeakerTable
from emovc.common.ssl_frames import SslFrames


class Inputs(NamedTuple):
    """A batch as the networks read it.

    Attributes:
        mel: Scaled log-mel, (B, M, T).
        content: What the content encoder reads, (B, C, T): the mel, or self-supervised features.
        mask: 1 at valid frames, (B, T).
        speaker: Speaker vectors (B, S), if the generator takes them.
    """

    mel: Tensor
    content: Tensor
    mask: Tensor
    speaker: Tensor | None


class AINN(nn.Module):
    """Conversion towards the emotion, in category and strength, of one reference utterance.

    The result is as long as the source.

    Args:
        encoders: What takes speech apart.
        generator: Generator G, which puts it together.
        frontend: Waveform to log-mel.
        speaker: d-vectors, which serve unseen speakers too, or a table of the training speakers;
            ``None`` for no speaker input.
        ssl: Self-supervised features, which the content encoder reads in place of the mel.
        mel_mean: What scaling subtracts from log-mels.
        mel_sd: What it divides by.
        silence_db: In conversion, frames of a reference that lie so many dB below its loudest are
            left out of the cue; ``None`` leaves all to the cue, as in training. What an ablation
            puts in the cue's place isn't touched.

    Raises:
        UserError: The parts don't fit each other.
    """

    def __init__(
        self,
        encoders: Encoders,
        generator: Generator,
        frontend: LogMel,
        speaker: SpeakerEncoder | SpeakerTable | None = None,
        ssl: SslFrames | None = None,
        mel_mean: float = -5.0,
        mel_sd: float = 2.0,
        silence_db: float | None = 40.0,
    ) -> None:
        super().__init__()
        codes, emotions = encoders.content.code_dim, encoders.emotion.dim
        if (generator.code_dim, generator.emotion_dim) != (codes, emotions):
            raise UserError(
                f"AINN: generator.code_dim {generator.code_dim} and emotion_dim"
                f" {generator.emotion_dim} must be {codes} and {emotions} (2 * gru_dim)"
            )
        if bool(generator.speaker_dim) != (speaker is not None):
            raise UserError(
                "AINN: give a speaker encoder or table and generator.speaker_dim, or speaker: null"
                " and speaker_dim: 0"
            )
        read = ssl.dim if ssl is not None else frontend.n_mels
        if encoders.content.in_dim != read:
            raise UserError(
                f"AINN: encoders.content.in_dim {encoders.content.in_dim} must be {read}"
            )
        self.encoders = encoders
        self.generator = generator
        self.frontend = frontend
        self.speaker = speaker
        self.ssl = ssl
        self.mel_mean = mel_mean
        self.mel_sd = mel_sd
        self.silence_db = silence_db

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "AINN":
        """Load what ``emovc export`` wrote."""
        return load_folder(Path(folder), cls)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "AINN":
        """Load a training checkpoint, without Lightning."""
        return load_checkpoint(Path(path), cls)

    @property
    def needs(self) -> Needs:
        """One reference."""
        return Needs(references=1)

    def load_encoders(self) -> None:
        """Load the weights that training doesn't learn: of speaker encoder and SSL features."""
        if self.ssl is not None:
            self.ssl.load()
        if isinstance(self.speaker, SpeakerEncoder) and not self.speaker.pretrained:
            self.speaker = SpeakerEncoder.from_pretrained(sample_rate=self.frontend.sample_rate)
            self.speaker.requires_grad_(False)

    def scale(self, log_mel: Tensor) -> Tensor:
        """Scaled log-mel, near zero mean and unit variance."""
        return (log_mel - self.mel_mean) / self.mel_sd

    def unscale(self, mel: Tensor) -> Tensor:
        """Log-mel of a scaled one."""
        return mel * self.mel_sd + self.mel_mean

    def inputs(self, batch: Batch) -> Inputs:
        """The networks' inputs of a batch, which carries ``dvector`` if d-vectors are used."""
        mel = self.scale(self.frontend(batch.wav))
        mask = self.frontend.mask(batch.lengths, mel.shape[2])
        speaker = None
        if isinstance(self.speaker, SpeakerTable):
            speaker = self.speaker(batch.speaker)
        elif self.speaker is not None:
            speaker = batch.features["dvector"]
        mel = mel * mask[:, None]
        return Inputs(mel, self._read(mel, batch.wav, batch.lengths), mask, speaker)

    @torch.no_grad()
    def convert(self, source: Speech, target: EmotionTarget, seed: int = 0) -> Tensor:
        """Convert one utterance of any length; see ``Converter``. Nothing is drawn.

        Several references count by their mean. A strength of 0 is neutral, 1 as strong as the
        references.

        Raises:
            UserError: A reference is missing or silent, or its category is not the model's.
        """
        self.needs.check(target)
        vector = self.emotion_vector(target)
        return self._generate(self.content_of(source), vector, self._voice(source))

    def content_of(self, speech: Speech) -> Tensor:
        """Content code of an utterance, (d_c, T)."""
        wav = speech.wav[None]
        mel = self.scale(self.frontend(wav))
        lengths = torch.tensor([wav.shape[1]], device=wav.device)
        read = self._read(mel, wav, lengths)
        return self.encoders.content(read, mel.new_ones(1, mel.shape[2]))[0]

    def emotion_of(self, reference: Speech, category: str | None = None) -> Emotion:
        """Emotion of one utterance, with the cue of a category or of the likeliest one.

        Raises:
            UserError: It is silent, or the category is not the model's.
        """
        require_audible(reference)
        log_mel = self.frontend(reference.wav[None])
        wanted = None
        if category is not None:
            wanted = torch.tensor([self.encoders.index(category)], device=log_mel.device)
        audible = self._audible(log_mel)
        return self.encoders.hear(self.scale(log_mel), torch.ones_like(audible), wanted, audible)

    def emotion_vector(self, target: EmotionTarget) -> Tensor:
        """Emotion vector (D,) that a target asks for."""
        heard = [self.emotion_of(r, target.category).vector[0] for r in target.references]
        vector = torch.stack(heard).mean(0)
        if target.strength is None:
            return vector
        neutral = self.encoders.mean_vector("neutral")
        return at_strength(self.encoders.strength, neutral, vector, target.strength)

    @property
    def code_hop(self) -> int:
        """Samples per frame."""
        return self.frontend.hop_length

    @torch.no_grad()
    def encode(self, speech: Speech) -> dict[str, Tensor]:
        """``content`` per frame, ``emotion``, and ``timbre`` if it is used; see ``CodeModel``."""
        codes = {"content": self.content_of(speech).T, "emotion": self.emotion_of(speech).vector[0]}
        voice = self._voice(speech)
        return codes if voice is None else codes | {"timbre": voice}

    @torch.no_grad()
    def decode_codes(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Log-mel (M, T) of codes, which may be of several utterances; see ``CodeModel``."""
        return self._generate(codes["content"].T, codes["emotion"], codes.get("timbre"))

    def _audible(self, log_mel: Tensor) -> Tensor:
        """1 at frames that are no silence, (1, T), of a log-mel (1, M, T)."""
        level_db = frame_levels_db(log_mel, self.frontend.log)
        if self.silence_db is None or self.encoders.selection != "cue":
            return torch.ones_like(level_db)
        return (level_db >= level_db.amax(1, keepdim=True) - self.silence_db).to(log_mel)

    def _read(self, mel: Tensor, wav: Tensor, lengths: Tensor) -> Tensor:
        """What the content encoder reads, (B, C, T), of mels (B, M, T) and their waveforms."""
        if self.ssl is None:
            return mel
        self.ssl.load()
        return self.ssl(wav, lengths, mel.shape[2])

    def _generate(self, content: Tensor, vector: Tensor, voice: Tensor | None) -> Tensor:
        """Log-mel (M, T) of content (d_c, T), emotion (D,) and speaker (S,)."""
        mask = content.new_ones(1, content.shape[1])
        speaker = None if voice is None else voice[None]
        return self.unscale(self.generator(content[None], vector[None], speaker, mask)[1])[0]

    def _voice(self, source: Speech) -> Tensor | None:
        """Speaker vector (S,) of the source."""
        if isinstance(self.speaker, SpeakerTable):
            if source.speaker is None:
                raise UserError("this model knows speakers by name only; give --speaker NAME")
            row = torch.tensor([self.speaker.index(source.speaker)], device=source.wav.device)
            return self.speaker(row)[0]
        return None if self.speaker is None else self.speaker(source.wav[None], None)[0]
