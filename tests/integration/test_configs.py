"""Every YAML builds what it describes."""

from pathlib import Path

import pytest
import torch
import yaml

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


def small(path: Path) -> Path:
    """The small config of the model that an ablation is of."""
    return ROOT / "configs" / f"{path.stem.split('_')[0]}_toy.yaml"


@pytest.mark.parametrize("path", DIFFS, ids=lambda p: p.stem)
def test_ablation_changes_what_it_says(path: Path) -> None:
    plain = cli(["-c", str(small(path))], run=False)
    changed = cli(["-c", str(small(path)), "-c", str(path)], run=False)
    assert str(plain.config) != str(changed.config)
    assert changed.model.configure_optimizers()


def test_sweep_varies_what_there_is() -> None:
    """Every point of the grid is one that the training takes."""
    sweep = yaml.safe_load((ROOT / "configs" / "sweeps" / "ainn_lambda.yaml").read_text())
    words = [f"--{name}={axis['values'][-1]}" for name, axis in sweep["parameters"].items()]
    built = cli(["-c", str(ROOT / "configs" / "ainn_nemo_cpu.yaml"), *words], run=False)
    assert (built.model.disentanglement_weight, built.model.strength_weight) == (0.3, 3.0)


def test_stated_once(tmp_path: Path) -> None:
    """The data module follows the front end and the seed."""
    built = cli(["-c", str(ROOT / "configs" / "speechflow_toy.yaml"), "--seed_everything=5"], False)
    assert built.datamodule.seed == 5
    assert torch.initial_seed() == 5
