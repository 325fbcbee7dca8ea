"""A run that is killed and goes on equals one that was never stopped; so do two processes."""

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from tests.integration.commands import Commands
from tests.integration.runs import ABLATIONS, F0_HEAD, curve, fit_words
from torch.optim import Optimizer

from emovc.common.errors import UserError
from emovc.common.fit import main

# An epoch has 10 steps. The first run goes on from 10, where one ends, the second from 15.
CYCLE = ABLATIONS / "speechflow_cycle_stopped.yaml"
CALLBACKS = """--trainer.callbacks=[{class_path: emovc.common.callbacks.Progress},
{class_path: emovc.common.callbacks.GradientGuard},
{class_path: emovc.common.callbacks.ExactResume},
{class_path: emovc.common.checkpoints.LastCheckpoint, init_args: {every_n_steps: 5}}]"""
WARM = ["--model.init_args.cycle.init_args.warmup_start=6"]
WARM += ["--model.init_args.cycle.init_args.warmup_stop=18"]

KEYS = ("train/loss", "train/loss_cycle_raw", "val/loss", "progress/samples")


class Kill(L.Callback):
    """Kills the process in the middle of step 13, before the optimiser's part."""

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        if trainer.global_step == 13:
            os.kill(os.getpid(), signal.SIGKILL)


class FailInValidation(L.Callback):
    """Breaks the run off in the validation after step 20."""

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.global_step == 20 and batch_idx == 1:
            raise RuntimeError("broken off")


def words(toy: Path, run: Path, *more: str) -> list[str]:
    often = "--trainer.val_check_interval=10"
    return fit_words(toy, run, 25, [*F0_HEAD, *WARM, CALLBACKS, often, *more], CYCLE)


@pytest.fixture(scope="module")
def whole(commands: Commands, toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    run = tmp_path_factory.mktemp("resume") / "whole"
    done = commands.run(words(toy, run))
    assert done.returncode == 0, done.output
    return run


def test_killed_run_goes_on_as_if_nothing_happened(
    whole: Path, commands: Commands, toy: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    kill = f"--trainer.callbacks+={__name__}.Kill"
    done = commands.run(words(toy, killed, kill))
    assert done.returncode == -signal.SIGKILL, done.output
    assert list(curve(killed, "train/loss")) == list(range(13))  # three beyond the checkpoint
    resumed = commands.run(words(toy, killed, "--resume=true"))
    assert resumed.returncode == 0, resumed.output
    for key in KEYS:
        assert curve(killed, key) == curve(whole, key), key


def test_run_that_broke_off_in_a_validation_repeats_it(
    whole: Path, commands: Commands, toy: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fail = f"--trainer.callbacks+={__name__}.FailInValidation"
    assert "broken off" in commands.run(words(toy, run, fail)).output
    assert list(curve(run, "val/loss")) == [9]
    resumed = commands.run(words(toy, run, "--resume=true"))
    assert resumed.returncode == 0, resumed.output
    assert list(curve(run, "val/loss")) == [9, 19]
    for key in KEYS:
        assert curve(run, key) == curve(whole, key), key


def test_a_run_is_not_overwritten(trained: Path, toy: Path) -> None:
    with pytest.raises(UserError, match="--resume=true"):
        main("fit", fit_words(toy, trained, 6, [])[1:])


def test_two_processes_equal_one(commands: Commands, toy: Path, tmp_path: Path) -> None:
    """Gradients are averaged over processes, validation over all frames: equal to 1e-5."""
    plain = ABLATIONS / "speechflow_no_resampling.yaml"  # each process warps by its own draws
    one, two = tmp_path / "one", tmp_path / "two"
    done = commands.run(fit_words(toy, one, 6, [CALLBACKS], plain))
    assert done.returncode == 0, done.output
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2"]
    done = commands.run(fit_words(toy, two, 6, ddp, plain))
    assert done.returncode == 0, done.output
    expected = curve(one, "val/loss")
    assert curve(two, "val/loss") == pytest.approx(expected, rel=1e-5)
    assert curve(two, "progress/samples") == curve(one, "progress/samples")
    assert len(expected) == 2
