"""The average-voice encoder: what an average speaker would have said, frame by frame."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.pretrained import (
    load_network,
    save_folder,
)
from emovc.emoconv_diff.diffvc_encoder import read_diffvc_encoder
from emovc.emoconv_diff.encoder_layers import MelEncoder, NormStatistics, PostNet


class AverageVoiceEncoder(nn.Module):
    """Average-voice mel Y of a mel: its words and timing without its speaker and emotion.

    DiffVC's encoder, a transformer on the mel (6.84 M parameters) and a post-net on the mel as an
    image (1.62 M). A padded batch gives what each utterance gives alone. Made by the constructor
    the weights are random and ``pretrained`` is False; :meth:`from_pretrained` and
    :meth:`from_diffvc` load real ones.

    Source: Popov et al., "Diffusion-based voice conversion with fast maximum likelihood sampling
    scheme", ICLR 2022, and the authors' code.

    Args:
        frontend: Waveform to log-mel, not scaled; by default that of the official HiFi-GAN.
        dim: Channels.
        hidden: Channels inside the transformer's convolutions.
        heads: Attention heads.
        n_layers: Transformer layers.
        kernel: Kernel size of the transformer's convolutions.
        window: Frames whose distance attention knows.
        dropout: Dropout of the transformer.
        postnet_dim: Channels of the post-net, a multiple of 8.
        norm_statistics: ``plain`` lets the post-net's norms count padding, as the authors' code
            does.

    Attributes:
        pretrained: Whether the weights are more than random; set it after training from scratch.

    Raises:
        UserError: The sizes don't fit each other.
    """

    def __init__(
        self,
        frontend: LogMel | None = None,
        dim: int = 192,
        hidden: int = 768,
        heads: int = 2,
        n_layers: int = 6,
        kernel: int = 3,
        window: int = 4,
        dropout: float = 0.1,
        postnet_dim: int = 128,
        norm_statistics: NormStatistics = "masked",
    ) -> None:
        super().__init__()
        if dim % heads or postnet_dim % 8 or kernel % 2 == 0:
            raise UserError(
                f"AverageVoiceEncoder: dim {dim} must be a multiple of heads {heads}, postnet_dim"
                f" {postnet_dim} of 8, and kernel {kernel} odd"
            )
        self.settings: dict[str, Any] = dict(
            dim=dim, hidden=hidden, heads=heads, n_layers=n_layers, kernel=kernel, window=window,
            dropout=dropout, postnet_dim=postnet_dim, norm_statistics=norm_statistics,
        )  # fmt: skip
        self.pretrained = False
        self.frontend = frontend or LogMel()
        self.encoder = MelEncoder(
            self.frontend.n_mels, dim, hidden, heads, n_layers, kernel, window, dropout
        )
        self.postnet = PostNet(postnet_dim, norm_statistics)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "AverageVoiceEncoder":
        """Load a trained encoder; the result is in evaluation mode.

        Args:
            path: Exported folder, run, or checkpoint.

        Raises:
            UserError: There is no encoder, or it is damaged.
        """
        return load_network(Path(path), cls)

    @classmethod
    def from_diffvc(
        cls, path: str | Path, norm_statistics: NormStatistics = "masked"
    ) -> "AverageVoiceEncoder":
        """Load the encoder that DiffVC's authors published; the result is in evaluation mode.

        Args:
            path: Their ``enc.pt``, or a whole model ``vc.pt``.
            norm_statistics: What the post-net's norms count; without padding they are the same.

        Raises:
            UserError: The file is damaged, or has other weights than this encoder.
        """
        encoder = cls(norm_statistics=norm_statistics)
        encoder.load_state_dict(read_diffvc_encoder(Path(path), encoder))
        encoder.pretrained = True
        return encoder.eval()

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.yaml`` and ``model.safetensors``, each atomically.

        Raises:
            UserError: The weights are random.
        """
        save_folder(self, folder)

    @property
    def description(self) -> dict[str, Any]:
        """The constructor call, as ``class_path`` and ``init_args``."""
        frontend = {"class_path": "emovc.common.audio.LogMel", "init_args": self.frontend.settings}
        arguments = {"frontend": frontend, **self.settings}
        path = "emovc.emoconv_diff.encoder.AverageVoiceEncoder"
        return {"class_path": path, "init_args": arguments}

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Average-voice mels (B, M, T), 0 at padding.

        Args:
            mel: Log-mels as the front end gives them, (B, M, T).
            mask: 1 at valid frames, (B, T).
        """
        valid = mask[:, None].to(mel.dtype)
        return self.postnet(self.encoder(mel, valid), valid)
