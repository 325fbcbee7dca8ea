"""Our Whisper encoder on each utterance's own length against transformers' on 30 s, in one run.

Transformers' encoder takes recordings filled up to 30 s only. Printed are, on real speech and one
thread: seconds of speech per second of processor time, log-mel included, by ours up to several
layers, one utterance at a time and in batches, by ours on 30 s, and by transformers; how much less
processor time each needs than transformers; and how far the last two are apart.

    python benchmarks/bench_whisper.py ../whisper_base ../shared/data/emodb/wav --files 24
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import WhisperFeatureExtractor, WhisperModel

from emovc.common.wav import read_wav
from emovc.common.whisper import WhisperEncoder
from emovc.common.whisper_layers import RATE

FULL = 30 * RATE


def speech(folder: Path, n: int) -> list[Tensor]:
    """Evenly chosen recordings at 16 kHz."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix in (".wav", ".flac"))
    chosen = [paths[i * len(paths) // n] for i in range(min(n, len(paths)))]
    return [torch.from_numpy(read_wav(path, RATE)[0]) for path in chosen]


def filled_up(wav: Tensor) -> Tensor:
    """The recording with silence up to 30 s."""
    return torch.nn.functional.pad(wav, (0, FULL - len(wav)))


def by_ours(encoder: WhisperEncoder, wavs: list[Tensor], batch: int) -> None:
    """Encode all, neighbours in length together."""
    ordered = sorted(wavs, key=len)
    for start in range(0, len(ordered), batch):
        part = ordered[start : start + batch]
        encoder(pad_sequence(part, batch_first=True), torch.tensor([len(wav) for wav in part]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("whisper", type=Path, help="folder of Whisper")
    parser.add_argument("audio", type=Path, help="folder of recordings")
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    wavs = speech(args.audio, args.files)
    seconds = sum(map(len, wavs)) / RATE
    whole = WhisperEncoder.from_pretrained(args.whisper, peak=None)
    last = whole.n_layers - 1
    to_last = WhisperEncoder.from_pretrained(args.whisper, [last], peak=None)
    to_third = WhisperEncoder.from_pretrained(args.whisper, [2], peak=None)
    theirs = WhisperModel.from_pretrained(args.whisper).get_encoder().eval()
    extractor = WhisperFeatureExtractor.from_pretrained(args.whisper)

    def original(wav: Tensor) -> Tensor:
        mel = extractor(wav.numpy(), sampling_rate=RATE, return_tensors="pt").input_features
        return theirs(mel).last_hidden_state

    contestants: dict[str, tuple[Callable[[], object], float]] = {
        "transformers, 30 s": (lambda: [original(wav) for wav in wavs[:6]], 1.0),
        "ours, 30 s": (lambda: by_ours(to_last, list(map(filled_up, wavs[:6])), 1), 1.0),
        "ours, to the last layer": (lambda: by_ours(to_last, wavs, 1), 0.0),
        "ours, batches of 8": (lambda: by_ours(to_last, wavs, 8), 0.0),
        "ours, all layers": (lambda: by_ours(whole, wavs, 1), 0.0),
        "ours, to layer 2": (lambda: by_ours(to_third, wavs, 1), 0.0),
    }
    few = sum(map(len, wavs[:6])) / RATE
    times: dict[str, list[float]] = {name: [] for name in contestants}
    with torch.inference_mode():
        for k in range(args.rounds + 1):
            for name, (run, is_few) in contestants.items():
                start = time.process_time()
                run()
                if k:  # the first round warms up
                    taken = time.process_time() - start
                    times[name].append(taken / (few if is_few else seconds))
        full = filled_up(wavs[0])
        ours = to_last(full[None], torch.tensor([FULL])).states[0, 0]
        difference = (ours - original(wavs[0])[0]).abs().max()
    print(f"{len(wavs)} recordings, {seconds / len(wavs):.1f} s each on average, one thread")
    base = statistics.median(times["transformers, 30 s"])
    for name, values in times.items():
        cost = statistics.median(values)
        print(f"{name:24} {1 / cost:6.1f} x real time  {cost:.3f} s/s  x{base / cost:.1f}")
    print(f"largest difference of the last layers on 30 s {float(difference):.1e}")


if __name__ == "__main__":
    main()
