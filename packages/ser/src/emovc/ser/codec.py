"""A neural speech codec: waveform to a few codes per frame and back.

Source: Zeghidour, Luebs, Omran, Skoglund and Tagliasacchi, "SoundStream: an end-to-end neural audio
codec", IEEE/ACM TASLP 2021.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.pretrained import (
    load_network,
    save_folder,
)
from emovc.ser.codec_layers import Activation, make_decoder, make_encoder
from emovc.ser.residual_quantizer import ResidualQuantizer

SHIPPED = Path(__file__).parent / "weights" / "codec"


class Coded(NamedTuple):
    """What a codec makes of speech.

    Attributes:
        wav: Decoded waveforms, as long as the given ones, (B, N).
        codes: Codes per stage, (B, Q, T).
        commitment: See :class:`~emovc.ser.residual_quantizer.Quantised`.
    """

    wav: Tensor
    codes: Tensor
    commitment: Tensor


class Codec(nn.Module):
    """Strided convolutions, a residual quantiser, and the convolutions mirrored.

    ``N`` samples give ``ceil(N / hop)`` frames, with ``hop`` the product of the strides; the
    waveform is filled with zeros to whole frames. Made by the constructor the weights are random
    and ``pretrained`` is False; :meth:`from_pretrained` loads real ones.

    Args:
        frontend: The log-mel that validation compares; its rate is the waveforms' and its hop must
            be the product of the strides. By default 16 kHz and hop 320, 50 frames per second.
        strides: Stride of each stage of the encoder.
        channels: Width before the first stage and after each.
        dim: Size D of the latents.
        kernel: Kernel of the residual units.
        dilations: Dilation of each residual unit of a stage.
        causal: Look at no later sample, for streaming.
        activation: Nonlinearity: SoundStream's ELU, or Snake.
        codebook_size: Vectors per stage of the quantiser.
        n_stages: Stages Q of the quantiser.
        decay: Of the codebooks' moving averages.
        dead_below: When a codebook's vector is replaced, see
            :class:`~emovc.ser.residual_quantizer.Codebook`.
        dropout: Share of the utterances trained with fewer stages.
        warm_up: Training batches before anything is quantised.

    Attributes:
        pretrained: Whether the weights are more than random; training sets it.

    Raises:
        UserError: The sizes make no codec.
    """

    def __init__(
        self,
        frontend: LogMel | None = None,
        strides: Sequence[int] = (2, 4, 5, 8),
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        dim: int = 128,
        kernel: int = 7,
        dilations: Sequence[int] = (1, 3, 9),
        causal: bool = False,
        activation: Activation = "elu",
        codebook_size: int = 1024,
        n_stages: int = 8,
        decay: float = 0.99,
        dead_below: float = 0.1,
        dropout: float = 0.5,
        warm_up: int = 0,
    ) -> None:
        super().__init__()
        self.frontend = frontend or LogMel(16_000, hop_length=320, pad=352)
        self.settings: dict[str, Any] = dict(
            strides=list(strides), channels=list(channels), dim=dim, kernel=kernel,
            dilations=list(dilations), causal=causal, activation=activation,
            codebook_size=codebook_size, n_stages=n_stages, decay=decay, dead_below=dead_below,
            dropout=dropout, warm_up=warm_up,
        )  # fmt: skip
        self.hop = math.prod(strides)
        self._check(len(strides), len(channels), kernel)
        self.pretrained = False
        sizes = (strides, channels, dim, kernel, dilations, causal, activation)
        self.encoder = make_encoder(*sizes)
        self.quantizer = ResidualQuantizer(
            dim, codebook_size, n_stages, decay, dead_below, dropout, warm_up
        )
        self.decoder = make_decoder(*sizes)

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None) -> "Codec":
        """Load a codec; the result is in evaluation mode.

        Args:
            path: Exported folder, run, or checkpoint; ``None``: the small codec that comes with
                the package.

        Raises:
            UserError: There is no codec, or it is damaged.
        """
        return load_network(SHIPPED if path is None else Path(path), cls)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.yaml`` and ``model.safetensors``, each atomically.

        Raises:
            UserError: The weights are random.
        """
        save_folder(self, folder)

    @property
    def sample_rate(self) -> int:
        """Rate of the waveforms in Hz."""
        return self.frontend.sample_rate

    @property
    def description(self) -> dict[str, Any]:
        """The constructor call, as ``class_path`` and ``init_args``."""
        frontend = {"class_path": "emovc.common.audio.LogMel", "init_args": self.frontend.settings}
        arguments = {"frontend": frontend, **self.settings}
        return {"class_path": "emovc.ser.codec.Codec", "init_args": arguments}

    def bits_per_second(self, n_stages: int) -> float:
        """Rate in bit/s with the first ``n_stages`` stages."""
        return self.quantizer.bits_per_frame(n_stages) * self.sample_rate / self.hop

    def encode(self, wav: Tensor) -> Tensor:
        """Latents before the quantiser, (B, D, ceil(N / hop)), of waveforms (B, N)."""
        whole = F.pad(wav, (0, -wav.shape[1] % self.hop))
        return self.encoder(whole[:, None])

    def decode(self, latent: Tensor) -> Tensor:
        """Waveforms (B, T * hop) of latents (B, D, T), before or after the quantiser."""
        return self.decoder(latent)[:, 0]

    def forward(self, wav: Tensor, n_stages: int | None = None) -> Coded:
        """Encode, quantise and decode waveforms (B, N).

        Args:
            wav: Waveforms.
            n_stages: Stages of the quantiser to use; ``None``: all of them, in training by
                ``dropout`` fewer.
        """
        quantised = self.quantizer(self.encode(wav), n_stages)
        decoded = self.decode(quantised.latent)[:, : wav.shape[1]]
        return Coded(decoded, quantised.codes, quantised.commitment)

    def _check(self, n_strides: int, n_channels: int, kernel: int) -> None:
        """Refuse sizes that don't fit each other."""
        if n_channels != n_strides + 1:
            raise UserError(
                f"Codec: {n_strides} strides need {n_strides + 1} channels, not {n_channels}"
            )
        if kernel % 2 == 0:
            raise UserError(f"Codec: kernel {kernel} must be odd")
        if self.hop != self.frontend.hop_length:
            raise UserError(
                f"Codec: strides multiply to {self.hop}, but frontend.hop_length is"
                f" {self.frontend.hop_length}; make them equal"
            )
