"""SpeechFlow as a whole: waveforms in, log-mels out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.batch import Batch
from emovc.common.conversion import EmotionTarget, Needs, Speech
from emovc.common.errors import UserError
from emovc.common.f0 import Dio, F0Tracker, log_f0_statistics
from emovc.common.feature_set import F0_STATISTICS
from emovc.common.pretrained import load_checkpoint, load_folder
from emovc.common.speaker import SpeakerEncoder, SpeakerTable
from emovc.speechflow.codes import decode_codes, encode_speech
from emovc.speechflow.model import Codes, F0Converter, SpeechFlowNet
from emovc.speechflow.pitch import f0_input, f0_one_hot, normalise_f0

LN_10 = 2.302585092994046
Factor = Literal["rhythm", "pitch", "timbre"]


class Inputs(NamedTuple):
    """A batch as the networks read it; T is a multiple of the down-sampling factor.

    Attributes:
        mel: Scaled mel, (B, M, T).
        f0: Normalised F0, -1 where unvoiced, (B, T).
        speaker: Speaker vector, (B, D).
        mask: 1 at valid frames, (B, T).
        frames: Valid frames, (B,).
    """

    mel: Tensor
    f0: Tensor
    speaker: Tensor
    mask: Tensor
    frames: Tensor


class SpeechFlow(nn.Module):
    """Conversion of any subset of rhythm, pitch and timbre towards a reference.

    The reference must say the same words when rhythm or pitch are converted: the decoder has no
    attention, and it is the rhythm code that tells when the next sound comes.

    Args:
        net: The autoencoder.
        frontend: Waveform to log-mel.
        f0: F0 tracker for conversion; by default that of the feature store trained on. Runs from
            before checkpoints named it, and models made by hand, have DIO.
        speaker: d-vectors, which serve unseen speakers too, or a table of the training speakers.
        f0_converter: The F0 converter P, which puts the reference's contour on the source's rhythm;
            without it a network with an F0 head does so.
        factors: What conversion takes from the reference.
    """

    def __init__(
        self,
        net: SpeechFlowNet,
        frontend: LogMel,
        f0: F0Tracker | None = None,
        speaker: SpeakerEncoder | SpeakerTable | None = None,
        f0_converter: F0Converter | None = None,
        factors: tuple[Factor, ...] = ("rhythm", "pitch"),
    ) -> None:
        super().__init__()
        self.net = net
        self.frontend = frontend
        rate, hop, centre = frontend.sample_rate, frontend.hop_length, frontend.frame_centre
        self.f0 = f0 if f0 is not None else Dio(rate, hop, centre)
        self.speaker = speaker if speaker is not None else SpeakerEncoder(sample_rate=rate)
        self.f0_converter = f0_converter
        self.factors = tuple(factors)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "SpeechFlow":
        """Load what ``emovc export`` wrote."""
        return load_folder(Path(folder), cls)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "SpeechFlow":
        """Load a training checkpoint, without Lightning."""
        return load_checkpoint(Path(path), cls)

    @property
    def needs(self) -> Needs:
        """One reference of the same words, unless only timbre is taken from it."""
        return Needs(
            references=int(bool(self.factors)),
            parallel="rhythm" in self.factors or "pitch" in self.factors,
        )

    def scale(self, log_mel: Tensor) -> Tensor:
        """Scale natural-log mels to [0, 1]: S = (log10 M + 4.2) / 5, clipped, as the original."""
        decades = log_mel / LN_10 if self.frontend.log == "ln" else log_mel
        return ((decades + 4.2) / 5).clamp(0, 1)

    def unscale(self, scaled: Tensor) -> Tensor:
        """Log-mel of a scaled mel."""
        decades = scaled.clamp(0, 1) * 5 - 4.2
        return decades * LN_10 if self.frontend.log == "ln" else decades

    def load_encoders(self) -> None:
        """Load the weights that training doesn't learn: those of the speaker encoder."""
        if isinstance(self.speaker, SpeakerEncoder) and not self.speaker.pretrained:
            self.speaker = SpeakerEncoder.from_pretrained(sample_rate=self.frontend.sample_rate)
            self.speaker.requires_grad_(False)

    def inputs(self, batch: Batch) -> Inputs:
        """Compute the networks' inputs of a batch.

        Args:
            batch: A batch with the features ``f0`` and, without a speaker table, ``dvector``.
        """
        mel = self.scale(self.frontend(batch.wav))
        frames = self.frontend.frames(batch.lengths)
        f0 = normalise_f0(batch.features["f0"], batch.features[F0_STATISTICS])
        n = -(-mel.shape[2] // self.net.factor) * self.net.factor
        mask = self.frontend.mask(batch.lengths, n)
        speaker = (
            self.speaker(batch.speaker)
            if isinstance(self.speaker, SpeakerTable)
            else batch.features["dvector"]
        )
        mel = _fit(mel, n, 0.0) * mask[:, None]
        f0 = torch.where(mask > 0, _fit(f0, n, -1.0), -1.0)
        return Inputs(mel, f0, speaker, mask, frames)

    def reconstruct(self, inputs: Inputs) -> tuple[Codes, Tensor]:
        """Codes of whole utterances, and the scaled mel (B, M, T) decoded from them."""
        f0 = f0_input(inputs.f0, self.net.n_f0_bins)
        codes = self.net.encode(inputs.mel, f0, inputs.mel, inputs.mask)
        return codes, self.net.decode(codes, inputs.speaker, inputs.mask)

    @torch.no_grad()
    def convert(self, source: Speech, target: EmotionTarget, seed: int = 0) -> Tensor:
        """Convert one utterance of any length; see ``Converter``. Nothing is drawn."""
        self.needs.check(target)
        own, other = self._analyse(source, target.references[0] if self.factors else source)
        n = max(own.mel.shape[2], other.mel.shape[2])
        timing = other if "rhythm" in self.factors else own
        f0 = self._f0_input(own, other, n)
        codes = self.net.encode(_fit(own.mel, n, 0.0), f0, _fit(timing.mel, n, 0.0))
        voices = list(target.references) if "timbre" in self.factors else [source]
        scaled = self.net.decode(codes, self._voice(voices))
        return self.unscale(scaled[0, :, : timing.frames])

    @property
    def code_hop(self) -> int:
        """Samples per code step."""
        return self.frontend.hop_length * self.net.factor

    @torch.no_grad()
    def encode(self, speech: Speech) -> dict[str, Tensor]:
        """Codes of an utterance by name; see ``CodeModel``."""
        return encode_speech(self, speech, self._voice([speech]))

    @torch.no_grad()
    def decode_codes(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Log-mel (M, T) of codes; see ``CodeModel``."""
        return decode_codes(self, codes)

    def _f0_input(self, own: "_Analysis", other: "_Analysis", n: int) -> Tensor:
        """One-hot F0 on the timeline of the output: (1, n_f0_bins, n)."""
        n_bins = self.net.n_f0_bins
        if "pitch" not in self.factors:
            return f0_input(_fit(own.f0, n, -1.0), n_bins)
        theirs = f0_input(_fit(other.f0, n, -1.0), n_bins)
        if "rhythm" in self.factors:
            return theirs
        mel = _fit(own.mel, n, 0.0)
        if self.f0_converter is not None:
            logits = self.f0_converter(mel, theirs)
        elif self.net.f0_head is not None:
            logits = self.net.decode_f0(self.net.encode(mel, theirs, mel))
        else:
            raise UserError(
                "factors: pitch without rhythm needs an F0 converter; train one with a"
                " configs/speechflow_f0_*.yaml, or convert rhythm and pitch together"
            )
        return f0_one_hot(logits.argmax(1), n_bins)

    def _analyse(self, source: Speech, reference: Speech) -> "tuple[_Analysis, _Analysis]":
        """Scaled mel and normalised F0 of both utterances.

        Training normalises by the speaker's statistics. Where they are not known, they are
        estimated from both utterances together if these are of one speaker, which keeps the
        difference in pitch between two emotions.
        """
        mels = [self.scale(self.frontend(s.wav[None])) for s in (source, reference)]
        f0s = [
            self.f0(s.wav.cpu().numpy(), mel.shape[2])
            for s, mel in zip((source, reference), mels, strict=True)
        ]
        together = log_f0_statistics(np.concatenate(f0s))
        found = []
        for speech, mel, f0_hz in zip((source, reference), mels, f0s, strict=True):
            alone = log_f0_statistics(f0_hz) if "timbre" in self.factors else together
            statistics = mel.new_tensor([speech.log_f0 or alone])
            f0 = normalise_f0(torch.from_numpy(f0_hz)[None].to(mel.device), statistics)
            n = -(-mel.shape[2] // self.net.factor) * self.net.factor
            found.append(_Analysis(_fit(mel, n, 0.0), _fit(f0, n, -1.0), mel.shape[2]))
        return found[0], found[1]

    def _voice(self, voices: list[Speech]) -> Tensor:
        """Speaker vector (1, D): the mean d-vector, or the table's row of the named speaker."""
        if isinstance(self.speaker, SpeakerTable):
            name = voices[0].speaker
            if name is None:
                raise UserError("this model knows speakers by name only; give --speaker NAME")
            row = torch.tensor([self.speaker.index(name)])
            return self.speaker(row.to(voices[0].wav.device))
        vectors = [self.speaker(v.wav[None], None) for v in voices]
        return nn.functional.normalize(torch.stack(vectors).mean(0), dim=-1)


class _Analysis(NamedTuple):
    """One utterance: scaled mel (1, M, T), normalised F0 (1, T), and its frames before padding."""

    mel: Tensor
    f0: Tensor
    frames: int


def _fit(x: Tensor, n: int, value: float) -> Tensor:
    """Pad the last axis with ``value``, or cut it, to ``n``."""
    return nn.functional.pad(x[..., :n], (0, n - min(n, x.shape[-1])), value=value)
