"""How the codec is trained, with discriminators or without.

Source: Zeghidour et al., "SoundStream", IEEE/ACM TASLP 2021, section III-E; discriminators and
their losses are HiFi-GAN's.
"""

from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler

from emovc.common.batch import Batch
from emovc.common.discriminators import Discriminator
from emovc.common.errors import UserError
from emovc.common.vocoder_losses import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    mel_loss,
)
from emovc.ser.codec import Codec, Coded
from emovc.ser.codec_losses import SpectralLoss, waveform_loss
from emovc.ser.residual_quantizer import code_shares, perplexity


class LitCodec(L.LightningModule):
    """Train a codec on crops.

    With a discriminator Lightning's ``global_step`` counts two steps per batch, one for each
    optimiser, and on several devices the trainer needs the strategy
    ``ddp_find_unused_parameters_true``.

    Args:
        model: The codec.
        discriminator: What it is also trained against; ``None`` leaves that out.
        spectral_weight: Weight of the spectral loss.
        waveform_weight: Weight of the waveform's own difference.
        commitment_weight: Weight of the distance of latents from their codes.
        adversarial_weight: Weight of deceiving the discriminator.
        feature_weight: Weight of the feature matching loss.
        lr: Learning rate of the optimisers.
        betas: Their decay rates of the moments.
        lr_decay: Factor of the learning rate after each batch.
        clip: Largest norm of the gradient of each network.
    """

    def __init__(
        self,
        model: Codec,
        discriminator: Discriminator | None = None,
        spectral_weight: float = 1.0,
        waveform_weight: float = 10.0,
        commitment_weight: float = 0.25,
        adversarial_weight: float = 0.1,
        feature_weight: float = 0.2,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.8, 0.99),
        lr_decay: float = 0.999996,
        clip: float = 1.0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Modules as class paths, whoever built them: checkpoints hold plain types only.
        self.save_hyperparameters(logger=False, ignore=["model", "discriminator"])
        self.hparams["model"] = model.description
        self.hparams["discriminator"] = discriminator.description if discriminator else None
        self.model = model
        self.discriminator = discriminator
        self.spectral_loss = SpectralLoss(model.sample_rate)
        self.weights = {
            "spectral": spectral_weight,
            "waveform": waveform_weight,
            "commitment": commitment_weight,
            "adv": adversarial_weight,
            "fm": feature_weight,
        }
        self.lr = lr
        self.betas = betas
        self.lr_decay = lr_decay
        self.clip = clip

    def setup(self, stage: str) -> None:
        """Check the data's rate.

        Raises:
            UserError: It is another than the codec's.
        """
        rate = self.model.sample_rate
        given = getattr(getattr(self.trainer, "datamodule", None), "sample_rate", rate)
        if given != rate:
            raise UserError(f"data.sample_rate: is {given}, but the codec needs {rate}")

    def on_train_start(self) -> None:
        """From here on the weights are more than random."""
        self.model.pretrained = True

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of each network; both see the same decoded waveforms."""
        coded = self.model(batch.wav)
        if self.discriminator is not None:
            self._discriminator_step(self.discriminator, batch.wav, coded.wav.detach())
        self._codec_step(batch.wav, coded)
        schedulers: Any = self.lr_schedulers()
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            scheduler.step()  # under manual optimisation Lightning doesn't

    def _discriminator_step(self, judge: Discriminator, wav: Tensor, fake: Tensor) -> None:
        """Learn to tell real waveforms (B, N) from decoded ones."""
        loss = discriminator_loss(judge(wav).scores, judge(fake).scores)
        self._step(1, loss)
        self.log("train/loss_discriminator", loss.detach(), batch_size=len(wav))

    def _codec_step(self, wav: Tensor, coded: Coded) -> None:
        """Learn to sound like the real waveform (B, N), and to deceive the discriminator."""
        losses = {
            "spectral": self.spectral_loss(wav, coded.wav),
            "waveform": waveform_loss(wav, coded.wav),
            "commitment": coded.commitment,
        }
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
            with torch.no_grad():
                real = self.discriminator(wav)
            judged = self.discriminator(coded.wav)
            losses["adv"] = adversarial_loss(judged.scores)
            losses["fm"] = feature_matching_loss(real.features, judged.features)
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        self._step(0, total)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(True)
        logged = {f"loss_{name}": loss.detach() for name, loss in losses.items()}
        logged |= self._usage(coded.codes)
        self.log_dict({f"train/{k}": v for k, v in logged.items()}, batch_size=len(wav))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(wav))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Distance of real and decoded utterances with all stages."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        self._score(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Codes (Q, T) and decoded waveform (N,) of each utterance."""
        return [{"codes": one.codes[0], "wav": one.wav[0]} for _, one in self._alone(batch)]

    def _alone(self, batch: Batch) -> Iterator[tuple[Tensor, Coded]]:
        """Each utterance (1, N) and what becomes of it, alone: padding would change its end."""
        for row, length in zip(batch.wav, batch.lengths.tolist(), strict=True):
            wav = row[None, :length]
            yield wav, self.model(wav)

    def _score(self, batch: Batch, stage: str) -> None:
        """Log the errors of whole utterances; every utterance weighs the same."""
        frontend = self.model.frontend
        for wav, coded in self._alone(batch):
            values = {
                "loss": self.spectral_loss(wav, coded.wav),
                "mel_l1": mel_loss(frontend(wav), frontend(coded.wav)),
                **self._usage(coded.codes),
            }
            named = {f"{stage}/{name}": value for name, value in values.items()}
            self.log_dict(named, sync_dist=True, batch_size=1)

    def _usage(self, codes: Tensor) -> dict[str, Tensor]:
        """How many codes of the first and of the last stage are in use."""
        used = perplexity(code_shares(codes, self.model.quantizer.size))
        return {"perplexity_first": used[0], "perplexity_last": used[-1]}

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Optimisers of the codec and of the discriminator, and their schedules."""
        networks = [self.model, *([self.discriminator] if self.discriminator else [])]
        optimizers = [AdamW(n.parameters(), lr=self.lr, betas=self.betas) for n in networks]
        return list(optimizers), [ExponentialLR(o, gamma=self.lr_decay) for o in optimizers]

    def _step(self, number: int, loss: Tensor) -> None:
        """Descend with one of the optimisers."""
        found: Any = self.optimizers()
        optimizer = found[number] if isinstance(found, list) else found
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, gradient_clip_val=self.clip)
        optimizer.step()
