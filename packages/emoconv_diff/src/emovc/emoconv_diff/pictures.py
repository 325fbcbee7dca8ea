"""Pictures of the reverse diffusion: from noise around the average voice to a mel."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch

from emovc.common.after_validations import AfterValidations, log_images
from emovc.common.audio import LogMel
from emovc.common.conversion import EmotionTarget, Speech
from emovc.common.convert import read_speech
from emovc.common.pictures import save_figure
from emovc.emoconv_diff.converter import EmoConvDiff

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 5  # states


class ReversePictures(AfterValidations):
    """Draws how a validation utterance is rebuilt, beside what it is rebuilt from.

    Files go to ``<run>/media/<step>/reverse.png``, and to W&B as ``media/reverse``. The utterance
    is drawn with its own emotion, so that the last picture is to look like the first.

    Args:
        every_n_validations: Validations from one drawing to the next.
    """

    def __init__(self, every_n_validations: int = 2) -> None:
        super().__init__(every_n_validations)

    def look(self, trainer: L.Trainer, pl_module: L.LightningModule, folder: Path) -> None:
        """Draw the strip."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        model: Any = pl_module.model
        chosen = min(data.of_split("val"), key=lambda u: u.sha256)
        speech = read_speech(chosen.path, model.frontend.sample_rate, str(pl_module.device))
        path = folder / "reverse.png"
        save_figure(draw_reverse(model, speech, EmotionTarget([speech])), path)
        log_images(trainer, "media/reverse", [path])


@torch.no_grad()
def draw_reverse(
    model: EmoConvDiff, source: Speech, target: EmotionTarget, seed: int = 0
) -> "Figure":
    """A strip of mels: the source, its average voice, and states of the reverse diffusion.

    Args:
        model: The converter.
        source: Utterance to convert.
        target: What towards.
        seed: Seed of the noise.
    """
    mel = model.frontend(source.wav[None])
    given = model.conditions([source], [target])
    states = list(model.states(given, [torch.Generator().manual_seed(seed)]))
    chosen = np.unique(np.linspace(0, len(states) - 1, SHOWN).round().astype(int)).tolist()
    images = {"source": mel[0], "average voice": given.y[0]}
    images |= {f"step {i} of {len(states) - 1}": states[i][0] for i in chosen}
    arrays = [image.float().cpu().numpy() for image in images.values()]
    return _strip(list(images), arrays, model.frontend)


def _strip(titles: Sequence[str], mels: Sequence[np.ndarray], frontend: LogMel) -> "Figure":
    """Mels (M, T) below each other, in one scale of grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.3 * len(mels)), layout="constrained")
    axes = figure.subplots(len(mels), 1, sharex=True, squeeze=False)[:, 0]
    top = max(float(mels[0].max()), -2.0)
    for axis, title, mel in zip(axes, titles, mels, strict=True):
        extent = (0.0, mel.shape[1] / frontend.frame_rate, 0.0, float(mel.shape[0]))
        axis.imshow(
            mel, origin="lower", aspect="auto", extent=extent, vmin=top - 9, vmax=top, cmap="gray_r"
        )
        axis.set_title(title, fontsize=9)
        axis.set_yticks([])
    axes[-1].set_xlabel("time in s")
    return figure
