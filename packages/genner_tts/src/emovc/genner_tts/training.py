"""How Genner TTS is trained: it learns to say texts again, with itself as the reference."""

import math
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.common.batch import Batch
from emovc.common.errors import UserError
from emovc.common.speaker import SpeakerEncoder
from emovc.genner_tts.acoustic_outputs import AcousticOutput
from emovc.genner_tts.objective import LossWeights, Target, duration_error, losses_of
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.style_level import Reference
from emovc.genner_tts.synthesizer import GennerTTS
from emovc.genner_tts.text_data import DURATIONS, PHONES, WORDS, TextDataModule
from emovc.genner_tts.timeline import phones_of_frames
from emovc.genner_tts.tts_preparation import (
    load_aligner,
    load_quantizer,
    partly_quantised,
    require_features,
    require_frames,
    take_statistics,
)


class Phase(NamedTuple):
    """Which parts of local style are on.

    Attributes:
        attention: It is aligned by attention, not by force.
        codes: It is put on codes.
    """

    attention: bool
    codes: bool


class LitGennerTTS(L.LightningModule):
    """Train the acoustic model on texts with known durations; speaker and aligner stay as they are.

    The reference is the utterance itself. Its local style is aligned by force at first, then by
    attention, and later put on codes. The flow is trained from the beginning, apart from the rest.

    Source: Huang et al., "GenerSpeech", NeurIPS 2022, and the authors' code, whose numbers of steps
    are the defaults.

    Args:
        model: The synthesizer.
        aligner: Run, checkpoint or exported folder of the aligner that made the durations; not
            needed by a model without one.
        attention_from: Step from which references are aligned by attention.
        codes_from: Step from which local style is put on codes.
        weights: Weights of the losses.
        lr: Highest learning rate of AdamW.
        warmup_steps: Steps in which it is reached; then it falls with the root of the step.
        quantizer: Folder of an emotion quantiser; some utterances then train with quantised
            emotion vectors.
        quantised_share: Share of utterances that do, each with a lambda drawn for it.

    Raises:
        UserError: The phases are out of order, or a share is none.
    """

    def __init__(
        self,
        model: GennerTTS,
        aligner: str | None = None,
        attention_from: int = 20_000,
        codes_from: int = 20_500,
        weights: LossWeights | None = None,
        lr: float = 1.4e-3,
        warmup_steps: int = 2_000,
        quantizer: str | None = None,
        quantised_share: float = 0.3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if not 0 <= attention_from <= codes_from or not 0 <= quantised_share <= 1:
            raise UserError(
                f"model: attention_from {attention_from} must be 0 to codes_from {codes_from}, and"
                f" quantised_share {quantised_share} 0 to 1"
            )
        self.model = model
        self.aligner = aligner
        self.attention_from = attention_from
        self.codes_from = codes_from
        self.weights = weights or LossWeights()
        self.lr = lr
        self.warmup_steps = warmup_steps
        self.quantizer = quantizer
        self.quantised_share = quantised_share
        self._quantizer: list[EmotionQuantizer] = []  # hidden: it is no part of the model
        self._rows: Tensor | None = None
        for part in self._frozen():
            part.requires_grad_(False)
        self.train()  # Lightning keeps the modes it finds

    def setup(self, stage: str) -> None:
        """Load the speaker encoder, and check the data.

        Raises:
            UserError: The data lacks features or durations, or they don't fit.
        """
        self._rows = None
        if not self.model.speaker.pretrained:
            rate = self.model.frontend.sample_rate
            self.model.speaker = SpeakerEncoder.from_pretrained(sample_rate=rate)
            self.model.speaker.requires_grad_(False)
        feature = self.model.emotion.feature
        stores = require_features(self._data, ("f0", "dvector", feature))
        self.model.emotion.follow(stores[feature])

    def on_fit_start(self) -> None:
        """Take phones, aligner and F0 of the corpus; a run that goes on has them.

        Raises:
            UserError: Something is missing or doesn't fit.
        """
        model, data = self.model, self._data
        if model.aligner is not None and not model.aligner.pretrained:
            assert data.durations is not None
            load_aligner(model.aligner, self.aligner, data.durations)
        if not model.phones.filled:
            model.phones.fill(data.inventory)
            take_statistics(model.acoustic, data, model.emotion.feature)
        if self.quantizer is not None:
            self._quantizer = [load_quantizer(self.quantizer, model.emotion.dim, self.device)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The aligner comes with the checkpoint."""
        if self.model.aligner is not None:
            self.model.aligner.pretrained = True

    def train(self, mode: bool = True) -> "LitGennerTTS":
        """Keep the frozen networks in evaluation."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        emotion = self._varied(batch.features[self.model.emotion.feature])
        out, losses, loss = self._run(batch, emotion)
        self.log_dict({f"train/loss_{name}": value.detach() for name, value in losses.items()})
        for level, aligned in out.levels.items():
            if aligned.style.perplexity is not None:
                self.log(f"train/perplexity_{level}", aligned.style.perplexity)
        self.log("train/loss", loss.detach(), prog_bar=True)
        if self.trainer.world_size > 1:  # processes wait for gradients of parts that are off too
            loss = loss + 0 * sum(p.sum() for p in self.model.acoustic.parameters())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Losses in the phase of training."""
        self._score(batch, batch_idx, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, batch_idx, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """The decoder's log-mel (M, T) of each utterance, with true durations and F0."""
        out, _, _ = self._run(batch, batch.features[self.model.emotion.feature])
        pairs = zip(out.mel * self.model.log_unit, out.mask.sum(1).int().tolist(), strict=True)
        return [{"log_mel": mel[:, :n]} for mel, n in pairs]

    def configure_optimizers(self) -> Any:
        """AdamW of the acoustic model, with the rate of :meth:`rate_at`."""
        weights = self.model.acoustic.parameters()
        optimizer = torch.optim.AdamW(weights, self.lr, betas=(0.9, 0.98), weight_decay=0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_at)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def rate_at(self, step: int) -> float:
        """Learning rate over the highest one: a linear rise, then the inverse root of the step."""
        return min((step + 1) / self.warmup_steps, math.sqrt(self.warmup_steps / (step + 1)))

    def phase_at(self, step: int) -> Phase:
        """What is on at a step."""
        return Phase(step >= self.attention_from, step >= self.codes_from)

    @property
    def _data(self) -> TextDataModule:
        """The data module."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def _frozen(self) -> list[torch.nn.Module]:
        """Networks that aren't trained."""
        aligner = self.model.aligner
        return [self.model.speaker, *([] if aligner is None else [aligner])]

    def _target(self, batch: Batch) -> Target:
        """What the model should give for a batch."""
        if self._rows is None:
            self._rows = self.model.phones.rows_of(self._data.inventory)
        mel = self.model.decimal_mel(batch.wav)
        durations, f0_hz = batch.features[DURATIONS], batch.features["f0"]
        require_frames(batch.ids, durations, self.model.frontend.frames(batch.lengths))
        f0_hz = F.pad(f0_hz, (0, mel.shape[2] - f0_hz.shape[1]))
        phones = self._rows.to(self.device)[batch.features[PHONES]]
        f0 = self.model.acoustic.pitch.scale.normalised(f0_hz)
        return Target(mel, phones, batch.features[WORDS], durations, f0_hz, f0)

    def _run(
        self, batch: Batch, emotion: Tensor
    ) -> tuple[AcousticOutput, dict[str, Tensor], Tensor]:
        """What the model gives for a batch, its losses by name, and their weighted sum."""
        target, phase = self._target(batch), self.phase_at(self.global_step)
        mel2ph = phones_of_frames(target.durations)
        mel2word = F.pad(target.words, (1, 0)).gather(1, mel2ph)
        mask = (mel2ph > 0).to(target.mel.dtype)
        out = self.model.acoustic(
            target.phones,
            mel2ph,
            batch.features["dvector"],
            emotion,
            target.f0_hz,
            [Reference(target.mel, mask, mel2ph, mel2word)],
            target.mel,
            alignment="attention" if phase.attention else "forced",
            quantise=phase.codes,
        )
        losses = losses_of(out, target, phase.attention)
        return out, losses, self.weights.total(losses)

    def _varied(self, emotion: Tensor) -> Tensor:
        """Emotion vectors (B, E), some of them quantised if that was asked for."""
        if not self._quantizer:
            return emotion
        return partly_quantised(self._quantizer[0], emotion, self.quantised_share)

    def _score(self, batch: Batch, batch_idx: int, stage: str) -> None:
        """Log the losses of a batch, with noise that is the same each time."""
        gpu = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpu):
            torch.manual_seed(batch_idx)
            out, losses, loss = self._run(batch, batch.features[self.model.emotion.feature])
        values = {f"{stage}/loss_{name}": value for name, value in losses.items()}
        values |= {
            f"{stage}/loss": loss,
            f"{stage}/mel_l1": losses["mel"] * self.model.log_unit,
            f"{stage}/duration_error": duration_error(out.log_durations, batch.features[DURATIONS]),
        }
        self.log_dict(values, sync_dist=True, batch_size=int(out.mask.sum()))
