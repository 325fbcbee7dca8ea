"""How the emotion quantiser is trained: codes follow averages, their prior follows gradients."""

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from emovc.common.errors import UserError
from emovc.genner_tts.codebooks import usage_perplexity
from emovc.genner_tts.embedding_batch import EmbeddingBatch
from emovc.genner_tts.prior import MOST_BITS, CodePrior
from emovc.genner_tts.quantizer import EmotionQuantizer

FRESH = 10.0  # up to so many times the least lambda an embedding may replace dead codes
GRID = 4  # lambdas that validation looks at


class LitEmotionQuantizer(L.LightningModule):
    """Train codebooks and prior on stored embeddings: distortion + lambda * rate.

    Every embedding has a lambda of its own, log-uniform over the model's range. Its codes are
    chosen by the rule that will be used later; then they move towards the means of what chose them,
    and the prior learns to expect the choice. Validation averages over a few lambdas.

    Source: Feng et al., "NVTC: nonlinear vector transform coding", CVPR 2023.

    Args:
        model: The quantiser; its prior must be a network.
        warm_up_epochs: Epochs with lambda 0, while the prior knows nothing.
        lr: Learning rate of the prior; it falls to 0 by a cosine over ``trainer.max_steps``.
        weight_decay: Of AdamW.
        seed: Of k-means.

    Raises:
        UserError: The prior has nothing to train.
    """

    def __init__(
        self,
        model: EmotionQuantizer,
        warm_up_epochs: int = 1,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(model.prior, CodePrior):
            raise UserError(
                "model.prior: tables aren't trained; train a network, then take tables of it"
            )
        # The model as its class path, whoever built it: checkpoints hold plain types only.
        self.save_hyperparameters(logger=False, ignore=["model"])
        self.hparams["model"] = model.description
        self.model = model
        self.warm_up_epochs = warm_up_epochs
        self.lr = lr
        self.weight_decay = weight_decay
        self.seed = seed

    def setup(self, stage: str) -> None:
        """Check that the schedule has an end.

        Raises:
            UserError: The number of steps is open.
        """
        if stage == "fit" and self.trainer.max_steps < 1:
            raise UserError("trainer.max_steps: must be set, as the learning rate falls with it")

    def on_fit_start(self) -> None:
        """Fill the codebooks; a run that goes on has them from its checkpoint.

        Raises:
            UserError: The training embeddings are too few or of another size.
        """
        if not self.model.codebooks.filled:
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self.model.fit_codebooks(data.training_embeddings().to(self.device), self.seed)

    def on_train_start(self) -> None:
        """From here on the weights are more than random."""
        self.model.pretrained = True

    def training_step(self, batch: EmbeddingBatch, batch_idx: int) -> Tensor:
        """Choose codes, move the codebooks, and give the prior's cross-entropy in nat per code."""
        model = self.model
        lam = self.draw_lambda(len(batch.ids))
        x = model.space(batch.embedding)
        chosen = model.choose(x, lam)
        bits = self._code_bits(chosen.indices, lam)
        low = lam <= FRESH * model.lam_range[0]
        each = math.prod(x.shape[1:-1])  # vectors that share a lambda
        flat = chosen.indices.flatten(0, -3)
        model.codebooks.update(x.flatten(0, -2), flat, low.repeat_interleave(each))
        # Bounded as the coder bounds it; the prior learns from the unbounded cost.
        rate = bits.detach().clamp(max=MOST_BITS).sum((1, 2))
        per_vector = chosen.distortion.flatten() + lam.repeat_interleave(each) * rate
        self._log_step(per_vector, chosen.distortion, rate, flat)
        return bits.mean() * math.log(2)

    def draw_lambda(self, count: int) -> Tensor:
        """Lambda of each item of a batch, (B,)."""
        if self.trainer.current_epoch < self.warm_up_epochs:
            return torch.zeros(count, device=self.device)
        return self.model.draw_lambdas(count, self.device)

    def validation_step(self, batch: EmbeddingBatch, batch_idx: int) -> None:
        """Rate and distortion at a few lambdas."""
        self._score(batch, "val")

    def test_step(self, batch: EmbeddingBatch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def predict_step(self, batch: EmbeddingBatch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Code numbers and quantised embedding of each utterance at the least lambda."""
        made = self.model(batch.embedding, self.model.lam_range[0])
        pairs = zip(made.indices, made.quantized, strict=True)
        return [{"indices": indices, "quantized": quantized} for indices, quantized in pairs]

    def configure_optimizers(self) -> Any:
        """AdamW for the prior, with a cosine by step."""
        optimizer = AdamW(self.model.prior.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        schedule = LambdaLR(optimizer, self._share_of_lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _share_of_lr(self, step: int) -> float:
        """Of the step; without a trainer there is no schedule."""
        steps = self._trainer.max_steps if self._trainer is not None else 0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))) if steps > 0 else 1.0

    def _code_bits(self, indices: Tensor, lam: Tensor) -> Tensor:
        """Cost (N, S, G) of codes (B, S, G) or (B, T, S, G), with gradients for the prior."""
        prior, books = self.model.prior, self.model.codebooks
        codes = books.codes.clone()  # the codebooks move before gradients are taken of these
        if indices.ndim == 3:
            return prior.code_bits(indices, codes, lam)
        memory = prior.remember(books.decode(indices))
        flat = None if memory is None else memory.flatten(0, 1)
        each = lam.repeat_interleave(indices.shape[1])
        return prior.code_bits(indices.flatten(0, 1), codes, each, flat)

    def _log_step(self, loss: Tensor, distortion: Tensor, rate: Tensor, indices: Tensor) -> None:
        """Log what a training step cost, and how many codes it used."""
        values = {
            "train/distortion": distortion.mean(),
            "train/bits": rate.mean(),
            "train/perplexity": usage_perplexity(indices, self.model.codebooks.n_codes).mean(),
        }
        self.log_dict(values, batch_size=len(distortion))
        self.log("train/loss", loss.mean(), prog_bar=True, batch_size=len(distortion))

    def _score(self, batch: EmbeddingBatch, stage: str) -> None:
        """Log the objective over a grid of lambdas, and its parts at each."""
        low, high = self.model.lam_range
        losses = []
        for k in range(GRID):
            lam = low * (high / low) ** (k / (GRID - 1))
            made = self.model(batch.embedding, lam)
            losses.append(made.distortion.mean() + lam * made.bits.mean())
            values = {"bits": made.bits.mean(), "distortion": made.distortion.mean()}
            named = {f"{stage}/{name}_{lam:.0e}": value for name, value in values.items()}
            self.log_dict(named, sync_dist=True, batch_size=len(batch.ids))
        mean = torch.stack(losses).mean()
        self.log(f"{stage}/loss", mean, prog_bar=True, sync_dist=True, batch_size=len(batch.ids))
