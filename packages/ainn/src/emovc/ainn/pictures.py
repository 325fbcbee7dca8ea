"""Pictures of training: the emotional cue, and the strength of conversions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch

from emovc.ainn.converter import AINN
from emovc.common.after_validations import AfterValidations, log_images
from emovc.common.audio import LogMel
from emovc.common.conversion import EmotionTarget
from emovc.common.convert import read_speech
from emovc.common.manifest import Utterance
from emovc.common.pictures import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CuePictures(AfterValidations):
    """Draws the cue over spectrograms, and the strength of conversions against their references.

    Files go to ``<run>/media/<step>/``, and to W&B as ``media/attention``. Strengths are those of
    the model's own head R_s: they tell what Stage II optimises, not how strong it sounds.

    Args:
        n_utterances: Utterances drawn, and converted towards each other.
        every_n_validations: Validations from one drawing to the next.
    """

    def __init__(self, n_utterances: int = 6, every_n_validations: int = 5) -> None:
        super().__init__(every_n_validations)
        self.n_utterances = n_utterances

    @torch.no_grad()
    def look(self, trainer: L.Trainer, pl_module: L.LightningModule, folder: Path) -> None:
        """Draw both pictures."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        model: Any = pl_module.model
        rows = sorted(data.of_split("val"), key=lambda u: u.sha256)
        emotional = [u for u in rows if u.emotion != "neutral"][: self.n_utterances]
        files = [folder / "cue.png", folder / "strength.png"]
        device = str(pl_module.device)
        save_figure(draw_cues(model, emotional, device), files[0])
        save_figure(draw_strengths(*strengths(model, rows, emotional, device)), files[1])
        log_images(trainer, "media/attention", files)


def draw_cues(model: AINN, utterances: Sequence[Utterance], device: str) -> "Figure":
    """Log-mels with the cue of each frame above them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.9 * len(utterances)), layout="constrained")
    axes = figure.subplots(len(utterances), 1, squeeze=False)[:, 0]
    for axis, u in zip(axes, utterances, strict=True):
        speech = read_speech(u.path, model.frontend.sample_rate, device)
        heard = model.emotion_of(speech, u.emotion)
        _cue_over_mel(axis, model.frontend, model.frontend(speech.wav[None])[0], heard.cue[0])
        axis.set_title(f"{u.id}: {u.emotion}, strength {float(heard.strength):.2f}", fontsize=9)
    axes[-1].set_xlabel("time in s")
    return figure


def _cue_over_mel(axis: Any, frontend: LogMel, log_mel: torch.Tensor, cue: torch.Tensor) -> None:
    """One spectrogram (M, T) and the cue (T,) as a line."""
    mel = log_mel.cpu().numpy()
    seconds = mel.shape[1] / frontend.frame_rate
    extent = (0.0, seconds, 0.0, 1.0)
    axis.imshow(
        mel, origin="lower", aspect="auto", extent=extent, vmin=mel.max() - 10, cmap="gray_r"
    )
    axis.plot(np.linspace(0, seconds, mel.shape[1]), cue.cpu().numpy(), color="#d1462f")
    axis.set_ylabel("cue")
    axis.set_ylim(0, 1.02)


def strengths(
    model: AINN, rows: Sequence[Utterance], references: Sequence[Utterance], device: str
) -> tuple[list[float], list[float]]:
    """R_s of references, and of neutral speech of their speakers converted towards them."""
    encoders, rate = model.encoders, model.frontend.sample_rate
    asked, reached = [], []
    for reference in references:
        own = [u for u in rows if u.speaker == reference.speaker and u.emotion == "neutral"]
        if not own:
            continue
        heard = read_speech(reference.path, rate, device)
        source = read_speech(own[0].path, rate, device, own[0].speaker)
        log_mel = model.convert(source, EmotionTarget([heard], reference.emotion))
        mel = model.scale(log_mel)[None]
        category = torch.tensor([encoders.index(str(reference.emotion))], device=mel.device)
        found = encoders.hear(mel, mel.new_ones(1, mel.shape[2]), category)
        asked.append(float(model.emotion_of(heard, reference.emotion).strength))
        reached.append(float(found.strength))
    return asked, reached


def draw_strengths(asked: Sequence[float], reached: Sequence[float]) -> "Figure":
    """Strength of conversions against that of their references."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    axis.plot(asked, reached, "o", color="#1f5fa8")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("strength of the reference (R_s)")
    axis.set_ylabel("strength of the conversion (R_s)")
    return figure
