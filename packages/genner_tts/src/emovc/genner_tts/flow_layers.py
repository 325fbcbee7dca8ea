"""Invertible layers of the post-net flow; padding changes nothing in any of them.

Source: Kim et al., "Glow-TTS", NeurIPS 2020, whose layers are those of Kingma and Dhariwal, "Glow",
NeurIPS 2018.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from emovc.genner_tts.wavenet import WaveNet

MIX = 4  # channels that an invertible convolution mixes at a time


class ActNorm(nn.Module):
    """Scale and shift of each channel; the identity at first.

    Args:
        dim: Channels C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dim, 1))
        self.shift = nn.Parameter(torch.zeros(dim, 1))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, T) to (B, C, T) and the log-determinant (B,); ``mask`` is (B, 1, T)."""
        z = (x * self.log_scale.exp() + self.shift) * mask
        return z, self.log_scale.sum() * mask.sum((1, 2))

    def inverse(self, z: Tensor, mask: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        return (z - self.shift) * torch.exp(-self.log_scale) * mask


class InvertibleConv(nn.Module):
    """Invertible mixture of 4 channels at a time, the same for all groups; a rotation at first.

    A group has two neighbouring channels of the first half and the two at the same place of the
    second. The weight is kept as P L U, so that its determinant is a sum.
    """

    permutation: Tensor
    signs: Tensor

    def __init__(self) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(MIX, MIX))
        rotation[:, 0] *= torch.linalg.det(rotation).sign()  # no reflection
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("signs", diagonal.sign())
        self.log_diagonal = nn.Parameter(diagonal.abs().log())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))

    def weight(self) -> Tensor:
        """The mixture, (4, 4)."""
        lower = self.lower.tril(-1) + torch.eye(MIX).to(self.lower)
        upper = self.upper.triu(1) + torch.diag(self.signs * self.log_diagonal.exp())
        return self.permutation @ lower @ upper

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, T) to (B, C, T) and the log-determinant (B,); ``mask`` is (B, 1, T)."""
        log_det = self.log_diagonal.sum() * (x.shape[1] // MIX)
        return self._mix(x, self.weight()) * mask, log_det * mask.sum((1, 2))

    def inverse(self, z: Tensor, mask: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        # Inverted in float64: the error would grow from block to block.
        inverse = torch.linalg.inv(self.weight().double()).to(z.dtype)
        return self._mix(z, inverse) * mask

    def _mix(self, x: Tensor, weight: Tensor) -> Tensor:
        """Multiply each group of 4 channels of (B, C, T)."""
        groups = x.unflatten(1, (2, -1, MIX // 2)).transpose(2, 3)  # (B, 2, 2, C / 4, T)
        mixed = weight @ groups.flatten(3).flatten(1, 2)  # (B, 4, C T / 4)
        return mixed.view_as(groups).transpose(2, 3).reshape(x.shape)


class Coupling(nn.Module):
    """Affine coupling: half of the channels set scale and shift of the other; at first neither.

    The gated convolutions are given at each call, because several couplings share them.

    Args:
        channels: Channels C of the flow.
        cond_dim: Channels D of the condition.
        dim: Channels of the gated convolutions.
        n_layers: Layers of the gated convolutions.
    """

    def __init__(self, channels: int, cond_dim: int, dim: int, n_layers: int) -> None:
        super().__init__()
        self.start = weight_norm(nn.Conv1d(channels // 2, dim, 1))
        self.condition = weight_norm(nn.Conv1d(cond_dim, 2 * dim * n_layers, 1))
        self.end = nn.Conv1d(dim, channels, 1)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)  # type: ignore[arg-type]

    def forward(
        self, x: Tensor, mask: Tensor, cond: Tensor, wavenet: WaveNet
    ) -> tuple[Tensor, Tensor]:
        """Map (B, C, T) to (B, C, T) and the log-determinant (B,).

        Args:
            x: Input, (B, C, T).
            mask: 1 at valid frames, (B, 1, T).
            cond: Condition, (B, D, T).
            wavenet: Gated convolutions.
        """
        kept, changed = x.chunk(2, 1)
        shift, log_scale = self._affine(kept, mask, cond, wavenet)
        changed = (changed * log_scale.exp() + shift) * mask
        return torch.cat([kept, changed], 1), (log_scale * mask).sum((1, 2))

    def inverse(self, z: Tensor, mask: Tensor, cond: Tensor, wavenet: WaveNet) -> Tensor:
        """Undo :meth:`forward`."""
        kept, changed = z.chunk(2, 1)
        shift, log_scale = self._affine(kept, mask, cond, wavenet)
        return torch.cat([kept, (changed - shift) * torch.exp(-log_scale) * mask], 1)

    def _affine(
        self, kept: Tensor, mask: Tensor, cond: Tensor, wavenet: WaveNet
    ) -> tuple[Tensor, Tensor]:
        """Shift and log-scale, each (B, C / 2, T)."""
        h = wavenet(self.start(kept), mask, self.condition(cond))
        shift, log_scale = self.end(h).chunk(2, 1)
        return shift, log_scale


class FlowBlock(nn.Module):
    """Norm, mixture and coupling.

    Args:
        channels: Channels C of the flow.
        cond_dim: Channels D of the condition.
        dim: Channels of the gated convolutions.
        n_layers: Layers of the gated convolutions.
    """

    def __init__(self, channels: int, cond_dim: int, dim: int, n_layers: int) -> None:
        super().__init__()
        self.norm = ActNorm(channels)
        self.mixer = InvertibleConv()
        self.coupling = Coupling(channels, cond_dim, dim, n_layers)

    def forward(
        self, x: Tensor, mask: Tensor, cond: Tensor, wavenet: WaveNet
    ) -> tuple[Tensor, Tensor]:
        """Map (B, C, T) to (B, C, T) and the log-determinant (B,), see :class:`Coupling`."""
        x, normed = self.norm(x, mask)
        x, mixed = self.mixer(x, mask)
        x, coupled = self.coupling(x, mask, cond, wavenet)
        return x, normed + mixed + coupled

    def inverse(self, z: Tensor, mask: Tensor, cond: Tensor, wavenet: WaveNet) -> Tensor:
        """Undo :meth:`forward`."""
        z = self.coupling.inverse(z, mask, cond, wavenet)
        return self.norm.inverse(self.mixer.inverse(z, mask), mask)
