"""A run that is killed and goes on equals one that was never stopped; so do two processes."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from tests.integration.runs import (
    ABLATIONS,
    COMMAND,
    F0_HEAD,
    ROOT,
    curve,
    emovc,
    environment,
    fit_words,
)

from emovc.common.errors import UserError
from emovc.common.fit import main

CYCLE = ABLATIONS / "speechflow_cycle_stopped.yaml"
CALLBACKS = """--trainer.callbacks=[{class_path: emovc.common.callbacks.Progress},
{class_path: emovc.common.callbacks.GradientGuard},
{class_path: emovc.common.callbacks.ExactResume},
{class_path: emovc.common.checkpoints.LastCheckpoint, init_args: {every_n_steps: 10}}]"""
WARM = ["--model.init_args.cycle.init_args.warmup_start=3"]
WARM += ["--model.init_args.cycle.init_args.warmup_stop=9"]


KEYS = ("train/loss", "train/loss_cycle_raw", "val/loss", "progress/samples")


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


def words(toy: Path, run: Path) -> list[str]:
    return fit_words(toy, run, 40, [*F0_HEAD, *WARM, CALLBACKS], CYCLE)


@pytest.fixture(scope="module")
def whole(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    run = tmp_path_factory.mktemp("resume") / "whole"
    result = emovc(words(toy, run))
    assert result.returncode == 0, result.stderr
    return run


def test_killed_run_goes_on_as_if_nothing_happened(whole: Path, toy: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [COMMAND, *words(toy, killed)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    last = killed / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # some steps beyond the checkpoint
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(curve(killed, "train/loss")) < 40
    resumed = emovc([*words(toy, killed), "--resume=true"])
    assert resumed.returncode == 0, resumed.stderr
    for key in KEYS:
        assert curve(killed, key) == curve(whole, key), key


def test_run_that_broke_off_in_a_validation_repeats_it(
    whole: Path, toy: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    more = f"--trainer.callbacks+={__name__}.FailInValidation"
    assert "broken off" in emovc([*words(toy, run), more]).stderr
    assert 19 not in curve(run, "val/loss")
    assert emovc([*words(toy, run), "--resume=true"]).returncode == 0
    for key in KEYS:
        assert curve(run, key) == curve(whole, key), key


def test_a_run_is_not_overwritten(trained: Path, toy: Path) -> None:
    with pytest.raises(UserError, match="--resume=true"):
        main("fit", fit_words(toy, trained, 6, [])[1:])


def test_two_processes_equal_one(toy: Path, tmp_path: Path) -> None:
    """Gradients are averaged over processes, validation over all frames: equal to 1e-5."""
    plain = ABLATIONS / "speechflow_no_resampling.yaml"  # each process warps by its own draws
    one, two = tmp_path / "one", tmp_path / "two"
    assert emovc(fit_words(toy, one, 6, [], plain)).returncode == 0
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2"]
    result = emovc(fit_words(toy, two, 6, ddp, plain))
    assert result.returncode == 0, result.stderr
    expected = curve(one, "val/loss")
    assert curve(two, "val/loss") == pytest.approx(expected, rel=1e-5)
    assert curve(two, "progress/samples") == curve(one, "progress/samples")
    assert len(expected) == 2
