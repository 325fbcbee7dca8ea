"""HiFi-GAN's losses and discriminators, and a training run of a tiny one on synthetic speech."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.data import SpeechDataModule
from emovc.common.discriminators import Discriminator, PeriodDiscriminator
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.sampling import Crop
from emovc.common.vocoder import HiFiGAN
from emovc.common.vocoder_losses import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    stft_loss,
)
from emovc.common.vocoder_training import LitHiFiGAN, full_band
from emovc.common.wav import write_wav

RATE = 22_050


def tiny_discriminator() -> Discriminator:
    """Two periods and few channels."""
    return Discriminator((2, 3), (4, 8), (4, 4, 8, 8, 8, 8, 8), (1, 2, 2, 2, 2, 2, 1))


def tiny(init_from: str | None = None, **changes: Any) -> LitHiFiGAN:
    """A recipe that takes seconds."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = dict(
        upsample_initial_channel=16, resblock_kernel_sizes=(3,), resblock_dilation_sizes=((1, 3),)
    )
    return LitHiFiGAN(HiFiGAN(**sizes), tiny_discriminator(), init_from, **changes)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six short harmonic sounds of two speakers."""
    folder = tmp_path_factory.mktemp("corpus")
    time = torch.arange(int(0.5 * RATE)) / RATE
    rows = []
    for i in range(6):
        f0 = 100 + 25 * i
        parts = [torch.sin(2 * math.pi * f0 * k * time) / k for k in range(1, 20)]
        path = folder / f"{i}.wav"
        write_wav(path, (0.2 * torch.stack(parts).sum(0)).numpy(), RATE)
        split: Any = "train" if i < 4 else "val"
        names = dict(id=f"synthetic/{i}", sha256=f"{i}", speaker=f"s{i}", corpus="synthetic")
        size = dict(sample_rate=RATE, num_samples=len(time))
        rows.append(Utterance(path=path, split=split, split_id="test", **names, **size))
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


def data(manifest: Path, **changes: Any) -> SpeechDataModule:
    """Crops of 32 frames, two to a batch."""
    return SpeechDataModule(manifest, crop=Crop(32, 32), batch_size=2, **changes)


def trainer(folder: Path, **changes: Any) -> L.Trainer:
    """A trainer that writes nothing but what it is told to."""
    settings: dict[str, Any] = dict(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, max_epochs=3,
    )  # fmt: skip
    return L.Trainer(default_root_dir=folder, **{**settings, **changes})


@pytest.fixture(scope="module")
def trained(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LitHiFiGAN, Path]:
    """A recipe after six batches, and the run's folder with its checkpoint."""
    recipe, run = tiny(), tmp_path_factory.mktemp("run")
    fit = trainer(run)
    fit.fit(recipe, data(manifest))
    fit.save_checkpoint(run / "checkpoints" / "last.ckpt")
    assert fit.global_step == 2 * 6
    assert recipe.lr_schedulers()[0].get_last_lr() == [pytest.approx(2e-4 * 0.999**3)]
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    names = {"discriminator", "adv", "fm", "mel"}
    assert metrics.keys() >= {f"train/loss_{name}" for name in names} | {
        "train/loss",
        "val/loss",
        "val/mel_l1",
    }
    assert all(math.isfinite(value) for value in metrics.values())
    parts = (
        metrics["train/loss_adv"] + 2 * metrics["train/loss_fm"] + 45 * metrics["train/loss_mel"]
    )
    assert metrics["train/loss"] == pytest.approx(parts, rel=1e-5)
    return recipe, run


def test_every_weight_of_both_networks_is_trained(trained: tuple[LitHiFiGAN, Path]) -> None:
    before = dict(tiny().named_parameters())
    after = dict(trained[0].named_parameters())
    same = [name for name, value in before.items() if torch.equal(value, after[name])]
    assert not same
    assert trained[0].generator.pretrained and not tiny().generator.pretrained


def test_runs_and_checkpoints_are_vocoders(trained: tuple[LitHiFiGAN, Path]) -> None:
    recipe, run = trained
    mel = torch.randn(1, 80, 12) - 5
    with torch.no_grad():
        expected = recipe.generator.eval()(mel)
        for path in (run, run / "checkpoints" / "last.ckpt"):
            loaded = HiFiGAN.from_pretrained(path)
            assert loaded.pretrained and torch.allclose(loaded(mel), expected, atol=1e-6)


