"""What fit settles before a run starts: resuming, loggers, and the identity of a run."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonargparse import Namespace

from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.fit import RunCLI, _place_logger
from emovc.common.run_lock import RunLock


def settle(run: Path, resume: Any = False, ckpt_path: str | None = None, logger: Any = None) -> Any:
    """The config of fit after the command line settled it."""
    trainer = Namespace(default_root_dir=None, logger=logger)
    config = Namespace(run=str(run), resume=resume, ckpt_path=ckpt_path, trainer=trainer)
    RunCLI.before_instantiate_classes(
        type("Cli", (), {"subcommand": "fit", "config": {"fit": config}})()  # type: ignore[arg-type]
    )
    return config


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run to resume.*--resume=auto"):
        settle(tmp_path / "typo", resume=True)
    assert settle(tmp_path / "new", resume="auto").ckpt_path is None
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    torch.save({"state_dict": {}, "hyper_parameters": {}}, last)
    for resume in (True, "auto"):
        assert settle(tmp_path / "run", resume=resume).ckpt_path == str(last)
        with pytest.raises(UserError, match="--ckpt_path"):
            settle(tmp_path / "run", resume=resume, ckpt_path="other.ckpt")
    with pytest.raises(UserError, match="--resume=true"):
        settle(tmp_path / "run")


def one_logger() -> Namespace:
    kind = "lightning.pytorch.loggers.CSVLogger"
    return Namespace(class_path=kind, init_args=Namespace(save_dir=None))


def test_loggers_are_a_list_one_or_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trainer.logger: true"):
        settle(tmp_path, logger=True)
    for nothing in (None, False, []):
        settle(tmp_path, logger=nothing)
    alone, listed = one_logger(), one_logger()
    settle(tmp_path, logger=alone)
    settle(tmp_path, logger=[listed])
    assert alone.init_args.save_dir == listed.init_args.save_dir == str(tmp_path)


def test_a_sweeps_agent_names_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identity() -> str:
        ask = Namespace(init_args=Namespace(save_dir=None, name=None, run_id=None))
        _place_logger(ask, tmp_path)
        assert ask.init_args.run_id == read_json(tmp_path / "run.json")["id"]
        return str(ask.init_args.run_id)

    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    monkeypatch.setenv("WANDB_RUN_ID", "alone")
    own = identity()
    assert own != "alone" and identity() == own
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    assert identity() == "alone"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no checkpoint"])
def test_damaged_states_are_named(tmp_path: Path, content: bytes) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(content)
    for resume in (True, "auto"):
        with pytest.raises(UserError, match=r"last\.ckpt"):
            settle(tmp_path, resume=resume)


def lock_of(folder: Path) -> tuple[RunLock, Any]:
    """A lock and the trainer of a run in a folder."""
    return RunLock(), SimpleNamespace(is_global_zero=True, default_root_dir=str(folder))


HOLD = """
import sys, time
from types import SimpleNamespace
from emovc.common.run_lock import RunLock
trainer = SimpleNamespace(is_global_zero=True, default_root_dir=sys.argv[1])
RunLock().setup(trainer, None, "fit")
print("held", flush=True)
time.sleep(600)
"""


def test_two_trainings_do_not_share_a_folder_and_a_dead_one_keeps_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        lock, trainer = lock_of(tmp_path / "run")
        with pytest.raises(UserError, match=f"process {other.pid} is training in it"):
            lock.setup(trainer, None, "fit")  # type: ignore[arg-type]
        lock.setup(trainer, None, "validate")  # type: ignore[arg-type]
        other.kill()
    lock.setup(trainer, None, "fit")  # type: ignore[arg-type]
    copy.deepcopy(lock), pickle.dumps(lock)  # as averaged weights do with the trainer
    lock.on_exception(trainer, None, RuntimeError())  # type: ignore[arg-type]
    lock.setup(trainer, None, "fit")  # type: ignore[arg-type]
    lock.teardown(trainer, None, "fit")  # type: ignore[arg-type]
    assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"
