"""What judges of quality say of recordings, of the same with noise, and of Griffin-Lim's copies.

For each manifest, printed as Markdown: the mean of each metric over recordings that are evenly
spaced in it; and each judge's processor time for 3 s of speech and for each second of 30 s. NISQA's
weights aren't distributed with emovc; name the folder that holds nisqa.tar and nisqa_tts.tar.

    python benchmarks/bench_judges.py data/nemo/manifest.jsonl --nisqa weights/nisqa
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from emovc.common.audio import LogMel
from emovc.common.griffin_lim import GriffinLim
from emovc.common.judges.distill_mos import DistillMos
from emovc.common.judges.nisqa import Nisqa
from emovc.common.judges.quality import Dnsmos
from emovc.common.judging import Judge
from emovc.common.manifest import read_manifest
from emovc.common.markdown import markdown_table
from emovc.common.panel import Panel
from emovc.common.wav import read_wav

RATE = 22_050  # Hz
SNR_DB = 10.0


def with_noise(wav: np.ndarray) -> np.ndarray:
    """A recording (N,) with white noise 10 dB below its level."""
    noise = np.random.default_rng(0).standard_normal(len(wav))
    gain = np.sqrt(np.square(wav).mean() / np.square(noise).mean()) * 10 ** (-SNR_DB / 20)
    return (wav + gain * noise).astype(np.float32)


def copier() -> Callable[[np.ndarray], np.ndarray]:
    """Griffin-Lim's copy of a recording (N,), of its log-mel."""
    frontend = LogMel()
    vocoder = GriffinLim(frontend)
    return lambda wav: vocoder(frontend(torch.from_numpy(wav)[None]))[0].numpy()


def cost(judge: Judge, wav: np.ndarray, rounds: int = 3) -> float:
    """Median seconds of processor time for a recording (N,), after one that warms up."""
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        judge.hear(wav, RATE)
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def scores(panel: Panel, recordings: list[np.ndarray]) -> list[str]:
    """Mean of each metric over the recordings that its judge can score."""
    values: dict[str, list[float]] = {metric: [] for metric in panel.headings}
    for wav in recordings:
        for scored in panel.hear(wav).values():
            if isinstance(scored, dict):
                for metric, value in scored.items():
                    values[metric].append(value)
    return [f"{np.mean(found):.2f}" if found else "" for found in values.values()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--nisqa", type=Path, help="folder with nisqa.tar and nisqa_tts.tar")
    parser.add_argument("--files", type=int, default=20, help="recordings of each manifest")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judges: list[Judge] = [Dnsmos(), DistillMos()]
    if args.nisqa is not None:
        judges += [Nisqa(args.nisqa / f"{name}.tar") for name in ("nisqa", "nisqa_tts")]
    panel = Panel(judges, RATE)
    conditions = {
        "recording": lambda wav: wav,
        f"white noise, {SNR_DB:g} dB": with_noise,
        "Griffin-Lim": copier(),
    }
    lines: list[list[str]] = [["corpus", "condition", *panel.headings.values()]]
    speech: list[np.ndarray] = []
    for manifest in args.manifests:
        listed = read_manifest(manifest)
        places = np.linspace(0, len(listed) - 1, min(args.files, len(listed))).round()
        drawn = [listed[int(place)] for place in places]
        recordings = [read_wav(utterance.path, RATE)[0] for utterance in drawn]
        speech += recordings
        for name, change in conditions.items():
            lines.append([drawn[0].corpus, name, *scores(panel, [change(w) for w in recordings])])
    print(markdown_table(lines))
    joined = np.resize(np.concatenate(speech), 30 * RATE)
    timed: list[list[str]] = [["judge", "CPU ms per 3 s", "CPU s per s of 30 s"]]
    for judge in judges:
        short, long = cost(judge, joined[: 3 * RATE]), cost(judge, joined, 1) / 30
        timed.append([judge.name, f"{1000 * short:.0f}", f"{long:.3f}"])
    print(f"\n{markdown_table(timed)}")


if __name__ == "__main__":
    main()
