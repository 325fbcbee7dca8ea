"""HiFi-GAN: from log-mels to waveforms, with the official checkpoints.

Source: Kong, Kim and Bae, "HiFi-GAN: Generative adversarial networks for efficient and high
fidelity speech synthesis", NeurIPS 2020, and the authors' code.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.audio import LogMel, require_same_mel
from emovc.common.errors import UserError
from emovc.common.files import write_json, write_text
from emovc.common.normalisation import fold, split_weight_norm, weight_norm
from emovc.common.pretrained import build, find_checkpoint, read_checkpoint
from emovc.common.vocoder_files import find_generator, make_config, read_config, read_generator
from emovc.common.vocoder_layers import (
    SLOPE,
    ResBlock1,
    ResBlock2,
    by_channels,
    check_architecture,
    convolve,
    margin_frames,
)
from emovc.common.weights import load_exactly, require_trained, save_weights, weights_hash


class HiFiGAN(nn.Module):
    """HiFi-GAN's generator; the defaults are V1.

    Names and values of the weights are those of the official code. Made by the constructor they
    are random and ``pretrained`` is False; :meth:`from_pretrained` loads real ones. The last
    layer computes in the weights' precision also under autocast: rounded to bfloat16, a waveform
    is noisy.

    Args:
        frontend: The mel; by default the official one.
        resblock: ``"1"`` for V1 and V2, ``"2"`` for V3.
        upsample_rates: Factor of each transposed convolution; their product is the mel's hop.
        upsample_kernel_sizes: Kernel of each.
        upsample_initial_channel: Width before the first; each halves it.
        resblock_kernel_sizes: Kernel of each residual block of a stage; their mean goes on.
        resblock_dilation_sizes: Dilations of each.
        chunk_frames: Longer mels are synthesised in pieces of so many frames where no gradient is
            asked for, which bounds the memory. Pieces overlap by what a sample depends on.

    Attributes:
        pretrained: Whether the weights are more than random.
        margin: Frames to each side of its own that a sample depends on.
    """

    def __init__(
        self,
        frontend: LogMel | None = None,
        resblock: Literal["1", "2"] = "1",
        upsample_rates: Sequence[int] = (8, 8, 2, 2),
        upsample_kernel_sizes: Sequence[int] = (16, 16, 4, 4),
        upsample_initial_channel: int = 512,
        resblock_kernel_sizes: Sequence[int] = (3, 7, 11),
        resblock_dilation_sizes: Sequence[Sequence[int]] = ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
        chunk_frames: int = 1024,
    ) -> None:
        super().__init__()
        self.frontend = frontend or LogMel()
        self.settings: dict[str, Any] = {
            "resblock": resblock,
            "upsample_rates": list(upsample_rates),
            "upsample_kernel_sizes": list(upsample_kernel_sizes),
            "upsample_initial_channel": upsample_initial_channel,
            "resblock_kernel_sizes": list(resblock_kernel_sizes),
            "resblock_dilation_sizes": [list(d) for d in resblock_dilation_sizes],
        }
        check_architecture(self.settings, self.frontend.hop_length)
        self.chunk_frames = chunk_frames
        self.pretrained = False
        stages = list(zip(upsample_rates, upsample_kernel_sizes, strict=True))
        widths = [upsample_initial_channel >> i for i in range(len(stages) + 1)]
        # The official code draws from N(0, 0.01), but into a copy that weight norm then replaces:
        # its networks start from PyTorch's initialisation, as these do.
        self.conv_pre = weight_norm(nn.Conv1d(self.frontend.n_mels, widths[0], 7, padding=3))
        self.ups = nn.ModuleList(
            weight_norm(nn.ConvTranspose1d(*pair, kernel, rate, padding=(kernel - rate) // 2))
            for pair, (rate, kernel) in zip(pairwise(widths), stages, strict=True)
        )
        block = ResBlock1 if resblock == "1" else ResBlock2
        kinds = list(zip(resblock_kernel_sizes, resblock_dilation_sizes, strict=True))
        self.resblocks = nn.ModuleList(block(w, *kind) for w in widths[1:] for kind in kinds)
        self.conv_post = weight_norm(nn.Conv1d(widths[-1], 1, 7, padding=3))
        self.margin = margin_frames(self.settings)

    @classmethod
    def from_pretrained(cls, path: str | Path, fold: bool = True) -> "HiFiGAN":
        """Load a generator; the result is in evaluation mode.

        Args:
            path: An official folder (``config.json`` and ``generator_v*`` or ``g_*``), one of
                :meth:`save_pretrained`, a file of weights with its ``config.json`` beside it, or a
                run or checkpoint of :class:`~emovc.common.vocoder_training.LitHiFiGAN`.
            fold: Fold weight norm, which synthesis does not need; fine-tuning does.

        Raises:
            UserError: There is no generator, it is damaged, or its config doesn't fit it.
        """
        path = Path(path)
        if path.suffix == ".ckpt" or (path / "checkpoints").is_dir():
            return cls.from_checkpoint(path, fold)
        file = find_generator(path)
        config = read_config(file.parent / "config.json")
        return cls(config.frontend, **config.settings)._load(read_generator(file), file, fold)

    @classmethod
    def from_checkpoint(cls, path: str | Path, fold: bool = True) -> "HiFiGAN":
        """Load the generator of a training checkpoint, or of a run's last one.

        Args:
            path: Checkpoint or run of :class:`~emovc.common.vocoder_training.LitHiFiGAN`.
            fold: Fold weight norm.

        Raises:
            UserError: There is no checkpoint, it is damaged, or of something else.
        """
        file = find_checkpoint(Path(path))
        checkpoint = read_checkpoint(file)
        vocoder = build(checkpoint["hyper_parameters"].get("generator"), str(file))
        if not isinstance(vocoder, cls):
            raise UserError(f"{file}: is no checkpoint of a vocoder; name one of LitHiFiGAN")
        weights = {
            name.removeprefix("generator."): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith("generator.")
        }
        return vocoder._load(weights, file, fold)

    def save_pretrained(self, folder: Path, card: str | None = None, half: bool = False) -> None:
        """Write ``config.json`` and ``model.safetensors``, from which fine-tuning can go on.

        The weights have the official names, with weight norm also where it was folded here.

        Args:
            folder: Folder to write to.
            card: Text of a ``README.md``.
            half: Round the weights to half precision.

        Raises:
            UserError: The weights are random.
        """
        require_trained(self, folder)
        unfolded = HiFiGAN(self.frontend, **self.settings)
        unfolded.load_state_dict(split_weight_norm(self.state_dict()))
        unfolded = unfolded.half() if half else unfolded
        write_json(folder / "config.json", make_config(self.settings, self.frontend))
        if card is not None:
            write_text(folder / "README.md", card)
        save_weights(unfolded, folder / "model.safetensors")  # last: without it nothing is loaded

    @property
    def description(self) -> dict[str, Any]:
        """The constructor call, as ``class_path`` and ``init_args``."""
        frontend = {"class_path": "emovc.common.audio.LogMel", "init_args": self.frontend.settings}
        arguments = {"frontend": frontend, **self.settings, "chunk_frames": self.chunk_frames}
        return {"class_path": "emovc.common.vocoder.HiFiGAN", "init_args": arguments}

    @property
    def label(self) -> str:
        """What reports call it: its weights by their hash."""
        return f"HiFi-GAN {weights_hash(self)}"

    def require_mel(self, frontend: LogMel) -> None:
        """Refuse mels of another front end.

        Raises:
            UserError: The settings differ; both are printed.
        """
        require_same_mel(frontend, self.frontend.settings, "the vocoder")

    def fold_weight_norm(self) -> "HiFiGAN":
        """Replace weight norm by plain weights of the same value; doing it again does nothing."""
        fold(self.modules())
        return self

    def forward(self, mel: Tensor) -> Tensor:
        """Synthesise waveforms (B, T * hop) in [-1, 1] of log-mels (B, M, T)."""
        if torch.is_grad_enabled() or mel.shape[2] <= self.chunk_frames:
            return self._synthesise(mel)
        pieces = []
        for start in range(0, mel.shape[2], self.chunk_frames):
            first = max(start - self.margin, 0)
            wav = self._synthesise(mel[..., first : start + self.chunk_frames + self.margin])
            begin = (start - first) * self.frontend.hop_length
            pieces.append(wav[:, begin : begin + self.chunk_frames * self.frontend.hop_length])
        return torch.cat(pieces, dim=1)

    def _synthesise(self, mel: Tensor) -> Tensor:
        x = convolve(self.conv_pre, by_channels(mel))
        n_blocks = len(self.resblocks) // len(self.ups)
        for i, up in enumerate(self.ups):
            x = convolve(up, F.leaky_relu(x, SLOPE))
            first, *others = self.resblocks[i * n_blocks : (i + 1) * n_blocks]
            total = first(x)
            for block in others:
                total = total + block(x)
            x = total / n_blocks
        with torch.autocast(x.device.type, enabled=False):
            x = F.leaky_relu(x).to(self.conv_post.weight.dtype)
            return torch.tanh(convolve(self.conv_post, x)).flatten(1)

    def _load(self, weights: dict[str, Tensor], source: Path, fold: bool) -> "HiFiGAN":
        """Fill in weights, all of them."""
        load_exactly(self, weights, source)
        self.pretrained = True
        return self.eval().fold_weight_norm() if fold else self.eval()