def test_predictions_are_waveforms(
    trained: tuple[LitHiFiGAN, Path], tmp_path: Path, manifest: Path
) -> None:
    recipe, runner = trained[0], trainer(tmp_path)
    heard = data(manifest, predict_split="val")
    heard.setup("predict")
    for batch in runner.predict(recipe, datamodule=heard) or []:
        assert all(int(0.5 * RATE) - 256 < len(one["wav"]) <= int(0.5 * RATE) for one in batch)
    (tested,) = runner.test(recipe, heard.evaluation_loader("val"), verbose=False)
    (validated,) = runner.validate(recipe, heard.evaluation_loader("val"), verbose=False)
    assert tested["test/mel_l1"] == pytest.approx(validated["val/mel_l1"])


def test_training_goes_on_from_a_generator(
    trained: tuple[LitHiFiGAN, Path], tmp_path: Path, manifest: Path
) -> None:
    recipe, run = trained
    recipe.generator.save_pretrained(tmp_path / "saved")
    for source in (run, tmp_path / "saved"):
        tuned = tiny(str(source), lr=1e-12)
        trainer(tmp_path, max_steps=2).fit(tuned, data(manifest))
        for name, value in recipe.generator.state_dict().items():
            assert torch.allclose(tuned.generator.state_dict()[name], value, atol=1e-6)


def test_generators_that_do_not_fit_are_refused(
    trained: tuple[LitHiFiGAN, Path], tmp_path: Path, manifest: Path
) -> None:
    def refuses(recipe: LitHiFiGAN, message: str, **changes: Any) -> None:
        with pytest.raises(UserError, match=message):
            trainer(tmp_path).fit(recipe, data(manifest, **changes))

    run = str(trained[1])
    wider = LitHiFiGAN(HiFiGAN(upsample_initial_channel=32), tiny_discriminator(), run)
    refuses(wider, "has upsample_initial_channel 16, but model.generator 32")
    sizes = wider.generator.settings
    refuses(
        LitHiFiGAN(HiFiGAN(LogMel(f_max=7600.0), **sizes), tiny_discriminator(), run), "another mel"
    )
    refuses(tiny(str(tmp_path / "none")), "no such vocoder")
    refuses(tiny(), "sample_rate: is 16000, but the vocoder's mel needs 22050", sample_rate=16_000)


def test_bfloat16_trains(tmp_path: Path, manifest: Path) -> None:
    recipe, before = tiny(clip=1.0), tiny()
    fit = trainer(tmp_path, max_steps=2, precision="bf16-mixed", limit_val_batches=1)
    fit.fit(recipe, data(manifest))
    assert all(torch.isfinite(value) for value in fit.callback_metrics.values())
    for (name, new), old in zip(recipe.named_parameters(), before.parameters(), strict=True):
        assert torch.isfinite(new).all() and not torch.equal(new, old), name


def test_the_losses_mel_is_the_full_band() -> None:
    assert full_band(LogMel()).settings == LogMel(f_max=11_025.0).settings
    speecht5 = full_band(LogMel.speecht5())
    assert (speecht5.pad, speecht5.f_max, speecht5.log) == (384, 8000.0, "ln")


def test_losses_are_those_of_the_paper() -> None:
    real, fake = [torch.tensor([[1.0, 0.5]])], [torch.tensor([[0.0, 1.0]])]
    assert float(discriminator_loss(real, fake)) == pytest.approx(0.125 + 0.5)
    assert float(discriminator_loss(2 * real, 2 * fake)) == pytest.approx(2 * 0.625)
    assert float(adversarial_loss(fake)) == pytest.approx(0.5)
    assert float(feature_matching_loss([real], [fake])) == pytest.approx(0.75)
    leaf = torch.ones(1, requires_grad=True)
    feature_matching_loss([[2 * leaf]], [[3 * leaf]]).backward()
    assert leaf.grad is not None and float(leaf.grad) == 3.0  # none through the real features


def test_the_discriminator_has_official_sizes_and_names() -> None:
    with torch.device("meta"):
        network = Discriminator()
    assert sum(p.numel() for p in network.parameters()) == 70_724_591
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["mpd.discriminators.4.convs.3.weight_v"] == (1024, 512, 5, 1)
    assert shapes["mpd.discriminators.0.conv_post.weight_g"] == (1, 1, 1, 1)
    assert shapes["msd.discriminators.0.convs.1.weight_orig"] == (128, 32, 41)
    assert shapes["msd.discriminators.0.convs.1.weight_u"] == (128,)
    assert shapes["msd.discriminators.2.convs.6.weight_v"] == (1024, 1024, 5)


