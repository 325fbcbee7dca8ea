"""Training the codec: with and without discriminators, resumed, from the command line."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from emovc.common.callbacks import ExactResume
from emovc.common.checkpoints import LastCheckpoint
from emovc.common.data import SpeechDataModule
from emovc.common.discriminators import Discriminator
from emovc.common.errors import UserError
from emovc.common.export import export
from emovc.common.fit import cli
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.sampling import Crop
from emovc.common.wav import write_wav
from emovc.ser.codec import Codec
from emovc.ser.codec_training import LitCodec

RATE = 16_000
CONFIG = Path(__file__).parents[2] / "configs" / "codec_cpu.yaml"


def tiny(adversarial: bool = False, **changes: Any) -> LitCodec:
    """A recipe that takes seconds."""
    torch.manual_seed(0)
    codec = Codec(
        strides=(8, 5, 4, 2), channels=(4, 4, 8, 8, 8), dim=8, kernel=3, dilations=(1,),
        codebook_size=8, n_stages=2,
    )  # fmt: skip
    judge = Discriminator((2, 3), (4, 8), (4, 4, 8, 8, 8, 8, 8), (1, 2, 2, 2, 2, 2, 1))
    return LitCodec(codec, judge if adversarial else None, **changes)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six short harmonic sounds of two lengths."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for i in range(6):
        time = torch.arange(int((0.4 + 0.1 * (i % 2)) * RATE)) / RATE
        parts = [torch.sin(2 * math.pi * (100 + 25 * i) * k * time) / k for k in range(1, 20)]
        path = folder / f"{i}.wav"
        write_wav(path, (0.2 * torch.stack(parts).sum(0)).numpy(), RATE)
        split: Any = "train" if i < 4 else "val"
        names: Any = dict(id=f"synthetic/{i}", sha256=f"{i}", speaker=f"s{i}", corpus="synthetic")
        size: Any = dict(sample_rate=RATE, num_samples=len(time))
        rows.append(Utterance(path=path, split=split, split_id="test", **names, **size))
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


def data(manifest: Path, **changes: Any) -> SpeechDataModule:
    """Crops of 0.3 s, two to a batch."""
    settings: dict[str, Any] = dict(sample_rate=RATE, hop_length=320, batch_size=2)
    return SpeechDataModule(manifest, crop=Crop(15, 15), **{**settings, **changes})


def trainer(folder: Path, **changes: Any) -> L.Trainer:
    """A trainer that writes nothing but what it is told to."""
    settings: dict[str, Any] = dict(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, max_epochs=2,
    )  # fmt: skip
    return L.Trainer(default_root_dir=folder, **{**settings, **changes})


@pytest.mark.parametrize("adversarial", [False, True])
def test_every_weight_is_trained(adversarial: bool, manifest: Path, tmp_path: Path) -> None:
    recipe = tiny(adversarial)
    before = {name: value.clone() for name, value in recipe.named_parameters()}
    fit = trainer(tmp_path)
    fit.fit(recipe, data(manifest))
    after = dict(recipe.named_parameters())
    assert not [name for name in before if torch.equal(before[name], after[name])]
    assert fit.global_step == (8 if adversarial else 4)
    assert recipe.model.pretrained and not tiny().model.pretrained
    assert int(recipe.model.quantizer.batches) == 4
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    weights = {"spectral": 1.0, "waveform": 10.0, "commitment": 0.25}
    weights |= {"adv": 0.1, "fm": 0.2} if adversarial else {}
    total = sum(weight * metrics[f"train/loss_{name}"] for name, weight in weights.items())
    assert metrics["train/loss"] == pytest.approx(total, rel=1e-5)
    assert ("train/loss_discriminator" in metrics) == adversarial
    assert metrics.keys() >= {"val/loss", "val/mel_l1", "val/perplexity_first"}
    assert 1 <= metrics["val/perplexity_first"] <= 8
    for optimizer in fit.optimizers:
        assert optimizer.param_groups[0]["lr"] == pytest.approx(3e-4 * 0.999996**4)


def test_validation_hears_each_utterance_alone(manifest: Path, tmp_path: Path) -> None:
    recipe = tiny()
    (both,) = trainer(tmp_path).validate(recipe, data(manifest), verbose=False)
    (one_by_one,) = trainer(tmp_path).validate(recipe, data(manifest, batch_size=1), verbose=False)
    assert both == pytest.approx(one_by_one)


def test_a_run_that_goes_on_gives_what_it_would_have_given(manifest: Path, tmp_path: Path) -> None:
    whole, first, second = tiny(), tiny(), tiny()
    torch.manual_seed(1)
    trainer(tmp_path, callbacks=[ExactResume()]).fit(whole, data(manifest))
    torch.manual_seed(1)
    callbacks = [ExactResume(), LastCheckpoint(every_n_steps=3)]
    trainer(tmp_path, callbacks=callbacks, max_steps=3, enable_checkpointing=True).fit(
        first, data(manifest)
    )
    resumed = trainer(tmp_path, callbacks=[ExactResume()])
    last = str(tmp_path / "checkpoints" / "last.ckpt")
    resumed.fit(second, data(manifest), ckpt_path=last, weights_only=True)
    assert resumed.global_step == 4
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_runs_and_exports_are_codecs(manifest: Path, tmp_path: Path) -> None:
    recipe, run = tiny(), tmp_path / "run"
    fit = trainer(run)
    fit.fit(recipe, data(manifest))
    fit.save_checkpoint(run / "checkpoints" / "last.ckpt")
    export(run, tmp_path / "exported")
    wav = torch.randn(1, 5000)
    with torch.no_grad():
        expected = recipe.model.eval()(wav, 1)
        for path in (run, run / "checkpoints" / "last.ckpt", tmp_path / "exported"):
            loaded = Codec.from_pretrained(path)
            assert loaded.pretrained and torch.equal(loaded(wav, 1).codes, expected.codes)
            torch.testing.assert_close(loaded(wav, 1).wav, expected.wav)
    assert "emovc.ser import Codec" in (tmp_path / "exported" / "README.md").read_text()


def test_predictions_are_codes_and_waveforms(manifest: Path, tmp_path: Path) -> None:
    batches = trainer(tmp_path).predict(
        tiny(), datamodule=data(manifest, predict_split="val", batch_size=1)
    )
    lengths = sorted(len(one["wav"]) for batch in batches or [] for one in batch)
    assert lengths == [6400, 8000]
    for batch in batches or []:
        for one in batch:
            assert one["codes"].shape == (2, -(-len(one["wav"]) // 320))


def test_another_rate_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sample_rate: is 22050, but the codec needs 16000"):
        trainer(tmp_path).fit(tiny(), data(manifest, sample_rate=22_050))


def test_the_command_trains_the_shipped_recipe(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sizes = "--model.init_args.model.init_args."
    cli(
        [
            "fit", "-c", str(CONFIG), "--run", str(run), f"--data.manifest={toy}",
            "--data.batch_size=2", f"{sizes}channels=[4, 4, 8, 8, 8]", f"{sizes}warm_up=1",
            f"{sizes}codebook_size=8", "--trainer.max_steps=2", "--trainer.accelerator=cpu",
            "--trainer.limit_val_batches=1", "--trainer.val_check_interval=2",
            "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
        ]
    )  # fmt: skip
    codec = Codec.from_pretrained(run)
    assert codec.pretrained and codec.quantizer.codebooks[0].filled
    assert "val/loss" in (run / "metrics.csv").read_text()
