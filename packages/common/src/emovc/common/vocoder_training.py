"""How HiFi-GAN is trained from scratch, or fine-tuned from a generator.

Source: Kong, Kim and Bae, "HiFi-GAN", NeurIPS 2020, section 3, and the authors' code.
"""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler

from emovc.common.audio import LogMel
from emovc.common.batch import Batch
from emovc.common.discriminators import Discriminator
from emovc.common.errors import UserError
from emovc.common.masking import masked_mean
from emovc.common.vocoder import HiFiGAN
from emovc.common.vocoder_losses import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    mel_loss,
    stft_loss,
)

LOUDEST = 0.95  # peak of what is made louder; that of all recordings in the official training


class LitHiFiGAN(L.LightningModule):
    """Train a HiFi-GAN on crops of whole mel frames (officially 32 frames, 16 crops a batch).

    Lightning's ``global_step`` counts two steps per batch, one for each optimiser. On several
    devices the trainer needs ``strategy: ddp_find_unused_parameters_true``.

    Args:
        generator: The vocoder.
        discriminator: What it is trained against; by default the official one. It starts from
            random weights also when the generator does not.
        init_from: Generator to fine-tune: what :meth:`HiFiGAN.from_pretrained` takes. It must be
            of the same sizes and mel as ``generator``.
        mel_weight: Weight of the mel loss.
        feature_weight: Weight of the feature matching loss.
        lr: Learning rate of both optimisers.
        betas: Their decay rates of the moments.
        lr_decay: Factor of the learning rate after each epoch.
        clip: Largest norm of the gradient of each network; ``None`` does not clip, as officially.
        stft_weight: Weight of the STFT loss; officially 0.
        generator_only_steps: Steps before the discriminator begins to learn and to count. A
            pretrained generator gets used to new voices in them at a third of the cost.
        gain_db: Each crop is made louder by so many dB, drawn between the two; a gain that would
            clip is lowered. ``None``: levels stay as they are, as officially.

    Raises:
        UserError: ``gain_db`` is no range.
    """

    def __init__(
        self,
        generator: HiFiGAN,
        discriminator: Discriminator | None = None,
        init_from: str | None = None,
        mel_weight: float = 45.0,
        feature_weight: float = 2.0,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.8, 0.99),
        lr_decay: float = 0.999,
        clip: float | None = None,
        stft_weight: float = 0.0,
        generator_only_steps: int = 0,
        gain_db: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if gain_db is not None and not gain_db[0] <= gain_db[1]:
            raise UserError(f"model.gain_db {list(gain_db)}: give the lower gain first, [-12, 0]")
        self.automatic_optimization = False
        # Modules as class paths, whoever built them: checkpoints hold plain types only.
        self.save_hyperparameters(logger=False, ignore=["generator", "discriminator"])
        self.generator = generator
        self.discriminator = discriminator or Discriminator()
        self.hparams["generator"] = self.generator.description
        self.hparams["discriminator"] = self.discriminator.description
        self.loss_frontend = full_band(generator.frontend)
        self.init_from = init_from
        self.mel_weight = mel_weight
        self.feature_weight = feature_weight
        self.lr = lr
        self.betas = betas
        self.lr_decay = lr_decay
        self.clip = clip
        self.stft_weight = stft_weight
        self.generator_only_steps = generator_only_steps
        self.gain_db = gain_db

    def setup(self, stage: str) -> None:
        """Check the data's rate, and load the generator to fine-tune.

        Raises:
            UserError: The rate is another, or there is no generator to load, or it is of other
                sizes or another mel.
        """
        rate = self.generator.frontend.sample_rate
        given = getattr(getattr(self.trainer, "datamodule", None), "sample_rate", rate)
        if given != rate:
            raise UserError(f"data.sample_rate: is {given}, but the vocoder's mel needs {rate}")
        if stage != "fit" or self.init_from is None:
            return
        loaded = HiFiGAN.from_pretrained(self.init_from, fold=False)
        loaded.require_mel(self.generator.frontend)
        if loaded.settings != self.generator.settings:
            wrong = next(k for k, v in loaded.settings.items() if self.generator.settings[k] != v)
            raise UserError(
                f"model.init_from {self.init_from}: has {wrong} {loaded.settings[wrong]}, but"
                f" model.generator {self.generator.settings[wrong]}; make them the same"
            )
        self.generator.load_state_dict(loaded.state_dict())

    def on_train_start(self) -> None:
        """From here on the generator's weights are more than random."""
        self.generator.pretrained = True

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of each network; both see the same generated waveforms."""
        wav, mel = self._frames(batch, louder=True)
        fake = self.generator(mel)
        adversarial = self.global_step >= self.generator_only_steps
        if adversarial:
            self._discriminator_step(wav, fake.detach())
        self._generator_step(wav, fake, adversarial)

    def _discriminator_step(self, wav: Tensor, fake: Tensor) -> None:
        """Learn to tell real waveforms (B, N) from generated ones."""
        _, optimizer = self._optimizers()
        loss = discriminator_loss(self.discriminator(wav).scores, self.discriminator(fake).scores)
        self._step(optimizer, loss)
        self.log("train/loss_discriminator", loss.detach(), batch_size=len(wav))

    def _generator_step(self, wav: Tensor, fake: Tensor, adversarial: bool) -> None:
        """Learn to deceive the discriminator, and to sound like the real waveform (B, N)."""
        optimizer, _ = self._optimizers()
        # Freezes the discriminator. That also keeps autocast from giving it the copy of its
        # biases that it made before they were updated.
        self.toggle_optimizer(optimizer)
        losses = {"mel": mel_loss(self.loss_frontend(wav), self.loss_frontend(fake))}
        total = self.mel_weight * losses["mel"]
        if self.stft_weight:
            losses["stft"] = stft_loss(wav, fake)
            total = total + self.stft_weight * losses["stft"]
        if adversarial:
            with torch.no_grad():
                real = self.discriminator(wav)
            judged = self.discriminator(fake)
            losses["adv"] = adversarial_loss(judged.scores)
            losses["fm"] = feature_matching_loss(real.features, judged.features)
            total = total + losses["adv"] + self.feature_weight * losses["fm"]
        self._step(optimizer, total)
        self.untoggle_optimizer(optimizer)
        logged = {f"train/loss_{name}": loss.detach() for name, loss in losses.items()}
        self.log_dict(logged, batch_size=len(wav))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(wav))

    def on_train_epoch_end(self) -> None:
        """Lower the learning rates; under manual optimisation Lightning doesn't."""
        schedulers: Any = self.lr_schedulers()
        learning = 2 if self.global_step > self.generator_only_steps else 1
        for scheduler in schedulers[:learning]:
            scheduler.step()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Distance of the mels of real and generated utterances; every frame weighs the same."""
        distance, n_frames = self._distance(batch)
        for name in ("val/mel_l1", "val/loss"):
            self.log(name, distance, sync_dist=True, batch_size=n_frames)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation measures, on the test part."""
        distance, n_frames = self._distance(batch)
        self.log("test/mel_l1", distance, sync_dist=True, batch_size=n_frames)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Each utterance's waveform (N,), generated from its mel."""
        _, mel = self._frames(batch)
        fake = self.generator(mel)
        return [{"wav": wav[:n]} for wav, n in zip(fake, batch.lengths.tolist(), strict=True)]

    def _distance(self, batch: Batch) -> tuple[Tensor, int]:
        """L1 distance of the log-mels of a batch, and the frames it is the mean of."""
        _, mel = self._frames(batch)
        fake = self.generator.frontend(self.generator(mel))
        n_frames = min(mel.shape[2], fake.shape[2])
        mask = self.generator.frontend.mask(batch.lengths, n_frames)
        error = (mel[..., :n_frames] - fake[..., :n_frames]).abs().mean(1)
        return masked_mean(error, mask), int(mask.sum())

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Optimisers of the generator and of the discriminator, and their schedules."""
        networks = (self.generator, self.discriminator)
        optimizers = [AdamW(n.parameters(), lr=self.lr, betas=self.betas) for n in networks]
        return list(optimizers), [ExponentialLR(o, gamma=self.lr_decay) for o in optimizers]

    def _frames(self, batch: Batch, louder: bool = False) -> tuple[Tensor, Tensor]:
        """Waveforms cut to whole frames (B, T * hop), and the log-mel (B, M, T) of those."""
        hop = self.generator.frontend.hop_length
        wav = batch.wav
        if louder and self.gain_db is not None:
            low, high = self.gain_db
            drawn = low + (high - low) * torch.rand(len(wav), 1, device=wav.device)
            peak = wav.abs().amax(1, keepdim=True).clamp(min=1e-5)
            wav = wav * (10 ** (drawn / 20)).minimum(LOUDEST / peak)
        n_frames = wav.shape[1] // hop
        mel = self.generator.frontend(wav)[..., :n_frames]
        return wav[:, : n_frames * hop], mel

    def _optimizers(self) -> Any:
        """Optimisers of the generator and of the discriminator."""
        return self.optimizers()

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        """Descend."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.clip)
        optimizer.step()


def full_band(frontend: LogMel) -> LogMel:
    """The mel of the loss: official settings but rate and sizes, and up to half the rate.

    The input mel may end earlier, so that the generator learns to fill in what it lacks.
    """
    return LogMel(
        sample_rate=frontend.sample_rate,
        n_fft=frontend.n_fft,
        hop_length=frontend.hop_length,
        n_mels=frontend.n_mels,
        f_min=frontend.f_min,
        f_max=frontend.sample_rate / 2,
        pad=(frontend.n_fft - frontend.hop_length) // 2,
    )
