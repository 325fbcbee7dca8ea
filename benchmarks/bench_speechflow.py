"""Training step of SpeechFlow against a plain re-statement of the original's, in one run.

The original draws a crop of 64 to 128 frames for each sample, pads all to 192, and computes on the
padding too. Ours buckets the crops, so that a batch is as long as its crops. Both train the same
network on the same smooth random mels; printed are valid frames per second, their ratio, the share
of the machine's matmul peak, and both loss curves per valid cell.

    python benchmarks/bench_speechflow.py --steps 6 --curve 40
"""

import argparse
import resource
import statistics
import time

import numpy as np
import torch
from torch import Tensor

from emovc.speechflow import RandomResampling, SpeechFlowNet, masked_mse
from emovc.speechflow.converter import Inputs
from emovc.speechflow.model import Codes
from emovc.speechflow.pitch import f0_bins, f0_one_hot
from emovc.speechflow.training import resampled_inputs

BATCH, SPEAKER_DIM, FACTOR = 16, 82, 8


def utterances(n: int = 256, frames: int = 200) -> tuple[Tensor, Tensor]:
    """Smooth random mels (n, 80, T) in [0, 1] and F0 contours (n, T), -1 where unvoiced."""
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(n, 1, 80, frames, generator=rng)
    kernel = torch.hann_window(15, periodic=False).outer(torch.hann_window(9, periodic=False))
    mel = torch.nn.functional.conv2d(noise, kernel[None, None] / kernel.sum(), padding=(7, 4))
    mel = torch.sigmoid(6 * mel[:, 0])
    slow = torch.nn.functional.avg_pool1d(mel[:, :40].mean(1, keepdim=True), 9, 1, 4)[:, 0]
    return mel, torch.where(slow > 0.5, (4 * slow - 1.6).clamp(0, 1), -1.0)


def reference_batch(mel: Tensor, f0: Tensor, rng: np.random.Generator) -> Inputs:
    """Crops padded to 192 frames, one sample after the other, as the original's collate does."""
    rows, contours, lengths = [], [], []
    for i in rng.integers(len(mel), size=BATCH):
        length = int(rng.integers(64, 129))
        start = int(rng.integers(0, mel.shape[2] - length))
        pad = (0, 192 - length)
        rows.append(torch.nn.functional.pad(mel[i, :, start : start + length], pad))
        contours.append(torch.nn.functional.pad(f0[i, start : start + length], pad, value=-1.0))
        lengths.append(length)
    return as_inputs(torch.stack(rows), torch.stack(contours), torch.tensor(lengths))


def bucketed_batch(mel: Tensor, f0: Tensor, rng: np.random.Generator, length: int) -> Inputs:
    """Crops of one length."""
    chosen = rng.integers(len(mel), size=BATCH)
    start = rng.integers(0, mel.shape[2] - length, size=BATCH)
    pieces = [slice(s, s + length) for s in start]
    rows = torch.stack([mel[i, :, p] for i, p in zip(chosen, pieces, strict=True)])
    contours = torch.stack([f0[i, p] for i, p in zip(chosen, pieces, strict=True)])
    return as_inputs(rows, contours, torch.full((BATCH,), length))


def as_inputs(mel: Tensor, f0: Tensor, frames: Tensor) -> Inputs:
    """Inputs with random speakers."""
    mask = (torch.arange(mel.shape[2]) < frames[:, None]).float()
    speaker = torch.nn.functional.one_hot(torch.arange(BATCH) % SPEAKER_DIM, SPEAKER_DIM).float()
    return Inputs(mel, f0, speaker, mask, frames)


def plain_resample(x: Tensor, lengths: Tensor) -> Tensor:
    """Random resampling of (B, T, C), one sample after the other, padded to 192 frames."""
    out = []
    for row, length in zip(x, lengths.tolist(), strict=True):
        segments, speeds = torch.randint(19, 32, (7,)), 0.5 + torch.rand(7)
        pieces, start = [], 0
        for n, speed in zip(segments.tolist(), speeds.tolist(), strict=True):
            offset = torch.arange(64) / speed
            low = offset.floor().long()
            kept = (low < n - 1) & (low + start < length - 1)
            low, weight = low[kept] + start, (offset[kept] % 1)[:, None]
            pieces.append((1 - weight) * row[low] + weight * row[low + 1])
            start += n
        warped = torch.cat(pieces)[:192]
        out.append(torch.nn.functional.pad(warped, (0, 0, 0, 192 - len(warped))))
    return torch.stack(out)


