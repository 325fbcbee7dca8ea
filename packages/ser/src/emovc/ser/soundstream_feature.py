"""What SoundStream compresses speech to, in the feature store."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.wav import resample
from emovc.ser.codec_representations import Latent
from emovc.ser.soundstream import N_QUANTIZERS, SoundStream, require_quantizers
from emovc.ser.utterances import Pool, pooled


class SoundStreamFeature:
    """The latent of Lyra V2's SoundStream (50 frames per second, 64 values), pooled over time.

    It is computed in the processes that read the audio, of one recording at a time.

    Args:
        codec: The codec.
        sample_rate: Rate of the waveforms that it will get, in Hz.
        latent: Before the quantiser, or after it.
        n_quantizers: Codebooks to use after it; ``None``: all 46.
        pool: What becomes of the frames.
        name: Name in the store.

    Raises:
        UserError: There are no so many codebooks.
    """

    def __init__(
        self,
        codec: SoundStream,
        sample_rate: int,
        latent: Latent = "pre",
        n_quantizers: int | None = None,
        pool: Pool = "mean",
        name: str = "soundstream",
    ) -> None:
        self.n_quantizers = N_QUANTIZERS if n_quantizers is None else n_quantizers
        require_quantizers(self.n_quantizers)
        self.name = name
        self.codec = codec
        self.sample_rate = sample_rate
        self.latent: Latent = latent
        self.pool: Pool = pool
        self.settings: dict[str, Any] = {
            "model": "soundstream of lyra v2",
            "sample_rate": sample_rate,
            "latent": latent,
            "n_quantizers": self.n_quantizers if latent == "post" else None,
            "pool": pool,
            "weights": codec.weights,
        }

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        sample_rate: int,
        latent: Latent = "pre",
        n_quantizers: int | None = None,
        pool: Pool = "mean",
        name: str = "soundstream",
    ) -> "SoundStreamFeature":
        """From a folder with Lyra V2's graphs; see the class for the other arguments.

        Raises:
            UserError: LiteRT isn't installed; a graph is absent, cut off, or of another model.
        """
        codec = SoundStream.from_pretrained(source)
        return cls(codec, sample_rate, latent, n_quantizers, pool, name)

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """Pooled latents of a waveform (N,)."""
        latents = self.codec.encode(resample(wav, self.sample_rate, self.codec.sample_rate))
        if self.latent == "post":
            codes = self.codec.quantize(latents, self.n_quantizers)
            latents = self.codec.dequantize(codes)
        return pooled(torch.from_numpy(latents), self.pool).numpy()
