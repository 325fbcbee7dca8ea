"""Codebooks of the emotion quantiser against vector-quantize-pytorch's, in one run.

Both have the same sizes, no entropy model and no null codes in use (lambda 0). Printed are, as
minima of alternating repeats: the choice of codes for a batch, a training step with moving
averages (wanted: 4 times as fast), and the seconds of a training with the group context on
synthetic vectors (wanted: under 3 minutes on 2 cores).

    python benchmarks/bench_quantizer.py [--dim 768 --batch 512 --train 15000 --epochs 12]
"""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from vector_quantize_pytorch import GroupedResidualVQ

from emovc.genner_tts import EmotionQuantizer
from emovc.genner_tts.codebooks import GroupedResidualCodebooks
from emovc.genner_tts.search import nearest_codes
from emovc.genner_tts.synthetic_embeddings import SyntheticSource


def fastest(contestants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Least seconds of each, their turns alternating after one to warm up."""
    times = dict.fromkeys(contestants, float("inf"))
    for k in range(repeats + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if k:
                times[name] = min(times[name], time.perf_counter() - start)
    return times


def say(title: str, times: Mapping[str, float], reference: str) -> None:
    """Print times and ratios."""
    print(f"\n{title}")
    for name, seconds in times.items():
        print(f"{name:26}{1000 * seconds:9.2f} ms  x{times[reference] / seconds:.2f}")


def compare(args: argparse.Namespace) -> None:
    """Print choice of codes and training step of both."""
    torch.manual_seed(0)
    x = torch.randn(args.batch, args.dim)
    ours = GroupedResidualCodebooks(args.dim, args.groups, args.stages, args.codes, 0.99, 0.01)
    ours.fill(torch.randn(2048, args.dim))
    theirs = GroupedResidualVQ(
        dim=args.dim, groups=args.groups, num_quantizers=args.stages, codebook_size=args.codes,
        decay=0.99, threshold_ema_dead_code=0,
    )  # fmt: skip

    @torch.no_grad()
    def step() -> None:
        """Choose and move."""
        ours.update(x, nearest_codes(ours, x))

    @torch.no_grad()
    def their_step(train: bool) -> None:
        """The same in one call of theirs."""
        theirs.train(train)(x)

    name = "vector-quantize-pytorch"
    books = f"{args.groups} groups, {args.stages} stages, {args.codes} codes"
    size = f"{args.batch} x {args.dim}, {books}"
    chosen = {name: lambda: their_step(False), "ours": lambda: nearest_codes(ours, x)}
    say(f"codes of {size}", fastest(chosen, args.repeats), name)
    moved = {name: lambda: their_step(True), "ours": step}
    say(f"training step of {size}", fastest(moved, args.repeats), name)


def train(args: argparse.Namespace) -> None:
    """Print the seconds of a training with the entropy model."""
    model = EmotionQuantizer(args.dim, args.groups, args.stages, args.codes)
    per_emotion = -(-args.train // 5)
    data = SyntheticSource(args.dim).draw(per_emotion).vectors[: args.train]
    start = time.perf_counter()
    model.fit_codebooks(data)
    optimizer = torch.optim.AdamW(model.prior.parameters(), lr=2e-3)
    for _ in range(args.epochs):
        for rows in torch.randperm(len(data)).split(args.batch):
            lam = model.draw_lambdas(len(rows), data.device)
            x = model.space(data[rows])
            chosen = model.choose(x, lam)
            loss = model.prior.code_bits(chosen.indices, model.codebooks.codes, lam).mean()
            model.codebooks.update(x, chosen.indices)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = time.perf_counter() - start
    print(f"\n{len(data)} vectors, {args.epochs} epochs with the group context: {seconds:.0f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--stages", type=int, default=8)
    parser.add_argument("--codes", type=int, default=64)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--train", type=int, default=15_000, help="vectors; 0 leaves it out")
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    compare(args)
    if args.train:
        train(args)


if __name__ == "__main__":
    main()
