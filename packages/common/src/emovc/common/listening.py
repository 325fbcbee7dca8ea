"""The listening set: the same few conversions in every run of a corpus, heard as training goes."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_warn

from emovc.common.after_validations import AfterValidations, samples_so_far
from emovc.common.conversion import CopySynthesis, Vocoder
from emovc.common.convert import load_vocoder
from emovc.common.errors import UserError
from emovc.common.files import file_name
from emovc.common.loggers import WandbCurves
from emovc.common.manifest import Utterance
from emovc.common.pair_conversion import PairConverter, draw_pair
from emovc.common.pairs import Pair, conversion_pairs
from emovc.common.speakers_file import known_speakers
from emovc.common.wav import write_wav


class ListeningSet(AfterValidations):
    """Converts a fixed set of validation pairs after validations, and logs what comes out.

    Files go to ``<run>/media/<step>/``, and to W&B as one table ``media/audio`` whose rows have the
    same ids in every run, with ``media/mel`` and ``media/f0``. A corpus without parallel sentences
    is listened to by conversion towards itself, and a vocoder by copy-synthesis.

    Args:
        n_pairs: Conversions.
        every_n_validations: Validations from one listening to the next.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
    """

    def __init__(
        self, n_pairs: int = 4, every_n_validations: int = 5, vocoder: str | None = None
    ) -> None:
        super().__init__(every_n_validations)
        self.n_pairs = n_pairs
        self.vocoder = vocoder
        self._voice: Vocoder | None = None

    def look(self, trainer: L.Trainer, pl_module: L.LightningModule, folder: Path) -> None:
        """Convert and log."""
        device_ids = [pl_module.device.index] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=device_ids):  # leave training's random state alone
            self._listen(trainer, pl_module, folder)

    def _listen(self, trainer: L.Trainer, pl_module: L.LightningModule, folder: Path) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        converter = self._converter(pl_module, data.manifest)
        if converter is None:
            return
        heard = []
        for pair in listening_pairs(data.of_split("val"), self.n_pairs):
            try:
                made = converter.convert(pair)[0]
            except UserError as error:  # no reason to end a training
                rank_zero_warn(f"{pair.id}: is not listened to, {error}")
                continue
            heard.append(pair.id)
            clips = {
                "source": converter.recording(pair.source),
                "model": made,
                "target": converter.recording(pair.target),
            }
            for row, clip in clips.items():
                write_wav(folder / f"{pair.id}.{row}.wav", clip.wav, converter.rate)
            draw_pair(pair, clips, converter.frontend, folder)
        for logger in trainer.loggers:
            if heard and isinstance(logger, WandbCurves):
                logger.log_media(heard, folder, samples_so_far(trainer))

    def _converter(self, pl_module: L.LightningModule, manifest: Path) -> PairConverter | None:
        """What is listened to: the module's converter, or its vocoder, or nothing."""
        model: Any = getattr(pl_module, "model", None)
        generator: Any = getattr(pl_module, "generator", None)
        if generator is not None:
            copy = CopySynthesis(generator.frontend)
            return PairConverter(copy, generator, {}, device=pl_module.device)
        if not hasattr(model, "convert"):
            return None
        if self._voice is None:
            folder = Path(self.vocoder) if self.vocoder else None
            self._voice = load_vocoder(folder, model.frontend, str(pl_module.device))
        known = known_speakers(manifest)
        return PairConverter(model, self._voice, known, device=pl_module.device)


def listening_pairs(utterances: list[Utterance], n_pairs: int) -> list[Pair]:
    """The pairs of a corpus that every run listens to; without parallel sentences, single ones."""
    try:
        return conversion_pairs(utterances, n_pairs)
    except UserError:
        alone = sorted(utterances, key=lambda u: u.sha256)[:n_pairs]
        return [Pair(file_name(u.id), u, u, None) for u in alone]