def test_periods_are_judged_apart() -> None:
    """What is said of every third sample depends on those samples alone."""
    torch.manual_seed(0)
    network = PeriodDiscriminator(3, (4, 8)).double()
    wav = torch.randn(1, 300, dtype=torch.float64)
    other = wav.clone()
    other[:, 1::3] += 1
    changed: Tensor = (network(wav)[0] - network(other)[0]).unflatten(1, (-1, 3)).abs().sum(1)
    assert changed[0, 1] > 0 and changed[0, [0, 2]].max() < 1e-12


def test_the_generator_may_begin_alone(manifest: Path, tmp_path: Path) -> None:
    """Three batches of the generator alone count a step each, three of both count two."""
    recipe = tiny(generator_only_steps=3, stft_weight=2.5)
    before = {n: v.clone() for n, v in recipe.discriminator.named_parameters()}
    alone = trainer(tmp_path, max_epochs=1)
    alone.fit(recipe, data(manifest))
    assert alone.global_step == 2
    assert all(torch.equal(v, before[n]) for n, v in recipe.discriminator.named_parameters())
    logged = {n: float(v) for n, v in alone.callback_metrics.items()}
    assert "train/loss_adv" not in logged
    parts = 45 * logged["train/loss_mel"] + 2.5 * logged["train/loss_stft"]
    assert logged["train/loss"] == pytest.approx(parts, rel=1e-5)
    both = trainer(tmp_path, max_epochs=3)
    both.fit(tiny(generator_only_steps=3), data(manifest))
    assert both.global_step == 3 + 2 * 3
    assert "train/loss_adv" in both.callback_metrics


def test_crops_get_louder_within_the_range_and_never_clip(manifest: Path) -> None:
    recipe, module = tiny(gain_db=(-6.0, 20.0)), data(manifest)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    plain, mel = recipe._frames(batch)
    torch.manual_seed(1)
    gains = []
    for _ in range(20):
        wav, louder = recipe._frames(batch, louder=True)
        gain = (wav * plain).sum(1) / plain.square().sum(1)
        torch.testing.assert_close(wav, gain[:, None] * plain)
        assert float(wav.abs().max()) <= 0.95 + 1e-6
        shift = (louder - mel).median().item()
        assert min(gain.log()).item() - 0.05 <= shift <= max(gain.log()).item() + 0.05
        gains.append(gain)
    drawn = 20 * torch.cat(gains).log10()
    assert -6.01 <= float(drawn.min()) < -3
    highest = 20 * math.log10(0.95 / float(plain.abs().amax(1).min()))
    assert float(drawn.max()) <= highest + 0.01
    with pytest.raises(UserError, match="lower gain first"):
        tiny(gain_db=(0.0, -12.0))


def test_the_stft_loss_of_a_doubled_waveform() -> None:
    """Spectral convergence is 1 and the log-magnitudes differ by ln 2, at each resolution."""
    wav = torch.randn(2, 8192, generator=torch.Generator().manual_seed(0))
    assert float(stft_loss(wav, wav)) == pytest.approx(0, abs=1e-6)
    assert float(stft_loss(wav, 2 * wav)) == pytest.approx(1 + math.log(2), abs=2e-3)


def test_a_crop_of_silence_does_not_outweigh_speech() -> None:
    speech = torch.randn(1, 8192, generator=torch.Generator().manual_seed(0))
    real = torch.cat([speech, torch.zeros_like(speech)])
    fake = (real + 0.01).requires_grad_()
    loss = stft_loss(real, fake)
    loss.backward()
    assert float(loss) < 3
    assert fake.grad is not None and torch.isfinite(fake.grad).all()


def test_discriminators_of_spectrograms() -> None:
    network = Discriminator((2,), (4, 8), (), (), n_ffts=(256, 512), spectrogram_channels=4)
    wav = torch.zeros(3, 4096).requires_grad_()  # silence, where abs() has no gradient
    judged = network(wav)
    assert [s.shape[0] for s in judged.scores] == [3, 3, 3]
    assert [len(f) for f in judged.features] == [3, 5, 5]
    # 256 samples: 129 bins halved three times, 65 frames of hop 64
    assert judged.features[1][-1].shape == (3, 1, 17, 65)
    sum(s.mean() for s in judged.scores).backward()  # type: ignore[union-attr]
    assert wav.grad is not None and torch.isfinite(wav.grad).all()
    again = Discriminator(**network.description["init_args"])
    assert {n: v.shape for n, v in again.state_dict().items()} == {
        n: v.shape for n, v in network.state_dict().items()
    }
    with pytest.raises(UserError, match="all are empty"):
        Discriminator((), (), (), ())
