"""Representations that emotions are recognised from, each a vector per utterance in the store.

All are frozen networks behind :class:`~emovc.common.features.extractors.NetworkFeature`. Those of
the transformers library hear utterances one at a time: the group norm of the public base models
averages over time, so in a padded batch an utterance would change with its neighbours.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.ssl_frames import ENCODERS, RATE, normalises, receptive_field, standardised
from emovc.common.transformers_loading import Pretrained, load_transformer
from emovc.common.weights import require_pretrained, weights_hash
from emovc.ser.emotion_choice import load_emotion_encoder
from emovc.ser.emotion_encoder import EmotionEncoder
from emovc.ser.utterances import Pool, Utterances, pooled
from emovc.ser.whisper_emotion import WhisperEmotion

XVECTORS = {"wavlm": "WavLMForXVector"}


class EncoderFeature(nn.Module):
    """A layer of WavLM, HuBERT or wav2vec2 (50 frames per second), pooled over time.

    Args:
        pretrained: The network.
        sample_rate: Rate of the waveforms that it will hear, in Hz.
        layer: Hidden layer; 0 is the transformer's input, ``None`` its output (which models of the
            stable kind normalise once more after the last layer).
        pool: What becomes of the frames.
        name: Name in the store; by default the kind of model.

    Raises:
        UserError: There is no such layer.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        sample_rate: int,
        layer: int | None = None,
        pool: Pool = "mean",
        name: str | None = None,
    ) -> None:
        super().__init__()
        config = pretrained.config
        if layer is not None and not 0 <= layer <= config.num_hidden_layers:
            raise UserError(f"layer {layer}: the model has 0 to {config.num_hidden_layers}")
        self.name = name or config.model_type
        self.layer = layer
        self.pool: Pool = pool
        self.network = pretrained.network
        self.hears = _hears(pretrained, sample_rate, receptive_field(config))
        self.normalise = normalises(pretrained)
        self.settings: dict[str, Any] = {
            "model": config.model_type,
            "sample_rate": sample_rate,
            "layer": layer,
            "pool": pool,
            "normalise": self.normalise,
            "weights": weights_hash(self.network),
        }

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        sample_rate: int,
        layer: int | None = None,
        pool: Pool = "mean",
        name: str | None = None,
    ) -> "EncoderFeature":
        """From a folder or a name on Hugging Face; see the class for the arguments.

        Raises:
            UserError: There is no such model or layer.
        """
        return cls(load_transformer(source, ENCODERS), sample_rate, layer, pool, name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Pooled frames of waveforms (B, N)."""
        return [pooled(self._frames(one), self.pool) for one in self.hears(wav, lengths)]

    def _frames(self, wav: Tensor) -> Tensor:
        heard = standardised(wav) if self.normalise else wav
        if self.layer is None:
            return self.network(heard).last_hidden_state[0]
        return self.network(heard, output_hidden_states=True).hidden_states[self.layer][0]


class XVectorFeature(nn.Module):
    """The speaker vector of a WavLM with an x-vector head, (1, 512) for the public ones.

    Args:
        pretrained: The network.
        sample_rate: Rate of the waveforms that it will hear, in Hz.
        name: Name in the store.
    """

    def __init__(self, pretrained: Pretrained, sample_rate: int, name: str = "xvector") -> None:
        super().__init__()
        config = pretrained.config
        self.name = name
        self.network = pretrained.network
        reach = sum(
            (k - 1) * d for k, d in zip(config.tdnn_kernel, config.tdnn_dilation, strict=True)
        )
        # The deviation over time, which the head takes, needs two of the last layer's frames.
        self.hears = _hears(pretrained, sample_rate, receptive_field(config, reach + 2))
        self.normalise = normalises(pretrained)
        self.settings: dict[str, Any] = {
            "model": config.model_type,
            "sample_rate": sample_rate,
            "normalise": self.normalise,
            "weights": weights_hash(self.network),
        }

    @classmethod
    def from_pretrained(
        cls, source: str | Path, sample_rate: int, name: str = "xvector"
    ) -> "XVectorFeature":
        """From a folder or a name on Hugging Face, such as ``microsoft/wavlm-base-sv``.

        Raises:
            UserError: There is no such model, or it has no x-vector head.
        """
        return cls(load_transformer(source, XVECTORS), sample_rate, name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Speaker vectors of waveforms (B, N)."""
        heard = self.hears(wav, lengths)
        ready = [standardised(one) if self.normalise else one for one in heard]
        return [self.network(one).embeddings for one in ready]


class EmotionFeature(nn.Module):
    """The embedding of an emotion encoder that this project trains, (1, 128).

    Args:
        encoder: A trained emotion encoder, of either generation.
        name: Name in the store.

    Raises:
        UserError: The encoder is random.
    """

    def __init__(self, encoder: EmotionEncoder | WhisperEmotion, name: str = "emotion") -> None:
        super().__init__()
        require_pretrained(encoder)
        self.name = name
        self.encoder = encoder
        self.settings: dict[str, Any] = {
            "model": "emotion encoder",
            "sample_rate": encoder.sample_rate,
            "trained_on": encoder.trained_on,
            "weights": weights_hash(encoder),
        }
        if isinstance(encoder, WhisperEmotion):
            self.settings["whisper"] = encoder.encoder.weights

    @classmethod
    def from_pretrained(
        cls,
        sample_rate: int,
        source: str | Path | None = None,
        name: str = "emotion",
        whisper: str | Path | None = None,
        weights: str | None = None,
    ) -> "EmotionFeature":
        """With one of the shipped encoders, or one of ``emovc train-emotion``.

        Args:
            sample_rate: Rate of the waveforms that it will be given, in Hz.
            source: What from_pretrained of WhisperEmotion (``condition_all``, ...) or of
                EmotionEncoder (``all``, ``without_nemo``, ...) takes, or a folder; ``None``:
                ``condition_all`` where Whisper is found, else ``all``.
            name: Name in the store.
            whisper: Folder or name on Hugging Face of Whisper.
            weights: Hash of the weights that stored vectors were made with; without ``source``,
                that of the two defaults is taken which has it.

        Raises:
            UserError: There are no such weights, or no such Whisper.
        """
        return cls(load_emotion_encoder(source, sample_rate, whisper, weights), name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Embeddings of waveforms (B, N), which don't depend on the padding."""
        return list(self.encoder(wav, lengths).embedding[:, None])


def _hears(pretrained: Pretrained, sample_rate: int, shortest: int) -> Utterances:
    """What cuts batches for a network, at the rate that its preprocessor names."""
    return Utterances(sample_rate, pretrained.preprocessor.get("sampling_rate", RATE), shortest)
