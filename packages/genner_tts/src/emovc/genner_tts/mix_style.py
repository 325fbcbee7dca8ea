"""Mix-style layer normalisation: the style of the text timeline is blurred in training.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022, and the authors' code.
"""

from typing import Literal

import torch
from torch import Tensor, nn

MixStyleMode = Literal["code", "paper"]
EPS = 1e-6


class MixStyle(nn.Module):
    """Normalised frames with the scale and shift of two styles mixed.

    Args:
        dim: Channels C.
        mode: ``code`` mixes in training only, half of the batches, and otherwise passes its input
            on; Beta(0.1, 0.1). ``paper`` always normalises, and mixes every training batch;
            Beta(0.2, 0.2). Evaluation then takes the style as it is.
    """

    def __init__(self, dim: int = 256, mode: MixStyleMode = "code") -> None:
        super().__init__()
        self.mode = mode
        self.affine = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (B, T, C) and a style (B, C) to (B, T, C)."""
        if not self.training:
            own = torch.arange(len(x), device=x.device)
            return x if self.mode == "code" else self.mixed(x, style, x.new_ones(len(x)), own)
        alpha = x.new_tensor(0.1 if self.mode == "code" else 0.2, dtype=torch.float32)
        ratio = torch.distributions.Beta(alpha, alpha).sample((len(x),)).to(x.dtype)
        mixed = self.mixed(x, style, ratio, torch.randperm(len(x), device=x.device))
        if self.mode == "paper":
            return mixed
        # Chosen among two results so that every step has a gradient, as several GPUs require.
        return torch.where(torch.rand((), device=x.device) < 0.5, x, mixed)

    def mixed(self, x: Tensor, style: Tensor, ratio: Tensor, order: Tensor) -> Tensor:
        """The normalised frames in a mixture of their own style and another one.

        Args:
            x: Frames, (B, T, C).
            style: Style of each utterance, (B, C).
            ratio: Share of the own style, 0 to 1, (B,).
            order: Utterance whose style is mixed in, (B,).
        """
        normal = (x - x.mean(2, keepdim=True)) / (x.std(2, keepdim=True) + EPS)
        both = self.affine(style)
        share = ratio[:, None]
        shift, scale = (share * both + (1 - share) * both[order])[:, None].chunk(2, 2)
        return scale * normal + shift
