"""Small runs, started as a user starts them."""

import csv
import os
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = Path(sysconfig.get_path("scripts")) / "emovc"
NET = "--model.init_args.model.init_args.net.init_args."
SMALL = [
    "--data.batch_size=4",
    "--data.num_workers=0",
    "--data.crop={min_frames: 44, max_frames: 66, multiple: 11}",
    f"{NET}content_channels=32",
    f"{NET}rhythm_channels=16",
    f"{NET}pitch_channels=16",
    f"{NET}decoder_dim=16",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
F0_HEAD = [f"{NET}f0_head_dim=16"]  # after the configs, which ask for a large one
ABLATIONS = ROOT / "configs" / "ablations"


def fit_words(manifest: Path, run: Path, steps: int, more: list[str], *configs: Path) -> list[str]:
    """Words after ``emovc`` of a small training on the toy corpus."""
    files = [
        w for c in (ROOT / "configs" / "speechflow_toy.yaml", *configs) for w in ("-c", str(c))
    ]
    every = f"--trainer.val_check_interval={max(1, steps // 2)}"
    head = ["fit", *files, "--run", str(run), f"--data.manifest={manifest}", *SMALL]
    return [*head, f"--trainer.max_steps={steps}", every, *more]


def environment() -> dict[str, str]:
    """The environment of a fresh shell: without the W&B service of this process."""
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return own | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def curve(run: Path, key: str) -> dict[int, float]:
    """Values of a metric by step."""
    with (run / "metrics.csv").open() as file:
        return {int(r["step"]): float(r[key]) for r in csv.DictReader(file) if r.get(key)}
