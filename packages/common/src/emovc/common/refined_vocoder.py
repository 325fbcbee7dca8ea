"""A HiFi-GAN at the level it learned, refined by a few iterations of Griffin-Lim."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.checked_values import read_object
from emovc.common.errors import UserError
from emovc.common.files import read_json, write_json
from emovc.common.griffin_lim import GriffinLim
from emovc.common.vocoder import HiFiGAN
from emovc.common.vocoder_files import find_generator

# Loudness of recordings whose peak is .95, which is what the official training makes of all.
OFFICIAL_LEVEL = 1.5
LOUD_FRAMES = 5  # 58 ms: fewer are moved by a click, more by how long the loudest vowel is
SYNTHESIS = "synthesis"  # key of config.json
SHIPPED = Path(__file__).parent / "vocoder_weights"


def loudness(mel: Tensor, frontend: LogMel) -> Tensor:
    """Natural logarithm of the magnitude of the loudest frames of log-mels (B, M, T), (B, 1, 1).

    Silence before, after or between the words doesn't change it, nor does padding, as the mean
    over all frames would be.
    """
    mel = mel if frontend.log == "ln" else mel * math.log(10)
    frames = torch.logsumexp(2 * mel, dim=1, keepdim=True)  # power of each, (B, 1, T)
    loudest = frames.topk(min(LOUD_FRAMES, frames.shape[2]), dim=2).values
    return 0.5 * (loudest.logsumexp(2, keepdim=True) - math.log(loudest.shape[2]))


class RefinedVocoder(nn.Module):
    """Brings mels to the level a network learned, refines its phases, and undoes the gain.

    A network that was trained on recordings of one peak makes noise of soft ones: through the
    official V2 of LJ Speech, recordings as they are lose half of their words, at its level hardly
    any. Its harmonics are in place, its magnitudes less so; iterations of Griffin-Lim from its
    phases bring the magnitudes to those of the mel. Twice the input gives twice the output.

    Args:
        network: The network.
        level: Loudness that mels are brought to, see :func:`loudness`; ``None`` leaves them.
        n_iter: Iterations of Griffin-Lim; 0 leaves the network's waveform as it is.
        momentum: Momentum of the iterations.

    Raises:
        UserError: A number is out of its range.
    """

    def __init__(
        self,
        network: HiFiGAN,
        level: float | None = OFFICIAL_LEVEL,
        n_iter: int = 0,
        momentum: float = 0.99,
    ) -> None:
        super().__init__()
        if n_iter < 0:
            raise UserError(f"vocoder: {n_iter} iterations of Griffin-Lim; give 0 or more")
        self.network = network
        self.frontend: LogMel = network.frontend
        self.level = level
        self.n_iter = n_iter
        self.momentum = momentum
        self.refine = GriffinLim(network.frontend, n_iter, momentum) if n_iter else None

    @property
    def pretrained(self) -> bool:
        """Whether the network's weights are more than random."""
        return self.network.pretrained

    @property
    def label(self) -> str:
        """What reports call it: weights by their hash, level and iterations."""
        level = "as is" if self.level is None else f"{self.level:g}"
        return f"{self.network.label}, level {level}, {self.n_iter} iterations of Griffin-Lim"

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None) -> "RefinedVocoder":
        """Load a vocoder; the result is in evaluation mode.

        Args:
            path: What :meth:`HiFiGAN.from_pretrained` takes, or a folder of
                :meth:`save_pretrained`, whose ``config.json`` says level and iterations; without
                them the level is the official one and there is no iteration. ``None``: the vocoder
                for emotional speech that comes with emovc.

        Raises:
            UserError: There is no vocoder, it is damaged, or its settings are malformed.
        """
        folder = SHIPPED if path is None else Path(path)
        network = HiFiGAN.from_pretrained(folder)
        config = {}
        if folder.suffix != ".ckpt" and not (folder / "checkpoints").is_dir():
            config = read_object(find_generator(folder).parent / "config.json")
        given = config.get(SYNTHESIS, {})
        try:
            level = _number(given.get("level", OFFICIAL_LEVEL))
            n_iter, momentum = int(given.get("n_iter", 0)), float(given.get("momentum", 0.99))
        except (AttributeError, TypeError, ValueError):
            raise UserError(
                f"{folder}: config.json: {SYNTHESIS} {given!r} is malformed; take the original file"
            ) from None
        return cls(network, level, n_iter, momentum).eval()

    def save_pretrained(self, folder: Path, card: str | None = None, half: bool = False) -> None:
        """Write ``config.json`` and ``model.safetensors``; the weights have the official names.

        Args:
            folder: Folder to write to.
            card: Text of a ``README.md``.
            half: Round the weights to half precision.

        Raises:
            UserError: The weights are random.
        """
        self.network.save_pretrained(folder, card, half)
        config = read_json(folder / "config.json")
        own = {"level": self.level, "n_iter": self.n_iter, "momentum": self.momentum}
        write_json(folder / "config.json", {**config, SYNTHESIS: own})

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        """Synthesise waveforms (B, T * hop) of log-mels (B, M, T)."""
        if self.level is None:
            return self._synthesize(mel)
        shift = self.level - loudness(mel, self.frontend)  # (B, 1, 1)
        scale = 1.0 if self.frontend.log == "ln" else math.log(10)
        return self._synthesize(mel + shift / scale) * (-shift[:, 0]).exp()

    def _synthesize(self, mel: Tensor) -> Tensor:
        """Waveforms (B, T * hop) of mels at the network's level."""
        wav = self.network(mel)
        return wav if self.refine is None else self.refine(mel, wav)


def _number(value: object) -> float | None:
    """A float or ``None``; ValueError for anything else."""
    if value is not None and not isinstance(value, (int, float)):
        raise ValueError(value)
    return None if value is None else float(value)
