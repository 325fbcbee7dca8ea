"""What neural codecs compress speech to, as representations that emotions are recognised from.

By default the latent before the quantiser: code numbers are names, whose mean says nothing. All
hear utterances one at a time, so that padding doesn't change their ends.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.transformers_loading import Pretrained, load_transformer
from emovc.common.weights import require_pretrained, weights_hash
from emovc.ser.codec import Codec
from emovc.ser.utterances import Pool, Utterances, pooled

Latent = Literal["pre", "post"]
CODECS = {"encodec": "EncodecModel", "dac": "DacModel"}


class CodecFeature(nn.Module):
    """The latent of emovc's own codec, pooled over time.

    Args:
        codec: A trained codec.
        sample_rate: Rate of the waveforms that it will hear, in Hz.
        latent: Before or after the quantiser.
        n_stages: Stages of the quantiser to use after it; ``None``: all of them.
        pool: What becomes of the frames.
        name: Name in the store.

    Raises:
        UserError: The codec is random.
    """

    def __init__(
        self,
        codec: Codec,
        sample_rate: int,
        latent: Latent = "pre",
        n_stages: int | None = None,
        pool: Pool = "mean",
        name: str = "codec",
    ) -> None:
        super().__init__()
        require_pretrained(codec)
        self.name = name
        self.codec = codec
        self.latent: Latent = latent
        self.n_stages = n_stages
        self.pool: Pool = pool
        self.hears = Utterances(sample_rate, codec.sample_rate)
        self.settings: dict[str, Any] = {
            "model": "codec",
            "sample_rate": sample_rate,
            "latent": latent,
            "n_stages": n_stages,
            "pool": pool,
            "weights": weights_hash(codec),
        }

    @classmethod
    def from_pretrained(
        cls,
        sample_rate: int,
        source: str | Path | None = None,
        latent: Latent = "pre",
        n_stages: int | None = None,
        pool: Pool = "mean",
        name: str = "codec",
    ) -> "CodecFeature":
        """From what :meth:`Codec.from_pretrained` takes; see the class for the other arguments.

        Raises:
            UserError: There is no codec.
        """
        return cls(Codec.from_pretrained(source), sample_rate, latent, n_stages, pool, name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Pooled latents of waveforms (B, N)."""
        return [pooled(self._frames(one), self.pool) for one in self.hears(wav, lengths)]

    def _frames(self, wav: Tensor) -> Tensor:
        latent = self.codec.encode(wav)
        if self.latent == "post":
            latent = self.codec.quantizer(latent, self.n_stages).latent
        return latent[0].T


class NeuralCodecFeature(nn.Module):
    """The latent of EnCodec (75 frames per second) or DAC (50), pooled over time.

    Args:
        pretrained: The network.
        sample_rate: Rate of the waveforms that it will hear, in Hz.
        latent: Before the quantiser, or after all of its stages.
        pool: What becomes of the frames.
        name: Name in the store; by default the kind of model.

    Raises:
        UserError: The codec is one of stereo music.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        sample_rate: int,
        latent: Latent = "pre",
        pool: Pool = "mean",
        name: str | None = None,
    ) -> None:
        super().__init__()
        config = pretrained.config
        if getattr(config, "audio_channels", 1) != 1:
            raise UserError(
                f"{config.model_type}: has {config.audio_channels} channels; take one for speech,"
                " such as facebook/encodec_24khz"
            )
        self.name = name or config.model_type
        self.network: Any = pretrained.network
        self.latent: Latent = latent
        self.pool: Pool = pool
        self.hop = int(config.hop_length)
        self.hears = Utterances(sample_rate, config.sampling_rate)
        self.settings: dict[str, Any] = {
            "model": config.model_type,
            "sample_rate": sample_rate,
            "latent": latent,
            "pool": pool,
            "weights": weights_hash(self.network),
        }

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        sample_rate: int,
        latent: Latent = "pre",
        pool: Pool = "mean",
        name: str | None = None,
    ) -> "NeuralCodecFeature":
        """From a folder or a name on Hugging Face; see the class for the arguments.

        Raises:
            UserError: There is no such model, or it is for stereo.
        """
        return cls(load_transformer(source, CODECS), sample_rate, latent, pool, name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Pooled latents of waveforms (B, N)."""
        return [pooled(self._frames(one), self.pool) for one in self.hears(wav, lengths)]

    def _frames(self, wav: Tensor) -> Tensor:
        whole = F.pad(wav, (0, -wav.shape[1] % self.hop))
        latent = self.network.encoder(whole[:, None])
        if self.latent == "post":
            latent = self._quantised(latent)
        return latent[0].T

    def _quantised(self, latent: Tensor) -> Tensor:
        """Latents (1, D, T) after all stages; the two libraries' quantisers differ."""
        quantizer, config = self.network.quantizer, self.network.config
        if config.model_type == "dac":
            return quantizer(latent)[0]
        return quantizer.decode(quantizer.encode(latent, config.target_bandwidths[-1]))
