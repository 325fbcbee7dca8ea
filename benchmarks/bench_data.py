"""Speed of the data path, each figure beside what it has to keep up with, in one run.

Printed are the real-time factor per core of prepare's F0 (SwiftF0) + energy beside DIO's and
Harvest's, the share of a training step on this CPU that is spent loading its batch, and how long
the command takes to answer.

    python benchmarks/bench_data.py [data/nemo/manifest.jsonl]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from emovc.common.audio import LogMel
from emovc.common.corpora.toy import make_toy
from emovc.common.data import SpeechDataModule
from emovc.common.f0 import Dio, Harvest, SwiftF0
from emovc.common.features.extractors import EnergyFeature, F0Feature, SignalFeature
from emovc.common.loader import ResumableLoader
from emovc.common.manifest import read_manifest
from emovc.common.prepare import prepare
from emovc.common.sampling import Crop
from emovc.common.wav import read_wav
from emovc.speechflow import RandomResampling, SpeechFlow, SpeechFlowNet
from emovc.speechflow.training import LitSpeechFlow

RATE = 22_050


def real_time_factor(features: list[SignalFeature], manifest: Path, n: int) -> float:
    """Seconds of speech per second on one core, reading and resampling included."""
    rows = read_manifest(manifest)[:n]
    start = time.perf_counter()
    for u in rows:
        wav, _ = read_wav(u.path, RATE)
        for feature in features:
            feature(wav)
    return sum(u.seconds for u in rows) / (time.perf_counter() - start)


def loader(manifest: Path, num_workers: int) -> ResumableLoader:
    """Training batches as the configs ask for them."""
    data = SpeechDataModule(
        manifest,
        features=["f0", "dvector"],
        speaker_means=["dvector"],
        crop=Crop(88, 176, 11),
        batch_size=16,
        num_workers=num_workers,
    )
    data.setup("fit")
    return data.train_dataloader()


def waiting_and_stepping(manifest: Path, num_workers: int, steps: int) -> tuple[float, float]:
    """Median seconds until the batch is there, and of the step that follows."""
    torch.manual_seed(0)
    net = SpeechFlowNet(factor=11)
    module = LitSpeechFlow(SpeechFlow(net, LogMel()), RandomResampling(26, 43))
    module.log = module.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = module.configure_optimizers()
    waits, works = [], []
    batches = iter(loader(manifest, num_workers))
    for k in range(steps + 2):
        start = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        optimizer.zero_grad()
        module.training_step(batch, k).backward()
        optimizer.step()
        if k > 1:  # the first ones fill the queue and warm up
            waits.append(ready - start)
            works.append(time.perf_counter() - ready)
    return statistics.median(waits), statistics.median(works)


def seconds_to_help() -> float:
    """Seconds of ``emovc --help``, the best of three."""
    command = [sys.executable, "-c", "from emovc.common.cli import main; main()", "--help"]
    found = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, nargs="?", help="default: a small toy corpus")
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(args.manifest or toy(Path(folder)), args.files, args.steps)


def toy(folder: Path) -> Path:
    """Manifest of a small toy corpus."""
    make_toy(folder / "audio", n_sentences=6)
    prepare("toy", folder / "audio", folder / "prepared", num_workers=1)
    return folder / "prepared" / "manifest.jsonl"


def report(manifest: Path, n_files: int, n_steps: int) -> None:
    """Measure and print."""
    energy = EnergyFeature(RATE, 1024, 256, Dio().frame_centre)
    usual = F0Feature(SwiftF0())
    real_time_factor([usual], manifest, 1)  # loads its network
    ours = real_time_factor([usual, energy], manifest, n_files)
    dio = real_time_factor([F0Feature(Dio()), energy], manifest, n_files)
    slow = real_time_factor([F0Feature(Harvest()), energy], manifest, n_files // 10)
    print(
        f"F0 + energy {ours:.0f} x real time per core, x{ours / dio:.2f} of DIO's,"
        f" x{ours / slow:.1f} of Harvest's"
    )
    for num_workers in (0, 2):
        wait, work = waiting_and_stepping(manifest, num_workers, n_steps)
        share = wait / (wait + work)
        print(
            f"{num_workers} workers: wait {1000 * wait:.1f} ms, step {work:.2f} s,"
            f" {share:.1%} of the time is loading"
        )
    print(f"emovc --help {seconds_to_help():.2f} s")


if __name__ == "__main__":
    main()