def plain_forward(net: SpeechFlowNet, inputs: Inputs) -> Tensor:
    """The original's forward pass: everything 192 frames long, warps sample by sample."""
    both = torch.cat([inputs.mel, inputs.f0[:, None]], 1).transpose(1, 2)
    warped = plain_resample(both, inputs.frames).transpose(1, 2)
    mel, f0 = warped[:, :-1], f0_one_hot(f0_bins(warped[:, -1].clamp(-1, 1)))
    whole = torch.full((BATCH,), 192)
    encoders = net.content_encoder, net.pitch_encoder
    for content, pitch in zip(*(e.convs for e in encoders), strict=True):
        joint = torch.cat([content(mel), pitch(f0)], 1).transpose(1, 2)
        warped = plain_resample(joint, whole).transpose(1, 2)
        mel, f0 = warped.split([content.conv.out_channels, pitch.conv.out_channels], 1)
    rhythm = net.rhythm_encoder(inputs.mel)
    codes = Codes(net.content_encoder.code(mel), rhythm, net.pitch_encoder.code(f0))
    return net.decode(codes, inputs.speaker)


class Trainer:
    """One of the two steps.

    Args:
        bucketed: Ours, or the original's.
        bf16: Autocast to bfloat16.
    """

    def __init__(self, bucketed: bool, bf16: bool = False) -> None:
        torch.manual_seed(0)
        self.net = SpeechFlowNet(speaker_dim=SPEAKER_DIM, factor=FACTOR)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4, fused=bucketed)
        self.resampling = RandomResampling(19, 31)
        self.rng = np.random.default_rng(0)
        self.bucketed = bucketed
        self.bf16 = bf16
        self.mel, self.f0 = utterances()

    def step(self) -> tuple[int, int, float]:
        """Valid frames, computed frames, and loss per valid cell of one step."""
        if self.bucketed:
            length = int(self.rng.integers(8, 17)) * FACTOR  # 64 to 128 frames
            inputs = bucketed_batch(self.mel, self.f0, self.rng, length)
        else:
            inputs = reference_batch(self.mel, self.f0, self.rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            pred = self._ours(inputs) if self.bucketed else plain_forward(self.net, inputs)
        everywhere = torch.ones_like(inputs.mask)
        loss = masked_mse(pred, inputs.mel, inputs.mask if self.bucketed else everywhere)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        valid = int(inputs.mask.sum())
        return valid, inputs.mask.numel(), float(masked_mse(pred.detach(), inputs.mel, inputs.mask))

    def _ours(self, inputs: Inputs) -> Tensor:
        mel, f0 = resampled_inputs(inputs, self.resampling)
        one_hot = f0_one_hot(f0_bins(f0))
        codes = self.net.encode(mel, one_hot, inputs.mel, resampling=self.resampling)
        return self.net.decode(codes, inputs.speaker)


def measure(trainers: dict[str, Trainer], steps: int) -> dict[str, float]:
    """Valid frames per second of each, their steps taking turns; the median round counts."""
    rounds: dict[str, list[float]] = {name: [] for name in trainers}
    for k in range(steps + 1):
        for name, trainer in trainers.items():
            start = time.perf_counter()
            valid, computed, _ = trainer.step()
            seconds = time.perf_counter() - start
            if k:  # the first round warms up
                rounds[name].append(valid / seconds)
                gflops[name].append(step_gflop(trainer.net, computed) / seconds)
    return {name: statistics.median(values) for name, values in rounds.items()}


gflops: dict[str, list[float]] = {}


def step_gflop(net: SpeechFlowNet, frames: int) -> float:
    """Matrix arithmetic of forward and backward: every weight, on every frame, three times."""
    weights = sum(p.numel() for p in net.parameters() if p.dim() > 1)
    return 3 * 2 * weights * frames / 1e9


def matmul_peak() -> float:
    """GFLOP/s of a large matrix product."""
    a = torch.randn(2048, 2048)
    best = min(_timed(a) for _ in range(5))
    return 2 * 2048**3 / best / 1e9


def _timed(a: Tensor) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--curve", type=int, default=0, help="steps of the loss curves")
    parser.add_argument("--bf16", action="store_true", help="measure bfloat16 as well")
    args = parser.parse_args()
    trainers = {"original, padded to 192": Trainer(False), "ours, fp32": Trainer(True)}
    if args.bf16:
        trainers["ours, bf16"] = Trainer(True, bf16=True)
    gflops.update({name: [] for name in trainers})
    peak = matmul_peak()
    speeds = measure(trainers, args.steps)
    reference = speeds["original, padded to 192"]
    print(f"{torch.get_num_threads()} threads, matmul peak {peak:.0f} GFLOP/s")
    for name, speed in speeds.items():
        share = statistics.median(gflops[name]) / peak
        print(
            f"{name:26}{speed:8.0f} valid frames/s  x{speed / reference:.2f}  {share:.0%} of peak"
        )
    for k in range(args.curve):
        losses = [trainer.step()[2] for trainer in trainers.values()]
        if (k + 1) % 10 == 0:
            print(f"step {k + 1:4}", *(f"{loss:.5f}" for loss in losses))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
