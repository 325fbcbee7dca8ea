"""Sampling and conversion with EmoConv-Diff, in one run.

Printed are, as minima of alternating repeats: the time of a sampling step against the plain decoder
of ``plain_decoder.py`` with the same weights (wanted: 1.5 times as fast, after both have been shown
to give the same mels), and of ``convert_batch`` against one utterance at a time. With a trained run
also the mel L1 of ``ml`` at 30 evaluations and ``dpm`` at few, and the real-time factor.

    python benchmarks/bench_emoconv.py --frames 400 [--run RUN --vocoder FOLDER]
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import plain_decoder as reference
import torch
from torch import Tensor
from torch.nn.functional import l1_loss
from torch.nn.utils.rnn import pad_sequence

from emovc.common.audio import LogMel
from emovc.common.conversion import EmotionTarget, Speech
from emovc.common.convert import load_vocoder, read_speech
from emovc.common.manifest import read_manifest
from emovc.common.pretrained import load_converter, manifest_of
from emovc.common.speaker import SpeakerEncoder
from emovc.emoconv_diff import AverageVoiceEncoder, EmoConvDiff, EmotionHearing
from emovc.emoconv_diff.bank import LEVELS
from emovc.emoconv_diff.diffusion import Schedule
from emovc.emoconv_diff.experiments import choose
from emovc.emoconv_diff.samplers import Solver, sample

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCE = 1e-8  # of mels in float64, relative to the largest value

Times = dict[Any, tuple[float, float]]  # least seconds that passed, and of the processors


def fastest(
    contestants: Mapping[Any, Callable[[], Any]], repeats: int
) -> tuple[Times, dict[Any, Any]]:
    """Least times of each, their turns alternating after one to warm up, and what each gives."""
    times: Times = {}
    results: dict[Any, Any] = {}
    for k in range(repeats + 1):
        for name, run in contestants.items():
            start = time.perf_counter(), time.process_time()
            results[name] = run()
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            spent = time.perf_counter() - start[0], time.process_time() - start[1]
            least = times[name] if k > 1 else spent
            times[name] = min(least[0], spent[0]), min(least[1], spent[1])
    return times, results


def ours(
    net: Callable[..., Tensor],
    given: reference.Inputs,
    steps: int,
    bf16: bool = False,
) -> list[Tensor]:
    """Mels of our network and sampler, the whole batch at once."""
    lengths = [mel.shape[1] for mel in given.mels]
    y = pad_sequence([mel.T for mel in given.mels], batch_first=True).transpose(1, 2)
    ends = torch.tensor(lengths, device=DEVICE)[:, None]
    mask = (torch.arange(y.shape[2], device=DEVICE) < ends).to(y)

    noise = reference.generators(len(y), DEVICE)

    def score(x: Tensor, t: Tensor) -> Tensor:
        """Score of the batch."""
        return net(x, mask, y, t, given.speakers, given.emotions)

    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bf16):
        drawn = sample(score, y, mask, Schedule(), steps, generator=noise)
    return [mel[:, :n] for mel, n in zip(drawn, lengths, strict=True)]


def check(dim: int) -> None:
    """Show that the plain decoder is right: in float64, both give the same mels."""
    for masked, lengths in ((False, [32]), (True, [32]), (True, [32, 28, 20])):
        net = reference.network(dim, DEVICE, masked).double()
        given, decoder = reference.made(net, lengths), reference.PlainDecoder(net)
        found = reference.apart(ours(net, given, 3), reference.plain(decoder, given, 3))
        print(f"in float64, masked {masked}, {lengths} frames: mels apart by {found:.1e}")
        assert found < TOLERANCE, "the plain decoder is not the same network"


def compare_steps(dim: int, lengths: Sequence[int], steps: int, repeats: int) -> None:
    """Print the time of a sampling step of the plain decoder and of ours."""
    net = reference.network(dim, DEVICE)
    given, decoder = reference.made(net, lengths), reference.PlainDecoder(net)
    contestants: dict[str, Callable[[], list[Tensor]]] = {
        "plain loop": lambda: reference.plain(decoder, given, steps),
        "ours": lambda: ours(net, given, steps),
    }
    if DEVICE.type == "cuda":
        quick = torch.compile(net)
        contestants["ours, bf16"] = lambda: ours(net, given, steps, bf16=True)
        contestants["ours, compiled"] = lambda: ours(quick, given, steps)
        contestants["ours, bf16, compiled"] = lambda: ours(quick, given, steps, bf16=True)
    times, mels = fastest(contestants, repeats)
    padding = 1 - sum(lengths) / (len(lengths) * max(lengths))
    size = f"{len(lengths)} x {max(lengths)} frames, {padding:.0%} of them padding"
    print(f"\ndim {dim}, {steps} steps of ml, batch of {size}")
    for name, own in times.items():
        faster, cheaper = (a / b for a, b in zip(times["plain loop"], own, strict=True))
        said = f"{name:20}{1000 * own[0] / steps:9.1f} ms per step  x{faster:.2f}"
        if DEVICE.type == "cpu":
            said += f" (processor time x{cheaper:.2f})"
        print(f"{said}  mels apart by {reference.apart(mels[name], mels['plain loop']):.1e}")


def random_model(dim: int, steps: int) -> EmoConvDiff:
    """A converter of random weights that knows all levels of arousal."""
    score = reference.network(dim, DEVICE)
    voices, hearing = SpeakerEncoder(22_050), EmotionHearing(dim=score.emotion_dim)
    encoder = AverageVoiceEncoder(dim=128, hidden=512, n_layers=4, postnet_dim=16)
    model = EmoConvDiff(encoder, score, LogMel(), voices, hearing, steps=steps)
    model.bank.levels.normal_()
    model.bank.level_counts.fill_(1)
    return model.to(DEVICE).eval()


def target_of(model: EmoConvDiff) -> EmotionTarget:
    """The highest arousal that the model knows."""
    known = [a for a, n in zip(LEVELS, model.bank.level_counts.tolist(), strict=True) if n]
    return EmotionTarget(arousal=float(known[-1]))


def compare_batches(model: EmoConvDiff, speech: Sequence[Speech], repeats: int) -> None:
    """Print the time per utterance of conversion together and one by one."""
    n, target = len(speech), target_of(model)
    contestants: dict[str, Callable[[], list[Tensor]]] = {
        "one by one": lambda: [model.convert(s, target, i) for i, s in enumerate(speech)],
        "together": lambda: model.convert_batch(speech, [target] * n, range(n)),
    }
    times, mels = fastest(contestants, repeats)
    most = max(float((a - b).abs().max()) for a, b in zip(*mels.values(), strict=True))
    print(f"\n{n} utterances, {model.solver} at {model.steps}; mels apart by at most {most:.1e}")
    for name, own in times.items():
        faster, cheaper = (a / b for a, b in zip(times["one by one"], own, strict=True))
        print(f"{name:12}{own[0] / n:8.3f} s each  x{faster:.2f} (processor time x{cheaper:.2f})")


@torch.no_grad()
def solver_rows(
    model: EmoConvDiff, speech: Speech, counts: Sequence[int], many: int, repeats: int
) -> Tensor:
    """Of ml at 30, then dpm at each count: L1 to the recording, to many, and seconds."""
    given = model.conditions([speech], [EmotionTarget([speech])])
    mel, score = model.frontend(speech.wav[None]), model.score_function(given)

    def drawn(solver: Solver, steps: int) -> Tensor:
        """A mel, (1, M, T)."""
        noise = torch.Generator().manual_seed(0)
        return sample(score, given.y, given.mask, model.schedule, steps, solver, generator=noise)

    best: dict[Solver, Tensor] = {s: drawn(s, many) for s in ("ml", "dpm")}
    asked: list[tuple[Solver, int]] = [("ml", 30), *(("dpm", n) for n in counts)]
    times, mels = fastest({key: partial(drawn, *key) for key in asked}, repeats)
    rows = [[l1_loss(mels[k], one) for one in (mel, best[k[0]])] + [times[k][0]] for k in asked]
    ends = [[l1_loss(own, mel), 0, 0] for own in best.values()]
    return torch.tensor([*rows, *ends])


def compare_solvers(
    model: EmoConvDiff, speech: Sequence[Speech], counts: Sequence[int], many: int, repeats: int
) -> None:
    """Print how near few evaluations come, and the fewest of dpm that do as well as ml at 30."""
    table = torch.stack([solver_rows(model, s, counts, many, repeats) for s in speech]).mean(0)
    names = ["ml 30", *(f"dpm {n}" for n in counts), f"ml {many}", f"dpm {many}"]
    print(f"\n{len(speech)} utterances, each rebuilt with its own emotion; means")
    print(f"{'':10}L1 to the recording  to its own {many}  seconds  of ml 30's time")
    for name, (real, own, spent) in zip(names, table.tolist(), strict=True):
        said = f"{spent:9.2f}{spent / float(table[0, 2]):17.2f}" if spent else ""
        print(f"{name:10}{real:19.4f}{own:16.4f}{said}")
    enough = [n for i, n in enumerate(counts, 1) if table[i, 0] <= table[0, 0]]
    print(f"fewest of dpm with at most ml 30's L1 to the recording: {(*enough, 'none')[0]}")


@torch.inference_mode()
def compare_real_time(
    model: EmoConvDiff, speech: Sequence[Speech], vocoder: Path | None, repeats: int
) -> None:
    """Print seconds of conversion per second of audio, mel alone and with the vocoder."""
    target = target_of(model)

    def converted(solver: Solver, steps: int) -> list[Tensor]:
        """Mels, one by one."""
        model.solver, model.steps = solver, steps
        return [model.convert(s, target) for s in speech]

    asked: list[tuple[Solver, int]] = [("ml", 30), ("dpm", 10), ("dpm", 6)]
    contestants: dict[Any, Callable[[], Any]] = {way: partial(converted, *way) for way in asked}
    if vocoder:
        voice, mels = load_vocoder(vocoder, model.frontend, DEVICE.type), converted("dpm", 6)
        contestants["vocoder"] = lambda: [voice(mel[None]) for mel in mels]
    times, _ = fastest(contestants, repeats)
    seconds = sum(len(s.wav) for s in speech) / model.frontend.sample_rate
    print(f"\nreal-time factor over {seconds:.1f} s of audio")
    for solver, steps in asked:
        spent = times[solver, steps][0]
        said = f", waveform {(spent + times['vocoder'][0]) / seconds:.3f}" if vocoder else ""
        print(f"{solver} {steps}: mel {spent / seconds:.3f}{said}")


def measure_model(args: argparse.Namespace) -> None:
    """Measure a trained converter, or the batches of a random one."""
    if args.run is None:
        lengths = reference.lengths_of(args.utterances, args.frames)
        speech = [Speech(0.1 * torch.randn(256 * n, device=DEVICE)) for n in lengths]
        compare_batches(random_model(args.dim, args.steps), speech, args.repeats)
        return
    model, manifest = load_converter(args.run).to(DEVICE), manifest_of(args.run)
    chosen = choose(read_manifest(manifest), manifest, "test", args.utterances, seed=0)
    speech = [read_speech(u.path, model.frontend.sample_rate, DEVICE.type) for u in chosen]
    compare_batches(model, speech, args.repeats)
    compare_solvers(model, speech, sorted(args.evaluations), args.many, args.repeats)
    compare_real_time(model, speech, args.vocoder, args.repeats)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=64, help="channels of the random networks")
    parser.add_argument("--frames", type=int, default=256, help="of the longest utterance")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--run", type=Path, help="trained EmoConv-Diff")
    parser.add_argument("--utterances", type=int, default=4, help="how many are converted")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[4, 6, 10], help="of dpm")
    parser.add_argument("--many", type=int, default=100, help="evaluations to compare with")
    parser.add_argument("--vocoder", type=Path, help="folder of a HiFi-GAN")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    print(f"{torch.get_num_threads()} threads, {DEVICE.type}")
    check(min(args.dim, 16))
    count = 16 if DEVICE.type == "cuda" else 1  # on a CPU utterances are drawn in turn
    compare_steps(args.dim, reference.lengths_of(count, args.frames), args.steps, args.repeats)
    measure_model(args)


if __name__ == "__main__":
    main()
