"""The acoustic model of Genner TTS: phones, a speaker, an emotion and references to a mel.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022, with the emotion embedding of Ma et al., "emotion2vec", ACL Findings
2024, in place of theirs.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.genner_tts.acoustic_outputs import AcousticOutput, Decoded, Synthesis
from emovc.genner_tts.flow import FlowPostNet
from emovc.genner_tts.global_style import EmotionNorm, GlobalStyle
from emovc.genner_tts.mix_style import MixStyle, MixStyleMode
from emovc.genner_tts.predictors import DurationPredictor, PitchPath
from emovc.genner_tts.style_level import AlignedStyle, Level, Reference, StyleLevel
from emovc.genner_tts.timeline import phones_of_frames, predicted_durations, spread
from emovc.genner_tts.transformer import MelDecoder, TextEncoder

Alignment = Literal["forced", "attention"]
LEVELS: tuple[Level, ...] = ("frame", "phone", "word")


class GennerAcoustic(nn.Module):
    """Text to mel in the style of references.

    The emotion vector enters the durations, the mixed style in training, the style-specific
    pitch, the decoder and the flow. A level of local style is absent where its vectors are zero;
    dropping levels in training makes that familiar.

    Args:
        n_phones: Size of the phone vocabulary; id 0 is padding.
        speaker_dim: Size of speaker vectors.
        emotion_dim: Size of emotion vectors.
        n_mels: Mel bands M.
        dim: Channels C.
        n_layers: Blocks of the text encoder, and of the decoder.
        heads: Attention heads.
        hidden: Channels inside the blocks' feed-forward parts.
        levels: Levels of local style; with ``frame`` alone no reference needs a text.
        level_dropout: Probability to drop a level of an utterance in training.
        n_codes: Codes of each level.
        aligner_hidden: Channels inside the aligners' feed-forward parts.
        mixstyle: Version of the mix-style normalisation, see :class:`MixStyle`.
        emo_norm: What is done to emotion vectors first.
        postnet: ``flow`` replaces the decoder's mel at synthesis.
        flow_dim: Channels of the flow's convolutions.
        flow_blocks: Blocks of the flow, a multiple of 4.
        dropout: Dropout of blocks and aligners.
    """

    def __init__(
        self,
        n_phones: int,
        speaker_dim: int = 256,
        emotion_dim: int = 768,
        n_mels: int = 80,
        dim: int = 256,
        n_layers: int = 4,
        heads: int = 2,
        hidden: int = 1024,
        levels: Sequence[Level] = LEVELS,
        level_dropout: float = 0.3,
        n_codes: int = 128,
        aligner_hidden: int = 2048,
        mixstyle: MixStyleMode = "code",
        emo_norm: EmotionNorm = "l2",
        postnet: Literal["flow", "none"] = "flow",
        flow_dim: int = 128,
        flow_blocks: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.level_dropout = level_dropout
        self.style = GlobalStyle(speaker_dim, emotion_dim, dim, emo_norm)
        self.encoder = TextEncoder(n_phones, dim, n_layers, heads, hidden, dropout=dropout)
        self.durations = DurationPredictor(dim)
        self.mix_style = MixStyle(dim, mixstyle)
        self.levels = nn.ModuleDict()
        for level in levels:
            self.levels[level] = StyleLevel(
                level, n_mels, dim, n_codes, heads, aligner_hidden, dropout
            )
        self.pitch = PitchPath(dim)
        self.decoder = MelDecoder(dim, n_layers, heads, hidden, dropout=dropout)
        self.mel = nn.Linear(dim, n_mels)
        self.postnet = None
        if postnet == "flow":
            self.postnet = FlowPostNet(n_mels, n_mels + 4 * dim, flow_dim, flow_blocks)

    def forward(
        self,
        phones: Tensor,
        mel2ph: Tensor,
        speaker: Tensor,
        emotion: Tensor,
        f0_hz: Tensor,
        references: Sequence[Reference],
        mel: Tensor | None = None,
        levels: Sequence[Level] | None = None,
        alignment: Alignment = "attention",
        quantise: bool = True,
    ) -> AcousticOutput:
        """Decode aligned texts with their true durations and pitch.

        Args:
            phones: Phone ids, 0 at padding, (B, L).
            mel2ph: Phone of each frame, counted from 1, 0 at padding, (B, T).
            speaker: Speaker vectors, (B, S).
            emotion: Emotion vectors, (B, E).
            f0_hz: F0 in Hz, 0 at unvoiced frames, (B, T).
            references: Speech whose local style is taken over; none leaves all levels absent.
            mel: True log-mels for the flow, (B, M, T).
            levels: Levels in use, by default all of the model's.
            alignment: How references are aligned: training starts with ``forced``.
            quantise: Whether local style is put on codes: training starts without.

        Raises:
            UserError: A level is missing or not aligned, or mel2ph doesn't fit the phones.
        """
        encoded = self.encoder(phones)
        style = self.style(speaker, emotion)
        log_durations = self.durations(encoded + style[0] + style[1], phones > 0)
        out = self._decode(
            encoded, mel2ph, style, f0_hz, references, levels, alignment == "forced", quantise
        )
        flow = None
        if self.postnet is not None and mel is not None:
            flow = self.postnet(mel, out.cond.detach(), out.mask)
        return AcousticOutput(out.mel, out.mask, log_durations, out.pitch, out.levels, flow)

    @torch.inference_mode()
    def synthesise(
        self,
        phones: Tensor,
        speaker: Tensor,
        emotion: Tensor,
        references: Sequence[Reference] = (),
        levels: Sequence[Level] | None = None,
        durations: Tensor | None = None,
        f0_hz: Tensor | None = None,
        duration_scale: float = 1.0,
        noise_scale: float = 0.8,
    ) -> Synthesis:
        """Synthesise mels; references are aligned by attention and put on codes.

        Args:
            phones: Phone ids, 0 at padding, (B, L).
            speaker: Speaker vectors, (B, S).
            emotion: Emotion vectors, (B, E).
            references: Speech whose local style is taken over; none leaves all levels absent.
            levels: Levels in use, by default all of the model's.
            durations: Frames of each phone, (B, L); by default predicted.
            f0_hz: F0 in Hz, 0 at unvoiced frames, (B, T), for given durations; by default
                predicted.
            duration_scale: Factor on predicted durations; 2 is half as fast.
            noise_scale: Standard deviation of the flow's noise.

        Raises:
            UserError: The model lacks a level, or a reference isn't aligned at one.
        """
        encoded = self.encoder(phones)
        style = self.style(speaker, emotion)
        if durations is None:
            log_durations = self.durations(encoded + style[0] + style[1], phones > 0)
            durations = predicted_durations(log_durations, phones > 0, duration_scale)
        mel2ph = phones_of_frames(durations)
        out = self._decode(encoded, mel2ph, style, f0_hz, references, levels, False, True)
        mel = out.mel
        if self.postnet is not None:
            mel = self.postnet.sample(out.cond, out.mask, noise_scale)
        return Synthesis(mel, out.mask, durations, out.f0_hz)

    def _decode(
        self,
        encoded: Tensor,
        mel2ph: Tensor,
        style: tuple[Tensor, Tensor],
        f0_hz: Tensor | None,
        references: Sequence[Reference],
        levels: Sequence[Level] | None,
        forced: bool,
        quantise: bool,
    ) -> Decoded:
        """Turn encoded phones (B, L, C) into frames; ``style`` is speaker and emotion (B, 1, C)."""
        speaker, emotion = style
        mask = (mel2ph > 0).to(encoded.dtype)
        valid = mask[:, :, None]
        h = self.mix_style(spread(encoded, mel2ph), (speaker + emotion)[:, 0])
        aligned = self._local(h, mask, references, levels, forced, quantise)
        local = torch.zeros_like(h)
        for level in aligned.values():
            local = local + level.vectors
        styled = (h + speaker + emotion + local) * valid
        pitch = self.pitch(h, styled, mask, f0_hz)
        y = styled + pitch.embedded
        mel = self.mel(self.decoder(y, mask)) * valid
        parts = [mel, y, speaker.expand_as(h), emotion.expand_as(h), local]
        cond = torch.cat(parts, 2).transpose(1, 2)
        return Decoded(mel.transpose(1, 2), mask, pitch.predicted, pitch.f0_hz, aligned, cond)

    def _local(
        self,
        h: Tensor,
        mask: Tensor,
        references: Sequence[Reference],
        levels: Sequence[Level] | None,
        forced: bool,
        quantise: bool,
    ) -> dict[Level, AlignedStyle]:
        """Aligned local style of each level in use; in training some utterances drop some."""
        used = cast(Sequence[Level], tuple(self.levels)) if levels is None else levels
        if missing := set(used) - set(self.levels):
            raise UserError(f"the model has no level {sorted(missing)}; it has {[*self.levels]}")
        aligned: dict[Level, AlignedStyle] = {}
        for level in used if references else ():
            style = self.levels[level](h, mask, references, forced, quantise)
            if self.training:
                kept = torch.rand(len(h), 1, 1, device=h.device) >= self.level_dropout
                style = style._replace(vectors=style.vectors * kept)
            aligned[level] = style
        return aligned
