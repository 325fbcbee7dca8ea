"""Training steps of AINN's two stages with the networks of configs/model/ainn.yaml, in one run.

Printed are the seconds of a step of Stage I and of Stage II and their ratio (wanted: below 2.2),
with a manifest the share of Stage I's time that is spent waiting for batches (wanted: below 5 %),
and the peak memory. A GPU adds bfloat16 and compiled networks.

    python benchmarks/bench_ainn.py [data/nemo/manifest.jsonl] --steps 5
"""

import argparse
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device

from emovc.ainn import AINN, ContentEncoder, CueCorrelation, EmotionEncoder, Encoders, Generator
from emovc.ainn.adaptation import LitAINNAdaptation
from emovc.ainn.training import LitAINN
from emovc.common.audio import LogMel
from emovc.common.batch import Batch
from emovc.common.data import SpeechDataModule
from emovc.common.emotions import EMOTIONS
from emovc.common.sampling import Crop
from emovc.common.speaker import SpeakerEncoder

FRAMES, RATE, HOP, SPEAKER_DIM = 160, 22_050, 256, 256
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CATEGORIES = ["neutral", "happy", "angry", "sad", "surprise"]


def synthetic(size: int, emotions: list[str], partners: tuple[Batch, ...] = ()) -> Batch:
    """Noise of 160 frames whose level rises and falls."""
    samples = FRAMES * HOP
    level = torch.sin(torch.linspace(0, 12, samples)).square()
    rows = torch.arange(size)
    return Batch(
        ids=[str(i) for i in range(size)],
        wav=0.1 * level * torch.randn(size, samples),
        lengths=torch.full((size,), samples),
        speaker=rows % 10,
        emotion=torch.tensor([EMOTIONS.index(e) for e in emotions])[rows % len(emotions)],
        features={"dvector": torch.nn.functional.normalize(torch.randn(size, SPEAKER_DIM), dim=1)},
        partners=partners,
    )


class Stage:
    """A stage and its optimiser.

    Args:
        adaptation: Stage II, else Stage I.
        size: Utterances of the batch, beside their partners.
        bf16: Autocast to bfloat16.
        compiled: Compile the networks.
    """

    def __init__(
        self, adaptation: bool, size: int, bf16: bool = False, compiled: bool = False
    ) -> None:
        torch.manual_seed(0)
        encoders = Encoders(ContentEncoder(), EmotionEncoder(), CATEGORIES)
        voices = SpeakerEncoder(RATE).requires_grad_(False)  # d-vectors come with the batch
        model = AINN(encoders, Generator(), LogMel(), voices)
        if compiled:
            for network in (encoders.content, encoders.emotion, model.generator):
                network.compile()
        self.module: Any = (
            LitAINNAdaptation(model) if adaptation else LitAINN(model, CueCorrelation())
        )
        for name in ("log", "log_dict"):
            setattr(self.module, name, lambda *args, **kwargs: None)
        self.module.to(DEVICE).train()
        self.optimizer = self.module.configure_optimizers()["optimizer"]
        self.bf16 = bf16
        partner = synthetic(size, CATEGORIES if adaptation else ["neutral"])
        own = synthetic(size, CATEGORIES[1:], (partner,))
        self.batch: Batch = move_data_to_device(own, DEVICE)

    def step(self, batch: Batch | None = None) -> float:
        """Seconds of a step on a batch, by default the synthetic one."""
        start = time.perf_counter()
        own = self.batch if batch is None else move_data_to_device(batch, DEVICE)
        self.optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.bf16):
            loss = self.module.training_step(own, 0)
        loss.backward()
        self.optimizer.step()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def seconds(stages: dict[str, Stage], steps: int) -> dict[str, float]:
    """Median seconds per step of each, their steps taking turns after one to warm up."""
    found: dict[str, list[float]] = {name: [] for name in stages}
    for k in range(steps + 1):
        for name, stage in stages.items():
            spent = stage.step()
            if k:
                found[name].append(spent)
    return {name: statistics.median(values) for name, values in found.items()}


def batches(manifest: Path, size: int, num_workers: int) -> Iterator[Batch]:
    """Training batches as configs/data/ainn_nemo.yaml asks for them, epoch after epoch."""
    data = SpeechDataModule(
        manifest,
        features=["dvector"],
        speaker_means=["dvector"],
        grouping="parallel",
        emotions=CATEGORIES,
        crop=Crop(128, 192, 32),
        batch_size=size,
        num_workers=num_workers,
    )
    data.setup("fit")
    loader = data.train_dataloader()
    while True:
        yield from loader


def waiting(stage: Stage, loaded: Iterator[Batch], steps: int) -> tuple[float, float]:
    """Median seconds until a batch is there, and of the step that follows."""
    waits, works = [], []
    for k in range(steps + 2):
        start = time.perf_counter()
        batch = next(loaded)
        wait = time.perf_counter() - start
        work = stage.step(batch)
        if k > 1:  # the first ones fill the queue and warm up
            waits.append(wait)
            works.append(work)
    return statistics.median(waits), statistics.median(works)


def peak_memory() -> str:
    """Most memory in use so far."""
    if DEVICE.type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB of the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"


def compare(size: int, steps: int, bf16: bool = False, compiled: bool = False) -> Stage:
    """Measure both stages, print, and hand back Stage I."""
    stages = {
        "Stage I": Stage(False, size, bf16, compiled),
        "Stage II": Stage(True, size, bf16, compiled),
    }
    found = seconds(stages, steps)
    kind = ("bf16" if bf16 else "fp32") + (", compiled" if compiled else "")
    one, two = found.values()
    rate = size * FRAMES * HOP / RATE / one
    print(
        f"{kind}: Stage I {1000 * one:.0f} ms ({rate:.1f} s of speech per s), Stage II"
        f" {1000 * two:.0f} ms, x{two / one:.2f}; peak memory {peak_memory()}"
    )
    return stages["Stage I"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, nargs="?", help="measure its loading too")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
    print(f"{name}, {torch.get_num_threads()} threads, batches of {args.batch} x {FRAMES} frames")
    stage = compare(args.batch, args.steps)
    for workers in args.workers if args.manifest else ():
        loaded = batches(args.manifest, args.batch, workers)
        wait, work = waiting(stage, loaded, args.steps)
        share = wait / (wait + work)
        print(
            f"{workers} workers: wait {1000 * wait:.1f} ms, step {1000 * work:.0f} ms,"
            f" {share:.1%} of the time is loading"
        )
    if DEVICE.type == "cpu":
        print("bf16 and torch.compile: not measured, they need a GPU")
        return
    compare(args.batch, args.steps, bf16=True)
    compare(args.batch, args.steps, compiled=True)
    compare(args.batch, args.steps, bf16=True, compiled=True)


if __name__ == "__main__":
    main()
