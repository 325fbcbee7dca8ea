"""Small trainings of EmoConv-Diff."""

from pathlib import Path

from tests.integration.runs import ROOT

NETS = "--model.init_args.model.init_args."
QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
SMALL = ["--data.init_args.crop={min_frames: 48, max_frames: 48}", f"{NETS}score.init_args.dim=8"]
AVERAGED = """--trainer.callbacks=[{class_path: emovc.common.callbacks.Progress},
{class_path: emovc.common.callbacks.ExactResume},
{class_path: emovc.common.checkpoints.LastCheckpoint},
{class_path: emovc.common.averaging.AveragedWeights, init_args: {decay: 0.9}}]"""
OWNERS = ("", "encoder.init_args.")


def words(labelled: Path, average_voice: Path, run: Path, steps: int, *more: str) -> list[str]:
    head = ["-c", str(ROOT / "configs" / "emoconv_toy.yaml"), "--run", str(run)]
    data = [f"--data.init_args.manifest={labelled}"]
    start = [f"--model.init_args.average_voice={average_voice}"]
    limits = [f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={steps}"]
    return [*head, *data, *start, *limits, *QUIET, *more]
