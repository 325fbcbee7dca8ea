"""NISQA's network: a CNN on segments of a mel, attention or an LSTM over them, a head a score."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

BANDS, FRAMES = 48, 15  # of a segment, where its convolutions have no adaptive pooling
POOLED = (0, 1, 3)  # convolutions that are followed by pooling


class SegmentCnn(nn.Module):
    """Six convolutions that turn a segment (M, W) into a vector (D,).

    Args:
        channels: Channels after the first, the second, and all further convolutions.
        pools: Bands and frames after each of the three poolings; ``None`` halves both each time.
        out: Size of a linear layer at the end; ``None`` for no such layer.
    """

    def __init__(
        self,
        channels: tuple[int, int, int],
        pools: Sequence[tuple[int, int]] | None,
        out: int | None,
    ) -> None:
        super().__init__()
        widths = [1, *channels, *[channels[-1]] * 3]
        last = (3, 3) if pools is None else (3, pools[-1][1])  # the frames of a segment become one
        kernels = [(3, 3)] * 5 + [last]
        paddings = [(1, 1)] * 5 + [(1, 1) if pools is None else (1, 0)]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel, padding=padding)
            for a, b, kernel, padding in zip(widths, widths[1:], kernels, paddings, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.pools = nn.ModuleList(
            [nn.MaxPool2d(2, padding=(0, 1)), nn.MaxPool2d(2), nn.MaxPool2d(2)]
            if pools is None
            else [nn.AdaptiveMaxPool2d(size) for size in pools]
        )
        cells = (BANDS // 8) * (-(-FRAMES // 8)) if pools is None else pools[-1][0]
        flat = channels[-1] * cells
        self.out = nn.Identity() if out is None else nn.Linear(flat, out)
        self.size = out or flat

    def forward(self, segments: Tensor) -> Tensor:
        """Vectors (N, D) of segments (N, M, W)."""
        x, pools = segments[:, None], iter(self.pools)
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x)).relu()
            if k in POOLED:
                x = next(pools)(x)
        return self.out(x.flatten(1))


class SelfAttention(nn.Module):
    """Transformer layers over the segments of a recording, without positions.

    Args:
        size_in: Size of the vectors D.
        size: Size of the layers E.
        heads: Attention heads.
        hidden: Size inside the layers.
        layers: Number of layers.
    """

    def __init__(self, size_in: int, size: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.linear, self.norm1 = nn.Linear(size_in, size), nn.LayerNorm(size)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(size, heads, hidden, dropout=0, batch_first=True)
            for _ in range(layers)
        )
        self.size = size

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """States (B, S, E) of vectors (B, S, D); ``valid`` (B, S) is false at padding."""
        x = self.norm1(self.linear(x))
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~valid)
        return x


class BothWays(nn.Module):
    """A bidirectional LSTM over the segments of a recording.

    Args:
        size_in: Size of the vectors D.
        hidden: Size of the state of each direction; E is twice this.
        layers: Number of layers.
    """

    def __init__(self, size_in: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(size_in, hidden, layers, batch_first=True, bidirectional=True)
        self.size = 2 * hidden

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """States (B, S, E) of vectors (B, S, D); ``valid`` (B, S) is false at padding."""
        packed = pack_padded_sequence(x, valid.sum(1).cpu(), True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], True, total_length=x.shape[1])
        return states


class AttentionHead(nn.Module):
    """A score from the mean of all states, weighted by a small network.

    Args:
        size: Size of the states E.
        hidden: Size of the network that weights them.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(size, hidden), nn.Linear(hidden, 1)
        self.linear3 = nn.Linear(size, 1)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Scores (B, 1) of states (B, S, E)."""
        weights = self.linear2(self.linear1(x).relu()).masked_fill(~valid[..., None], -torch.inf)
        return self.linear3((weights.softmax(1) * x).sum(1))


class LastStateHead(nn.Module):
    """A score from the state of each direction that has read everything.

    Args:
        size: Size of the states E.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 1)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Scores (B, 1) of states (B, S, E)."""
        forwards, backwards = x.chunk(2, dim=-1)
        last = forwards[torch.arange(len(x)), valid.sum(1) - 1]
        return self.linear(torch.cat([last, backwards[:, 0]], dim=1))


class NisqaNetwork(nn.Module):
    """NISQA for inference: it has no dropout.

    Source: Mittag, Naderi, Chehadi and Möller, "NISQA", Interspeech 2021 (self-attention); Mittag
    and Möller, "Deep learning based assessment of synthetic speech naturalness", Interspeech 2020
    (LSTM).

    Args:
        cnn: Network of a segment.
        over_time: Network over the segments of a recording.
        head: Network of one score.
        scores: Number of scores C; each has a head of its own.
    """

    pretrained = False

    def __init__(
        self,
        cnn: SegmentCnn,
        over_time: SelfAttention | BothWays,
        head: AttentionHead | LastStateHead,
        scores: int,
    ) -> None:
        super().__init__()
        self.cnn, self.over_time = cnn, over_time
        self.heads = nn.ModuleList(copy.deepcopy(head) for _ in range(scores))

    def forward(self, segments: Tensor, counts: Tensor) -> Tensor:
        """Scores (B, C) of padded segments (B, S, M, W), of which ``counts`` (B,) are valid."""
        steps = torch.arange(segments.shape[1], device=segments.device)
        valid = steps < counts[:, None]
        x = segments.new_zeros(*valid.shape, self.cnn.size)
        x[valid] = self.cnn(segments[valid])
        states = self.over_time(x, valid)
        return torch.cat([head(states, valid) for head in self.heads], dim=1)
