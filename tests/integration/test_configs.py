"""Every YAML builds what it describes."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule

from emovc.common.fit import cli

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
DIFFS = sorted((ROOT / "configs" / "ablations").glob("*.yaml"))


def test_there_are_configs() -> None:
    assert len(CONFIGS) >= 7
    assert len(DIFFS) >= 3


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_config_builds(path: Path) -> None:
    built = cli(["-c", str(path)], run=False)
    optimizers = built.model.configure_optimizers()
    assert optimizers
    expected = (16_000, 320) if path.stem.startswith("codec") else (22_050, 256)
    assert (built.datamodule.sample_rate, built.datamodule.hop_length) == expected


@pytest.fixture(scope="session")
def plain() -> LightningModule:
    return cli(["-c", str(ROOT / "configs" / "speechflow_toy.yaml")], run=False).model


@pytest.mark.parametrize("path", DIFFS, ids=lambda p: p.stem)
def test_ablation_changes_what_it_says(path: Path, plain: LightningModule) -> None:
    base = ROOT / "configs" / "speechflow_toy.yaml"
    changed = cli(["-c", str(base), "-c", str(path)], run=False).model
    assert str(plain.hparams) != str(changed.hparams)
    assert changed.configure_optimizers()


def test_stated_once(tmp_path: Path) -> None:
    """The data module follows the front end and the seed."""
    built = cli(["-c", str(ROOT / "configs" / "speechflow_toy.yaml"), "--seed_everything=5"], False)
    assert built.datamodule.seed == 5
    assert torch.initial_seed() == 5
