"""Gated convolutions with skip connections.

Source: van den Oord et al., "WaveNet", 2016, without its causality, as in Prenger et al.,
"WaveGlow", ICASSP 2019.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from emovc.common.errors import UserError


class WaveNet(nn.Module):
    """Residual stack of gated convolutions, all weight-normalised; the sum of its skips.

    Args:
        dim: Channels C.
        kernel: Kernel size in frames, odd.
        n_layers: Layers K.

    Raises:
        UserError: ``kernel`` is even.
    """

    def __init__(self, dim: int, kernel: int, n_layers: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise UserError(f"WaveNet: kernel {kernel} must be odd")
        self.dim = dim
        self.gates = nn.ModuleList(
            weight_norm(nn.Conv1d(dim, 2 * dim, kernel, padding="same")) for _ in range(n_layers)
        )
        # The last layer has no successor, so only a skip.
        self.outs = nn.ModuleList(
            weight_norm(nn.Conv1d(dim, 2 * dim if i < n_layers - 1 else dim, 1))
            for i in range(n_layers)
        )

    def forward(self, x: Tensor, mask: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map (B, C, T) to (B, C, T), zero at padding.

        Args:
            x: Input, (B, C, T).
            mask: 1 at valid frames, (B, 1, T).
            condition: Added to the gates of the layers, (B, 2 C K, T).
        """
        x = x * mask
        total = torch.zeros_like(x)
        added = None if condition is None else condition.chunk(len(self.gates), 1)
        for i, (gate, out) in enumerate(zip(self.gates, self.outs, strict=True)):
            h = gate(x) if added is None else gate(x) + added[i]
            value, opening = h.chunk(2, 1)
            h = out(value.tanh() * opening.sigmoid())
            total = total + h[:, -self.dim :]
            x = (x + h[:, : self.dim]) * mask
        return total * mask
