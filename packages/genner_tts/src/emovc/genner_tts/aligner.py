"""The aligner as a whole: waveforms and phones in, frames of each phone out."""

from pathlib import Path

import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.pretrained import load_checkpoint, load_network
from emovc.genner_tts.alignment import AlignmentNetwork, diagonal_prior, monotonic_durations
from emovc.genner_tts.inventory import PAD
from emovc.genner_tts.phone_table import PhoneTable
from emovc.genner_tts.phonemes import Alphabet, Pronunciation


class Aligner(nn.Module):
    """Finds which frames each phone of a known text has.

    Source: Badlani et al., "One TTS alignment to rule them all", ICASSP 2022.

    Args:
        frontend: Waveform to log-mel.
        n_phones: Rows of the phone embedding: most phones, and the padding.
        dim: Channels of the phone embedding.
        distance_dim: Channels in which phones and frames are compared.
        alphabet: What phones are written in.

    Attributes:
        pretrained: Whether the weights are more than random.
    """

    def __init__(
        self,
        frontend: LogMel,
        n_phones: int = 128,
        dim: int = 256,
        distance_dim: int = 80,
        alphabet: Alphabet = "ipa",
    ) -> None:
        super().__init__()
        self.pretrained = False
        self.frontend = frontend
        self.phones = PhoneTable(n_phones, alphabet)
        self.embedding = nn.Embedding(n_phones, dim, padding_idx=PAD)
        self.network = AlignmentNetwork(frontend.n_mels, dim, distance_dim)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "Aligner":
        """Load an exported folder, a run, or a checkpoint."""
        return load_network(Path(path), cls)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "Aligner":
        """Load a training checkpoint, without Lightning."""
        return load_checkpoint(Path(path), cls)

    def forward(self, mel: Tensor, mask: Tensor, phones: Tensor) -> Tensor:
        """Log-probability of each phone at each frame, (B, T, L).

        Args:
            mel: Log-mels of the front end, (B, M, T).
            mask: 1 at valid frames, (B, T).
            phones: Numbers of phones, 0 at padding, (B, L).
        """
        prior = diagonal_prior((phones > PAD).sum(1), mask.sum(1).long())
        return self.network(mel, mask, self.embedding(phones), phones > PAD, prior)

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
