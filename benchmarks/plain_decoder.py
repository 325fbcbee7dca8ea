"""DiffVC's decoder and its maximum-likelihood sampler, plainly: the reference of bench_emoconv.

Written from their description alone. Module names are those of ``ScoreNet``, so that its weights
load. The condition is spread over all pixels and convolved with them, masks are multiplied before
every convolution though nothing is padded, the steps of the attention are apart, and utterances
are sampled one at a time.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.emoconv_diff.diffusion import Schedule
from emovc.emoconv_diff.unet import ScoreNet

FIELD, WIDTH, GROUPS, HEADS, STRIDE = 128, 256, 8, 4, 4
SPEAKER, EMOTION = 256, 128  # sizes of the vectors of a random network
SHARES = (1, 0.85, 0.7, 0.55)  # lengths of the utterances of a batch


class PlainBlock(nn.Module):
    """Convolution, group norm, Mish."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, out_dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, M, T) to (B, C', M, T)."""
        return F.mish(self.norm(self.conv(x * mask))) * mask


class PlainResnet(nn.Module):
    """Two blocks, the time between them, and a way round."""

    def __init__(self, in_dim: int, out_dim: int, time_dim: int) -> None:
        super().__init__()
        self.time = nn.Linear(time_dim, out_dim)
        self.first = PlainBlock(in_dim, out_dim)
        self.second = PlainBlock(out_dim, out_dim)
        self.skip = nn.Conv2d(in_dim, out_dim, 1) if in_dim != out_dim else nn.Identity()

    def forward(self, x: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, M, T) at the time (B, D) to (B, C', M, T)."""
        h = self.first(x, mask) + self.time(F.mish(time))[:, :, None, None]
        return self.second(h, mask) + self.skip(x * mask)


class PlainAttention(nn.Module):
    """Residual linear attention of 4 heads of 32, step by step."""

    def __init__(self, dim: int, head_dim: int = 32) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(dim, 3 * HEADS * head_dim, 1, bias=False)
        self.out = nn.Conv2d(HEADS * head_dim, dim, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, M, T) to (B, C, M, T)."""
        batch, _, height, width = x.shape
        parts = self.qkv(x).reshape(batch, 3, HEADS, -1, height * width)
        query, key, value = parts[:, 0], parts[:, 1], parts[:, 2]
        key = torch.softmax(key, dim=-1)
        context = torch.einsum("bhdn,bhen->bhde", key, value)
        read = torch.einsum("bhde,bhdn->bhen", context, query)
        return self.out(read.reshape(batch, -1, height, width)) * self.gain + x


class PlainStage(nn.Module):
    """Two residual blocks and attention."""

    def __init__(self, in_dim: int, out_dim: int, time_dim: int) -> None:
        super().__init__()
        self.first = PlainResnet(in_dim, out_dim, time_dim)
        self.second = PlainResnet(out_dim, out_dim, time_dim)
        self.attention = PlainAttention(out_dim)

    def forward(self, x: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, M, T) at the time (B, D) to (B, C', M, T)."""
        return self.attention(self.second(self.first(x, time, mask), time, mask))


class PlainDecoder(nn.Module):
    """The score network with the weights of one of ours, which takes emotions."""

    def __init__(self, ours: ScoreNet) -> None:
        super().__init__()
        d = self.dim = ours.dim
        self.time = nn.Sequential(nn.Linear(d, 4 * d), nn.Mish(), nn.Linear(4 * d, d))
        width = d + ours.speaker_dim + WIDTH
        norm, project = nn.LayerNorm(ours.emotion_dim), nn.Linear(ours.emotion_dim, WIDTH)
        wide, narrow = nn.Linear(width, 4 * FIELD), nn.Linear(4 * FIELD, FIELD)
        self.condition = nn.ModuleDict(
            {
                "emotion": nn.Sequential(norm, project),
                "layers": nn.Sequential(wide, nn.Mish(), narrow),
            }
        )
        self.down = nn.ModuleList(
            [PlainStage(2 + FIELD, d, d), PlainStage(d, 2 * d, d), PlainStage(2 * d, 4 * d, d)]
        )
        self.shrink = nn.ModuleList(nn.Conv2d(n, n, 3, 2, 1) for n in (d, 2 * d))
        self.enter = PlainResnet(4 * d, 4 * d, d)
        self.attention = PlainAttention(4 * d)
        self.leave = PlainResnet(4 * d, 4 * d, d)
        self.up = nn.ModuleList([PlainStage(8 * d, 2 * d, d), PlainStage(4 * d, d, d)])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(n, n, 4, 2, 1) for n in (2 * d, d))
        self.final = PlainBlock(d, d)
        self.last = nn.Conv2d(d, 1, 1)
        weight = ours.last.weight
        self.to(weight.device, weight.dtype).load_state_dict(ours.state_dict())
        self.eval()

    def forward(
        self, x: Tensor, mask: Tensor, y: Tensor, t: Tensor, speaker: Tensor, emotion: Tensor
    ) -> Tensor:
        """Score (B, M, T) of mels whose T is a multiple of 4; the mask is (B, T)."""
        half = self.dim // 2
        rates = torch.exp(torch.arange(half, device=t.device).to(t) * -math.log(1e4) / (half - 1))
        angles = 1000 * t[:, None] * rates[None]
        code = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
        heard = self.condition["emotion"](emotion)
        field = self.condition["layers"](torch.cat([code, speaker, heard], dim=1))
        spread = field[:, :, None, None].expand(-1, -1, *x.shape[1:])
        image = torch.cat([torch.stack([y, x], dim=1), spread], dim=1)
        return self._unet(image, self.time(code), mask[:, None, None, :])

    def _unet(self, h: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        """Score (B, M, T) of the image (B, 130, M, T)."""
        masks = [mask, mask[..., ::2], mask[..., ::4]]
        first = self.down[0](h, time, masks[0])
        second = self.down[1](self.shrink[0](first * masks[0]), time, masks[1])
        third = self.down[2](self.shrink[1](second * masks[1]), time, masks[2])
        h = self.attention(self.enter(third, time, masks[2]))
        h = self.leave(h, time, masks[2])
        h = self.up[0](torch.cat([h, third], dim=1), time, masks[2])
        h = self.grow[0](h * masks[2])
        h = self.up[1](torch.cat([h, second], dim=1), time, masks[1])
        h = self.grow[1](h * masks[1])
        return (self.last(self.final(h, masks[0]) * masks[0]) * masks[0])[:, 0]


def coefficients(schedule: Schedule, t: float, u: float) -> tuple[float, float, float]:
    """What a step from t to u multiplies Y - X, the score and the noise with."""
    low, slope = schedule.beta_min, schedule.beta_max - schedule.beta_min

    def gamma(a: float, b: float) -> float:
        """What is left at b of a distance from Y at a."""
        return math.exp(-0.5 * (b - a) * (low + slope * (a + b) / 2))

    from_start, to_u, between = gamma(0, t), gamma(0, u), gamma(u, t)
    whole = 1 - from_start**2
    mu = between * (1 - to_u**2) / whole
    nu = to_u * (1 - between**2) / whole
    std = math.sqrt((1 - to_u**2) * (1 - between**2) / whole)
    rate = (low + slope * t) * (t - u)  # beta_t h
    kappa = nu * whole / (from_start * rate) - 1
    omega = nu / from_start + mu - 1 - rate / 2
    return rate / 2 + omega, (1 + kappa) * rate, std


@torch.no_grad()
def sample_one(
    decoder: PlainDecoder,
    y: Tensor,
    speaker: Tensor,
    emotion: Tensor,
    schedule: Schedule,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Mel (M, T) of one utterance: average voice (M, T), speaker (S,), emotion (E,)."""
    n_frames = y.shape[1]
    y = F.pad(y, (0, -n_frames % STRIDE))[None]
    mask = (torch.arange(y.shape[2], device=y.device) < n_frames).to(y)[None]

    def draw() -> Tensor:
        """Noise at the frames of the utterance."""
        shape = (1, y.shape[1], n_frames)
        noise = torch.randn(shape, generator=generator, device=generator.device, dtype=y.dtype)
        return F.pad(noise.to(y), (0, y.shape[2] - n_frames))

    x = y + draw()
    for i in range(steps):
        to_y, to_score, std = coefficients(schedule, 1 - i / steps, 1 - (i + 1) / steps)
        t = torch.full((1,), 1 - i / steps, dtype=y.dtype, device=y.device)
        score = decoder(x, mask, y, t, speaker[None], emotion[None])
        # The noise is N(0, I) with either sign; plus is that of our sampler.
        x = (x - ((y - x) * to_y - score * to_score) + std * draw()) * mask[:, None]
    return x[0, :, :n_frames]


def network(dim: int, device: torch.device, masked: bool = True) -> ScoreNet:
    """Our network with random weights, also where training starts at zero."""
    torch.manual_seed(0)
    net = ScoreNet(dim, SPEAKER, EMOTION, masked=masked)
    for name, weight in net.named_parameters():
        if name.endswith("gain"):
            nn.init.constant_(weight, 0.1)
    return net.to(device).eval()


def lengths_of(count: int, frames: int) -> list[int]:
    """Frames of utterances, multiples of 4, so that the plain decoder needs no padding."""
    return [4 * max(1, round(frames * SHARES[i % len(SHARES)] / 4)) for i in range(count)]


class Inputs(NamedTuple):
    """What mels are drawn from: average voices (M, T), speakers (B, S) and emotions (B, E)."""

    mels: list[Tensor]
    speakers: Tensor
    emotions: Tensor


def made(net: ScoreNet, lengths: Sequence[int], n_mels: int = 80) -> Inputs:
    """Random inputs of a network."""
    torch.manual_seed(1)
    like = net.last.weight
    mels = [torch.randn(n_mels, n).to(like) - 5 for n in lengths]
    speakers = F.normalize(torch.rand(len(lengths), net.speaker_dim)).to(like)
    return Inputs(mels, speakers, torch.randn(len(lengths), net.emotion_dim).to(like))


def generators(count: int, device: torch.device) -> list[torch.Generator]:
    """A source of noise for each utterance."""
    return [torch.Generator(device).manual_seed(i) for i in range(count)]


def plain(decoder: PlainDecoder, given: Inputs, steps: int) -> list[Tensor]:
    """Mels (M, T), one utterance after the other."""
    noises = generators(len(given.mels), given.speakers.device)
    rows = zip(*given, noises, strict=True)
    return [sample_one(decoder, y, s, e, Schedule(), steps, own) for y, s, e, own in rows]


def apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Largest difference, as a share of the largest value."""
    most = max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))
    return most / max(float(b.abs().max()) for b in other)
