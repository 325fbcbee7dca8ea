"""How EmoConv-Diff's decoder is trained: it learns to rebuild speech from its own conditions."""

from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from emovc.common.batch import Batch
from emovc.common.emotion_hearing import put_hash
from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore
from emovc.common.files import write_json
from emovc.common.speaker import SpeakerEncoder
from emovc.emoconv_diff.bank import SHARE, Labelled, nearest_level
from emovc.emoconv_diff.converter import EmoConvDiff
from emovc.emoconv_diff.diffusion import diffuse, draw_times, estimate_x0
from emovc.emoconv_diff.losses import reconstruction_loss, score_matching_loss
from emovc.emoconv_diff.preparation import emotion_store, label_source, load_average_voice
from emovc.emoconv_diff.samplers import Conditions


class Losses(NamedTuple):
    """Losses of a batch.

    Attributes:
        score: L_s.
        rec: L_rec.
        trained: L_s as it is trained: weighted by time where the network is scaled.
    """

    score: Tensor
    rec: Tensor
    trained: Tensor


class LitEmoConvDiff(L.LightningModule):
    """Train the score network: L_s + rec_weight L_rec, the encoders frozen.

    Where the model has a ``scaling``, times weigh as that asks; L_s is logged as it is.

    Each batch holds ``dvector`` and the emotion vectors of whole utterances. The bank of levels and
    categories is filled from the training part; ``<run>/bank.json`` lists its members.

    Source: Prabhu et al., "EmoConv-Diff", ICASSP 2024; DiffVC's optimiser, as the paper's isn't
    known to us.

    Args:
        model: The converter.
        average_voice: Run, checkpoint or exported folder of the average-voice encoder.
        rec_weight: lambda_rec.
        n_mfcc: Compare so many MFCC in L_rec; ``None`` compares log-mels.
        drop_emotion: Share of utterances that train without emotion, for guidance; 0 in the paper.
        bank_vectors: Share of utterances that train with the bank's vector of their level in place
            of their own; 0 in the paper.
        reference_share: Share of a level's utterances that its bank vector averages.
        optimizer: Builds the optimiser from the parameters.

    Raises:
        UserError: ``drop_emotion`` is asked for without ``score.null_condition``.
    """

    def __init__(
        self,
        model: EmoConvDiff,
        average_voice: str | None = None,
        rec_weight: float = 1.0,
        n_mfcc: int | None = None,
        drop_emotion: float = 0.0,
        bank_vectors: float = 0.0,
        reference_share: float = SHARE,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-4),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if drop_emotion and model.score.condition.null_emotion is None:
            raise UserError(
                f"model.drop_emotion {drop_emotion}: set score.null_condition: true, or 0"
            )
        self.model = model
        self.average_voice = average_voice
        self.rec_weight = rec_weight
        self.n_mfcc = n_mfcc
        self.drop_emotion = drop_emotion
        self.bank_vectors = bank_vectors
        self.reference_share = reference_share
        self.optimizer = optimizer
        model.encoder.requires_grad_(False)
        model.speaker.requires_grad_(False)
        self.train()  # Lightning keeps the modes it finds
        self._levels: dict[str, int] = {}  # by the id of the utterance

    def setup(self, stage: str) -> None:
        """Load the speaker encoder, and fill the bank.

        Raises:
            UserError: The data lacks features or labels.
        """
        if not self.model.speaker.pretrained:
            rate = self.model.frontend.sample_rate
            self.model.speaker = SpeakerEncoder.from_pretrained(sample_rate=rate)
            self.model.speaker.requires_grad_(False)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        store = emotion_store(data, self.model.emotion.feature)
        if stage == "fit":
            self._fill_bank(data, store)

    def on_fit_start(self) -> None:
        """Load the average-voice encoder; a run that goes on has it from its checkpoint.

        Raises:
            UserError: It is missing, or doesn't fit.
        """
        if not self.model.encoder.pretrained:
            load_average_voice(self.model, self.average_voice)

    def train(self, mode: bool = True) -> "LitEmoConvDiff":
        """Keep the frozen networks in evaluation, without their dropout."""
        super().train(mode)
        self.model.encoder.eval()
        self.model.speaker.eval()
        return self

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The encoder comes with the checkpoint."""
        self.model.encoder.pretrained = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch at times drawn anew."""
        mel, given = self._given(batch, training=True)
        t = draw_times(len(mel), mel.device)
        losses = self._losses(mel, given, torch.randn_like(mel), t)
        loss = losses.trained + self.rec_weight * losses.rec
        self.log("train/loss_score", losses.score.detach())
        self.log("train/loss_rec", losses.rec.detach())
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Losses of whole utterances, at times and noise that are the same in each validation."""
        self._score(batch, batch_idx, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, batch_idx, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Average voice and the log-mel drawn with the utterance's own emotion, (M, T) each."""
        mel, given = self._given(batch)
        drawn = self.model.draw(given, [torch.Generator().manual_seed(0) for _ in mel])
        counts = given.mask.sum(1).int().tolist()
        return [
            {"log_mel": drawn[i, :, :n], "average_voice": given.y[i, :, :n]}
            for i, n in enumerate(counts)
        ]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Optimiser of the score network."""
        return self.optimizer(list(self.model.score.parameters()))

    def _given(self, batch: Batch, training: bool = False) -> tuple[Tensor, Conditions]:
        """Mels (B, M, T) and what they are drawn from."""
        mel = self.model.frontend(batch.wav)
        mask = self.model.frontend.mask(batch.lengths, mel.shape[2])
        with torch.no_grad():
            y = self.model.encoder(mel, mask)
        emotion = batch.features[self.model.emotion.feature]
        if training:
            emotion = self._varied(batch.ids, emotion)
        return mel, Conditions(y, mask, batch.features["dvector"], emotion)

    def _varied(self, ids: list[str], emotion: Tensor) -> Tensor:
        """Emotion vectors (B, E), some of the bank, some of no emotion."""
        if self.bank_vectors:
            levels = [self._levels.get(name) for name in ids]
            rows = torch.tensor([(level or 1) - 1 for level in levels], device=emotion.device)
            known = torch.tensor([level is not None for level in levels], device=emotion.device)
            taken = known & (torch.rand(len(ids), device=emotion.device) < self.bank_vectors)
            emotion = torch.where(taken[:, None], self.model.bank.levels[rows], emotion)
        if self.drop_emotion:
            dropped = torch.rand(len(ids), device=emotion.device) < self.drop_emotion
            emotion = self.model.score.drop_emotion(emotion, dropped)
        return emotion

    def _losses(self, mel: Tensor, given: Conditions, noise: Tensor, t: Tensor) -> Losses:
        """Losses at times (B,) with noise (B, M, T)."""
        schedule = self.model.schedule
        x_t = diffuse(mel, given.y, noise, t, schedule)
        score = self.model.score_of(x_t, t, given)
        x0_hat = estimate_x0(x_t, given.y, score, t, schedule)
        scaling = self.model.scaling
        weight = None if scaling is None else scaling.weight(t, schedule)
        what = (score, noise, t, given.mask, schedule)
        plain = score_matching_loss(*what)
        return Losses(
            plain.detach() if scaling else plain,
            reconstruction_loss(x0_hat, mel, t, given.mask, schedule, self.n_mfcc),
            score_matching_loss(*what, weight) if scaling else plain,
        )

    def _score(self, batch: Batch, batch_idx: int, stage: str) -> None:
        """Log the losses of a batch; its times are spread evenly."""
        mel, given = self._given(batch)
        generator = torch.Generator().manual_seed(batch_idx)
        noise = torch.randn(mel.shape, generator=generator).to(mel)
        t = (torch.arange(len(mel)) + torch.rand(1, generator=generator)) / len(mel)
        losses = self._losses(mel, given, noise, t.to(mel).clamp(1e-3, 1 - 1e-3))
        values = {
            f"{stage}/loss_score": losses.score,
            f"{stage}/loss_rec": losses.rec,
            f"{stage}/loss": losses.trained + self.rec_weight * losses.rec,
        }
        self.log_dict(values, sync_dist=True, batch_size=int(given.mask.sum()))

    def _fill_bank(self, data: Any, store: FeatureStore) -> None:
        """Fill the bank from the training part, and say what is in it."""
        rows = data.of_split("train")
        labels = {u.id: u.arousal for u in rows}
        self._levels = {k: nearest_level(v) for k, v in labels.items() if v is not None}
        self.model.emotion.follow(store)
        utterances = [Labelled(u.id, store.get(u.sha256)[0], u.arousal, u.emotion) for u in rows]
        try:
            members = self.model.bank.fill(utterances, self.reference_share)
        except UserError as error:
            raise UserError(f"{data.manifest}: {error}") from None
        source = label_source(data.manifest)
        if source is not None:
            put_hash(self.model.labels_key, source["weights"])
        if self.trainer.is_global_zero:
            found = {"arousal": source or "labels of the corpus", "levels": members}
            write_json(Path(self.trainer.default_root_dir) / "bank.json", found)
