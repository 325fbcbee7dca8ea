"""Speed of the Poincaré ball beside geoopt's, forward and backward, in one run (float32).

Each line gives the median time of ours, geoopt's, and their ratio (above 1: ours is faster). The
last line is what HYFuse does: two maps to the ball, the Möbius sum, the map back.

    python benchmarks/bench_poincare.py [--batch 32] [--dim 128] [--threads 1]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import geoopt
import torch
from torch import Tensor

from emovc.ser.poincare import distance, exp0, log0, midpoint, mobius_add

Step = Callable[[Tensor, Tensor], Tensor]
C = 1.0


def pairs(ball: geoopt.PoincareBall) -> dict[str, tuple[Step, Step]]:
    """What is compared, by name: ours and geoopt's, each with its projection."""

    def fused(u: Tensor, v: Tensor) -> Tensor:
        return log0(mobius_add(exp0(u, C), exp0(v, C), C), C)

    def reference(u: Tensor, v: Tensor) -> Tensor:
        return ball.logmap0(ball.mobius_add(ball.expmap0(u), ball.expmap0(v)))

    return {
        "exp0": (lambda u, v: exp0(u, C), lambda u, v: ball.expmap0(u)),
        "log0": (lambda u, v: log0(u, C), lambda u, v: ball.logmap0(u)),
        "mobius_add": (lambda u, v: mobius_add(u, v, C), ball.mobius_add),
        "distance": (lambda u, v: distance(u, v, C), ball.dist),
        "midpoint": (
            lambda u, v: midpoint(torch.stack([u, v], 1), C),
            lambda u, v: ball.weighted_midpoint(torch.stack([u, v], 1), reducedim=[1]),
        ),
        "fusion": (fused, reference),
    }


def compare(ours: Step, theirs: Step, u: Tensor, v: Tensor, rounds: int) -> tuple[float, float]:
    """Median seconds of forward and backward of both, taking turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(rounds + 20):
        for step, seconds in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            step(u, v).sum().backward()
            if u.is_cuda:
                torch.cuda.synchronize()
            if k >= 20:  # the first ones compile geoopt's scripts
                seconds.append(time.perf_counter() - start)
            u.grad = v.grad = None
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    scale = 0.5 / args.dim**0.5  # norms near 0.5, inside the ball
    u, v = (
        (scale * torch.randn(args.batch, args.dim, device=args.device)).requires_grad_()
        for _ in "uv"
    )
    ball = geoopt.PoincareBall(c=C).to(args.device)
    print(f"batch {args.batch}, {args.dim} dimensions, {args.device}, {args.threads} thread(s)")
    for name, (ours, theirs) in pairs(ball).items():
        a, b = compare(ours, theirs, u, v, args.rounds)
        print(f"{name:<12}{1e6 * a:8.0f} us   geoopt {1e6 * b:8.0f} us   x{b / a:.2f}")


if __name__ == "__main__":
    main()
