"""Runs of two different models: the same keys over the same axis, so that they can be compared."""

import csv
import json
from pathlib import Path

import pytest
from tests.integration.runs import ROOT
from tests.integration.test_wandb import records

from emovc.common.fit import cli
from emovc.common.wandb_report import AXIS, shared_curves

GENERATOR = "--model.init_args.generator.init_args."
SMALL = [
    f"{GENERATOR}upsample_initial_channel=16",
    f"{GENERATOR}resblock_kernel_sizes=[3]",
    f"{GENERATOR}resblock_dilation_sizes=[[1,3]]",
    "--model.init_args.discriminator={class_path: emovc.common.discriminators.Discriminator, "
    "init_args: {periods: [2, 3], period_channels: [4, 8], scale_channels: [4, 4, 8, 8, 8, 8, 8], "
    "scale_groups: [1, 2, 2, 2, 2, 2, 1]}}",
    "--data.batch_size=2",
    "--data.num_workers=0",
    "--trainer.max_steps=4",  # two per batch
    "--trainer.val_check_interval=1",
    "--trainer.limit_val_batches=1",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
COMMON = {
    "train/loss",
    "val/loss",
    "val/mel_l1",
    "opt/lr",
    "opt/grad_norm",
    "progress/samples",
    "progress/seconds_of_speech",
    "progress/epochs",
    "progress/hours",
    "sys/seconds_of_speech_per_s",
    "sys/max_mem_gb",
}


@pytest.fixture(scope="module")
def vocoder(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of a HiFi-GAN."""
    run = tmp_path_factory.mktemp("vocoder") / "run"
    config = ROOT / "configs" / "hifigan_nemo.yaml"
    cli(["fit", "-c", str(config), "--run", str(run), f"--data.manifest={toy}", *SMALL])
    return run


def test_files_of_two_models_share_every_common_key(trained: Path, vocoder: Path) -> None:
    assert set(shared_curves([trained, vocoder])) >= COMMON
    for run in (trained, vocoder):
        with (run / "metrics.csv").open() as file:
            samples = [float(r[AXIS]) for r in csv.DictReader(file) if r[AXIS]]
        assert samples == sorted(samples), run
        assert samples[0] > 0, run


def test_offline_runs_of_two_models_share_keys_axis_and_listening_set(
    trained: Path, vocoder: Path
) -> None:
    found = [offline(run) for run in (trained, vocoder)]
    media = {"media/audio", *(f"media/audio_{row}" for row in ("source", "model", "target"))}
    for keys, axis, _ in found:
        assert keys >= COMMON | media
        assert axis["*"] == AXIS
    assert found[0][2] == found[1][2] != []


def offline(run: Path) -> tuple[set[str], dict[str, str], list[str]]:
    """Logged keys, the axis of each glob of metrics (the last one counts), and pairs heard."""
    folder = min((run / "wandb").glob("offline-run-*"))  # evaluations come later
    (file,) = folder.glob("*.wandb")
    keys: set[str] = set()
    axis: dict[str, str] = {}
    pairs: list[str] = []
    for record in records(file):
        if record.metric.glob_name:
            axis[record.metric.glob_name] = record.metric.step_metric
        for item in record.history.item:
            key, *field = item.nested_key or [item.key]
            keys.add(key)
            if [key, *field] == ["media/audio_model", "captions"]:
                pairs = json.loads(item.value_json)
    return keys, axis, pairs
