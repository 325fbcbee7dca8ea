"""Our HiFi-GAN against transformers' SpeechT5HifiGan, Griffin-Lim, and the shipped vocoder.

The first two networks have the same weights, folded; they are random unless ``--weights`` names a
folder of the official format, which changes no time. The speech is a recording, repeated or cut to
``--seconds``, or noise where none is named; the shipped vocoder is left out for other mels. Their
turns alternate; printed are the medians of the real-time factor (seconds that pass per second of
audio) and of the processor time of all threads per second of audio, on which other load weighs
less; how much less of the latter is needed than by transformers; and how far the two waveforms are
apart.

    python benchmarks/bench_vocoder.py --audio recording.wav --seconds 3 --rounds 5
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from emovc.common.griffin_lim import GriffinLim
from emovc.common.refined_vocoder import RefinedVocoder
from emovc.common.vocoder import HiFiGAN
from emovc.common.wav import read_wav

WIDTHS = {"V1": 512, "V2": 128}


class Seconds(NamedTuple):
    """Time that passed, and time of the processors, in s."""

    passed: float
    processor: float


def reference(network: HiFiGAN) -> SpeechT5HifiGan:
    """Transformers' network with the weights of ours, which are folded."""
    settings = {name: value for name, value in network.settings.items() if name != "resblock"}
    config = SpeechT5HifiGanConfig(
        model_in_dim=network.frontend.n_mels,
        sampling_rate=network.frontend.sample_rate,
        normalize_before=False,
        **settings,
    )
    theirs = SpeechT5HifiGan(config).eval()
    state = {k.replace("ups.", "upsampler."): v for k, v in network.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert set(missing) == {"mean", "scale"} and not unexpected
    return theirs


def measure(
    contestants: dict[str, Callable[[], Tensor]], rounds: int
) -> tuple[dict[str, Seconds], dict[str, Tensor]]:
    """Median times of each, their turns alternating, and what each gives."""
    times: dict[str, list[Seconds]] = {name: [] for name in contestants}
    results = {}
    for k in range(rounds + 1):
        for name, run in contestants.items():
            start = Seconds(time.perf_counter(), time.process_time())
            results[name] = run()
            stop = Seconds(time.perf_counter(), time.process_time())
            if k:  # the first round warms up
                times[name].append(Seconds(*(b - a for a, b in zip(start, stop, strict=True))))
    medians = {
        name: Seconds(*map(statistics.median, zip(*values, strict=True)))
        for name, values in times.items()
    }
    return medians, results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the audio")
    parser.add_argument("--batch", type=int, default=1, help="utterances at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", choices=list(WIDTHS), default="V2")
    parser.add_argument("--weights", type=Path, help="folder of an official generator")
    parser.add_argument("--audio", type=Path, help="recording of speech")
    args = parser.parse_args()
    torch.manual_seed(0)
    ours = HiFiGAN(upsample_initial_channel=WIDTHS[args.model]).eval().fold_weight_norm()
    if args.weights is not None:
        ours = HiFiGAN.from_pretrained(args.weights)
    frames = int(args.seconds * ours.frontend.frame_rate)
    length = frames * ours.frontend.hop_length
    wav = 0.05 * torch.randn(args.batch, length)
    if args.audio is not None:
        recording = torch.from_numpy(read_wav(args.audio, ours.frontend.sample_rate)[0])
        wav = recording.repeat(length // len(recording) + 1)[:length].expand(args.batch, -1)
    mel = ours.frontend(wav)
    theirs, transposed = reference(ours), mel.transpose(1, 2).contiguous()
    griffin_lim = GriffinLim(ours.frontend)
    contestants: dict[str, Callable[[], Tensor]] = {
        "transformers": lambda: theirs(transposed),
        "ours": lambda: ours(mel),
        "Griffin-Lim, 60 it.": lambda: griffin_lim(mel),
    }
    shipped = RefinedVocoder.from_pretrained()
    if ours.frontend.settings == shipped.frontend.settings:
        contestants["shipped vocoder"] = lambda: shipped(mel)
    with torch.inference_mode():
        seconds, results = measure(contestants, args.rounds)
    kind = str(args.weights) if args.weights else f"{args.model}, random weights"
    audio = args.batch * frames / ours.frontend.frame_rate
    print(f"{kind}, {args.batch} x {args.seconds:g} s, {torch.get_num_threads()} threads")
    for name, value in seconds.items():
        ratio = seconds["transformers"].processor / value.processor
        passed, processor = value.passed / audio, value.processor / audio
        print(f"{name:20} real-time factor {passed:.3f}  processor {processor:.3f}  x{ratio:.2f}")
    difference = (results["ours"] - results["transformers"]).abs().max()
    print(f"largest difference of the two networks {float(difference):.1e}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
