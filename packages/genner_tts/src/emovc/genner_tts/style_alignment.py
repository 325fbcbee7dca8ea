"""Cross-attention that spreads the local style of a reference over the frames of the text.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022, and the authors' code.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def forced_windows(mask: Tensor, key_mask: Tensor) -> Tensor:
    """Diagonal windows: the two or three keys near each frame, (B, T, N) of 0 and 1.

    Frame i of T sees the keys from floor(i N / T) - 1 to ceil(i N / T) of N, computed in whole
    numbers. Rows of padding are 0.

    Args:
        mask: 1 at valid frames, (B, T).
        key_mask: 1 at valid keys, (B, N).
    """
    frames = torch.arange(mask.shape[1], device=mask.device)[:, None]
    keys = torch.arange(key_mask.shape[1], device=mask.device)
    n_frames = (mask > 0).sum(1)[:, None, None].clamp(min=1)
    n_keys = ((key_mask > 0) * (keys + 1)).amax(1)[:, None, None]  # up to the last valid one
    low = frames * n_keys // n_frames - 1
    high = -(-frames * n_keys // n_frames)
    window = (keys >= low) & (keys <= high)
    return (window & (mask[:, :, None] > 0) & (key_mask[:, None] > 0)).to(mask.dtype)


class AlignerLayer(nn.Module):
    """Cross-attention and a feed-forward part, each with a norm after the residual sum.

    Args:
        dim: Channels C.
        heads: Attention heads.
        hidden: Channels inside the feed-forward part.
        dropout: Dropout.
    """

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.attention_norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, hidden)
        self.narrow = nn.Linear(hidden, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, keys: Tensor, key_mask: Tensor, windows: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Map (B, T, C) to (B, T, C), and give the weights (B, T, N).

        Args:
            x: Queries, (B, T, C).
            keys: Keys, which are the values too, (B, N, C).
            key_mask: 1 at valid keys, (B, N).
            windows: Weights to use in place of attention, (B, T, N). They are applied to the keys
                as they are: the authors' code sums up the window, without a projection.
        """
        if windows is None:
            read, weights = self.attention(x, keys, keys, key_padding_mask=key_mask == 0)
        else:
            read, weights = windows @ keys, windows
        x = self.attention_norm(x + self.dropout(read))
        h = self.narrow(self.dropout(F.relu(self.widen(x))))
        return self.feed_forward_norm(x + self.dropout(h)), weights


class StyleAligner(nn.Module):
    """Frames that ask for style, and local styles that answer.

    Args:
        dim: Channels C.
        heads: Attention heads.
        hidden: Channels inside the feed-forward parts.
        n_layers: Layers.
        dropout: Dropout.
    """

    def __init__(
        self,
        dim: int = 256,
        heads: int = 2,
        hidden: int = 2048,
        n_layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            AlignerLayer(dim, heads, hidden, dropout) for _ in range(n_layers)
        )

    def forward(
        self, x: Tensor, mask: Tensor, keys: Tensor, key_mask: Tensor, forced: bool
    ) -> tuple[Tensor, Tensor]:
        """Align local style with frames.

        Args:
            x: Frames, (B, T, C).
            mask: 1 at valid frames, (B, T).
            keys: Local style with its position, (B, N, C).
            key_mask: 1 at valid keys, (B, N).
            forced: Whether each frame takes the keys at the same relative time, see
                :func:`forced_windows`, in place of those it attends to.

        Returns:
            Aligned style (B, T, C), zero at padding, and the weights of each layer, mean over the
            heads, (K, B, T, N).
        """
        windows = forced_windows(mask, key_mask).to(x.dtype) if forced else None
        weights = []
        for layer in self.layers:
            x, weight = layer(x, keys, key_mask, windows)
            weights.append(weight)
        return x * mask[:, :, None].to(x.dtype), torch.stack(weights)
