"""The aligner as a whole: waveforms and phones in, frames of each phone out."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.pretrained import load_checkpoint, load_network
from emovc.genner_tts.alignment import PhoneSounds, monotonic_durations
from emovc.genner_tts.inventory import PAD
from emovc.genner_tts.phone_table import PhoneTable
from emovc.genner_tts.phonemes import Alphabet, Pronunciation


class Aligner(nn.Module):
    """Finds which frames each phone of a known text has.

    Source: Badlani et al., "One TTS alignment to rule them all", ICASSP 2022, with densities.

    Args:
        frontend: Waveform to log-mel.
        n_phones: Rows of the phone embedding: most phones, and the padding.
        dim: Channels of the phone embedding.
        components: Gaussians of each phone.
        alphabet: What phones are written in.

    Attributes:
        pretrained: Whether the weights are more than random.
    """

    def __init__(
        self,
        frontend: LogMel,
        n_phones: int = 128,
        dim: int = 128,
        components: int = 4,
        alphabet: Alphabet = "ipa",
    ) -> None:
        super().__init__()
        self.pretrained = False
        self.frontend = frontend
        self.phones = PhoneTable(n_phones, alphabet)
        scale = 1.0 if frontend.log == "ln" else math.log(10)
        self.sounds = PhoneSounds(frontend.n_mels, n_phones, dim, components, scale)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "Aligner":
        """Load an exported folder, a run, or a checkpoint."""
        return load_network(Path(path), cls)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "Aligner":
        """Load a training checkpoint, without Lightning."""
        return load_checkpoint(Path(path), cls)

    def forward(self, mel: Tensor, mask: Tensor, phones: Tensor) -> Tensor:
        """Log-density of each frame as each phone, (B, T, L).

        Args:
            mel: Log-mels of the front end, (B, M, T).
            mask: 1 at valid frames, (B, T).
            phones: Numbers of phones, 0 at padding, (B, L).
        """
        return self.sounds(mel, mask, phones)

    @torch.no_grad()
    def durations(self, wav: Tensor, lengths: Tensor, phones: Tensor) -> Tensor:
        """Frames of each phone, (B, L), 0 at padding.

        Args:
            wav: Waveforms, (B, N).
            lengths: Valid samples of each, (B,).
            phones: Numbers of phones, 0 at padding, (B, L).

        Raises:
            UserError: An utterance has fewer frames than phones.
        """
        mel = self.frontend(wav)
        mask = self.frontend.mask(lengths, mel.shape[2])
        found = self(mel, mask, phones)
        return monotonic_durations(found, (phones > PAD).sum(1), mask.sum(1).long())

    def align(self, wav: Tensor, said: Pronunciation) -> Tensor:
        """Frames of each phone, (L,), of one waveform (N,).

        Raises:
            UserError: A phone is unknown, or there are fewer frames than phones.
        """
        phones = self.phones.inventory.numbers(said.phones)[None].to(wav.device)
        lengths = torch.tensor([len(wav)], device=wav.device)
        n_frames = int(self.frontend.frames(lengths))
        if n_frames < len(said.phones):
            raise UserError(
                f"{len(said.phones)} phones in {n_frames} frames: the recording is too short for"
                " its text; correct one of them"
            )
        return self.durations(wav[None], lengths, phones)[0]
