"""Genner TTS as a whole: text and references in, log-mels out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel, require_same_mel
from emovc.common.conversion import EmotionTarget, Needs, Speech, require_audible
from emovc.common.emotion_hearing import EmotionHearing
from emovc.common.errors import UserError
from emovc.common.pretrained import load_checkpoint, load_network
from emovc.common.speaker import SpeakerEncoder
from emovc.genner_tts.acoustic import GennerAcoustic
from emovc.genner_tts.aligner import Aligner
from emovc.genner_tts.phone_table import PhoneTable
from emovc.genner_tts.phonemes import Alphabet
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.style_level import Level, Reference
from emovc.genner_tts.style_request import Spoken, StyleRequest
from emovc.genner_tts.timeline import phones_of_frames


class GennerTTS(nn.Module):
    """Speech of any text in the voice and emotion of references.

    As a converter it says the source's text in the source's voice, with the references' emotion.
    Inside, mels are decimal logarithms, whatever the front end's are: the similarity of mels in
    training shifts them by 6, to be above 0.

    Sources: Huang et al., "GenerSpeech", NeurIPS 2022; Ma et al., "emotion2vec", ACL Findings 2024.

    Args:
        acoustic: Phones and style to mel.
        frontend: Waveform to log-mel.
        speaker: d-vectors.
        emotion: What hears the emotion of references.
        aligner: Aligns references with their texts, for the levels of phones and words.
        alphabet: What phones are written in.
        language: Language of texts where nothing else is said.
        duration_scale: Factor on durations in conversions; 2 is half as fast.
        noise_scale: Standard deviation of the flow's noise in conversions.

    Raises:
        UserError: The parts don't fit each other.
    """

    def __init__(
        self,
        acoustic: GennerAcoustic,
        frontend: LogMel,
        speaker: SpeakerEncoder,
        emotion: EmotionHearing,
        aligner: Aligner | None = None,
        alphabet: Alphabet = "ipa",
        language: str = "en",
        duration_scale: float = 1.0,
        noise_scale: float = 0.8,
    ) -> None:
        super().__init__()
        if aligner is not None:
            require_same_mel(frontend, aligner.frontend.settings, "GennerTTS: aligner")
        sizes = acoustic.style.speaker.in_features, acoustic.style.emotion.in_features
        if sizes != (speaker.settings["dim"], emotion.dim):
            raise UserError(
                f"GennerTTS: acoustic.speaker_dim and emotion_dim {sizes} must be"
                f" {speaker.settings['dim']} and {emotion.dim}, those of speaker and emotion"
            )
        self.acoustic = acoustic
        self.frontend = frontend
        self.speaker = speaker
        self.emotion = emotion
        self.aligner = aligner
        self.phones = PhoneTable(acoustic.encoder.embedding.num_embeddings, alphabet)
        self.language = language
        self.duration_scale = duration_scale
        self.noise_scale = noise_scale
        self.log_unit = math.log(10) if frontend.log == "ln" else 1.0

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "GennerTTS":
        """Load an exported folder, a run, or a checkpoint."""
        return load_network(Path(path), cls)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "GennerTTS":
        """Load a training checkpoint, without Lightning."""
        return load_checkpoint(Path(path), cls)

    @property
    def needs(self) -> Needs:
        """A reference of the emotion."""
        return Needs(references=1)

    @property
    def teachers(self) -> set[str]:
        """Hash of the network behind its emotion vectors."""
        return {name for name in (self.emotion.weights,) if name is not None}

    def decimal_mel(self, wav: Tensor) -> Tensor:
        """Decimal log-mels (B, M, T) of waveforms (B, N)."""
        return self.frontend(wav) / self.log_unit

    def convert(self, source: Speech, target: EmotionTarget, seed: int = 0) -> Tensor:
        """Say the source's text again; see ``Converter``.

        Raises:
            UserError: The source's text isn't known, or there is no reference.
        """
        if source.text is None:
            raise UserError(
                "this model reads the source's text, which isn't known here; give --text TEXT"
            )
        style = StyleRequest(target.references, voice=[source])
        scales = self.duration_scale, self.noise_scale
        language = source.language or self.language
        return self.synthesise(source.text, language, style, None, 0.0, *scales, seed).mel

    @torch.no_grad()
    def synthesise(
        self,
        text: str,
        language: str,
        style: StyleRequest,
        quantizer: EmotionQuantizer | None = None,
        lam: float = 0.0,
        duration_scale: float = 1.0,
        noise_scale: float = 0.8,
        seed: int = 0,
    ) -> Spoken:
        """Say a text.

        Args:
            text: What to say.
            language: Its language, such as ``en``, and that of recordings' texts that name none.
            style: Where voice, emotion and prosody are from.
            quantizer: Quantises the emotion vector first.
            lam: The quantiser's lambda.
            duration_scale: Factor on predicted durations; 2 is half as fast.
            noise_scale: Standard deviation of the flow's noise.
            seed: Of that noise.

        Raises:
            UserError: The text can't be said, something is lacking or silent, or a level of local
                style can't be used.
        """
        said = self.phones.inventory.pronounce(text, language)
        device = self.phones.characters.device
        emotion = self.emotion_vector(style)
        bits = None
        if quantizer is not None:
            quantized = quantizer(emotion[None], lam)
            emotion, bits = quantized.quantized[0], float(quantized.bits[0])
        speaker = self.speaker_vector(style)
        local = style.local or style.references
        levels = self._levels(local, style.levels)
        references = [self._reference(speech, language, levels) for speech in local]
        gpu = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpu):
            torch.manual_seed(seed)
            made = self.acoustic.synthesise(
                self.phones.inventory.numbers(said.phones)[None].to(device),
                speaker[None],
                emotion[None],
                references if levels else (),
                levels,
                duration_scale=duration_scale,
                noise_scale=noise_scale,
            )
        edges = self.frontend.log_floor, self.frontend.log_ceiling
        mel = (made.mel[0] * self.log_unit).clamp(*edges)  # beyond, a vocoder would only overflow
        return Spoken(mel, said.phones, made.durations[0], made.f0_hz[0], bits)

    def emotion_vector(self, style: StyleRequest) -> Tensor:
        """Emotion vector (E,) that is asked for.

        Raises:
            UserError: There is neither a vector nor a reference, or one is silent.
        """
        if style.emotion is not None:
            return style.emotion
        return torch.stack([self.emotion(s.wav) for s in _audible(style.references)]).mean(0)

    def speaker_vector(self, style: StyleRequest) -> Tensor:
        """Speaker vector (S,) that is asked for: a mean of unit length, as training takes it.

        Raises:
            UserError: There is neither a vector nor a recording, or one is silent.
        """
        if style.speaker is not None:
            return style.speaker
        voice = _audible(style.voice or style.references)
        vectors = torch.stack([self.speaker(s.wav[None])[0] for s in voice])
        return nn.functional.normalize(vectors.mean(0), dim=0)

    def _levels(self, local: Sequence[Speech], asked: Sequence[Level] | None) -> Sequence[Level]:
        """Levels of local style in use.

        Raises:
            UserError: One that is asked for has no trained codes.
        """
        nets: dict[str, Any] = dict(self.acoustic.levels.items())
        ready = [name for name, net in nets.items() if net.encoder.quantizer.initialised]
        if asked is None:
            read = self.aligner is not None and all(speech.text for speech in local)
            usable = [name for name in ready if local and (read or name == "frame")]
            return cast(Sequence[Level], usable)
        if raw := [name for name in asked if name in nets and name not in ready]:
            raise UserError(
                f"level '{raw[0]}': its codes aren't trained yet; train beyond codes_from, or leave"
                " it out"
            )
        return asked

    def _reference(self, speech: Speech, language: str, levels: Sequence[Level]) -> Reference:
        """A recording as the acoustic model takes it, aligned if a level asks for that."""
        mel = self.decimal_mel(speech.wav[None])
        mask = mel.new_ones(1, mel.shape[2])
        if speech.text is None or self.aligner is None or not {"phone", "word"} & set(levels):
            return Reference(mel, mask)
        own = speech.language or language
        said = self.aligner.phones.inventory.pronounce(speech.text, own)
        mel2ph = phones_of_frames(self.aligner.align(speech.wav, said)[None])
        words = torch.tensor(said.units, device=mel2ph.device) + 1
        return Reference(mel, mask, mel2ph, words[mel2ph - 1])


def _audible(recordings: Sequence[Speech]) -> Sequence[Speech]:
    """The recordings, of which there is one and none is silent."""
    if not recordings:
        raise UserError("this model needs a reference; give --reference FILE")
    for speech in recordings:
        require_audible(speech)
    return recordings
