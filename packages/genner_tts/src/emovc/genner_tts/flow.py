"""Post-net: a flow that replaces the decoder's smooth mel by a sample with detail.

Source: Huang et al., "GenerSpeech: Towards style transfer for generalizable out-of-domain
text-to-speech", NeurIPS 2022, after Ren, Liu and Zhao, "PortaSpeech", NeurIPS 2021.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.precision import single
from emovc.genner_tts.flow_layers import MIX, FlowBlock
from emovc.genner_tts.wavenet import WaveNet


class FlowOutput(NamedTuple):
    """Latent mels.

    An odd number of frames is made even by one more frame of noise after the last.

    Attributes:
        z: Latents, (B, M, T'), T' even, zero at padding.
        log_det: Log-determinant of each utterance, (B,).
        mask: 1 at valid latents, (B, T').
        filler: The noise in the added frames, (B, M, T'), zero elsewhere.
        filled: 1 at the added frames, (B, T').
    """

    z: Tensor
    log_det: Tensor
    mask: Tensor
    filler: Tensor
    filled: Tensor


class FlowPostNet(nn.Module):
    """Invertible map between mels and noise, given the decoder's mel and all conditions.

    Pairs of frames are stacked. An utterance of odd length gets one more frame: in training
    noise, whose likelihood the loss takes off again (Huang, Dinh and Courville, "Augmented
    normalizing flows", 2020), in sampling one more sample that is cut off. So no frame is lost.
    Computed in float32 at least, also under autocast.

    Args:
        n_mels: Mel bands M.
        cond_dim: Channels D of the condition.
        dim: Channels of the gated convolutions.
        n_blocks: Blocks.
        n_layers: Layers of the gated convolutions.
        kernel: Kernel size of the gated convolutions, in pairs of frames, odd.
        shared: Consecutive blocks that share their gated convolutions.

    Raises:
        UserError: The number of bands is odd, or the blocks don't divide into groups.
    """

    def __init__(
        self,
        n_mels: int = 80,
        cond_dim: int = 1104,
        dim: int = 128,
        n_blocks: int = 8,
        n_layers: int = 3,
        kernel: int = 3,
        shared: int = 4,
    ) -> None:
        super().__init__()
        if 2 * n_mels % MIX or n_blocks % shared:
            raise UserError(
                f"FlowPostNet: n_mels {n_mels} must be even, and n_blocks {n_blocks} a multiple"
                f" of shared {shared}"
            )
        self.n_mels = n_mels
        self.shared = shared
        self.wavenets = nn.ModuleList(
            WaveNet(dim, kernel, n_layers) for _ in range(n_blocks // shared)
        )
        self.blocks = nn.ModuleList(
            FlowBlock(2 * n_mels, 2 * cond_dim, dim, n_layers) for _ in range(n_blocks)
        )

    def forward(
        self, mel: Tensor, cond: Tensor, mask: Tensor, noise: Tensor | None = None
    ) -> FlowOutput:
        """Map mels to latents.

        Args:
            mel: Log-mels, (B, M, T).
            cond: Condition, (B, D, T).
            mask: 1 at valid frames, (B, T).
            noise: Standard normal noise for added frames, (B, M); drawn by default.
        """
        with torch.autocast(mel.device.type, enabled=False):
            mel, cond, valid, filled = _evened(single(mel), single(cond), mask)
            noise = torch.randn_like(mel[:, :, 0]) if noise is None else noise.to(mel.dtype)
            filler = noise[:, :, None] * filled
            x, pairs = _squeezed(mel + filler), valid[:, :, ::2]
            cond = _squeezed(cond)
            log_det = x.new_zeros(len(x))
            for block, wavenet in self._blocks():
                x, change = block(x, pairs, cond, wavenet)
                log_det = log_det + change
        return FlowOutput(_unsqueezed(x), log_det, valid[:, 0], filler, filled[:, 0])

    def inverse(self, z: Tensor, cond: Tensor, mask: Tensor) -> Tensor:
        """Map latents to mels, (B, M, T), zero at padding.

        Args:
            z: Latents of :meth:`forward`, or noise of T or T + 1 frames, (B, M, T').
            cond: Condition, (B, D, T).
            mask: 1 at valid frames, (B, T).
        """
        n_frames = mask.shape[1]
        with torch.autocast(z.device.type, enabled=False):
            _, cond, valid, _ = _evened(single(cond), single(cond), mask)
            x, pairs = _squeezed(single(z) * valid), valid[:, :, ::2]
            cond = _squeezed(cond)
            for block, wavenet in reversed(self._blocks()):
                x = block.inverse(x, pairs, cond, wavenet)
            return _unsqueezed(x)[:, :, :n_frames] * mask[:, None].to(x.dtype)

    def sample(self, cond: Tensor, mask: Tensor, noise_scale: float = 0.8) -> Tensor:
        """Draw mels (B, M, T).

        Args:
            cond: Condition, (B, D, T).
            mask: 1 at valid frames, (B, T).
            noise_scale: Standard deviation of the noise; 1 is the flow's own distribution.
        """
        n_frames = mask.shape[1] + mask.shape[1] % 2
        noise = torch.randn(len(cond), self.n_mels, n_frames, device=cond.device)
        return self.inverse(noise_scale * noise, cond, mask)

    def _blocks(self) -> list[tuple[FlowBlock, WaveNet]]:
        """Each block and its gated convolutions."""
        wavenets = [net for net in self.wavenets for _ in range(self.shared)]
        return cast(list[tuple[FlowBlock, WaveNet]], list(zip(self.blocks, wavenets, strict=True)))


def _evened(mel: Tensor, cond: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give each utterance an even number of frames, with the last condition repeated.

    Returns:
        Mel (B, M, T'), zero at padding and added frames, condition (B, D, T'), mask of all frames
        and of the added ones (B, 1, T').
    """
    extra = mask.shape[1] % 2
    own = F.pad(mask[:, None].to(mel.dtype), (0, extra))
    before = F.pad(own, (1, -1))  # of the frame before each
    odd = own.sum(2, keepdim=True) % 2
    filled = before * (1 - own) * odd
    mel, cond = F.pad(mel, (0, extra)) * own, F.pad(cond, (0, extra))
    cond = cond * own + F.pad(cond, (1, -1)) * filled
    return mel, cond, own + filled, filled


def _squeezed(x: Tensor) -> Tensor:
    """Stack pairs of frames: (B, C, T) to (B, 2 C, T / 2), first frames first."""
    return torch.cat([x[:, :, ::2], x[:, :, 1::2]], 1)


def _unsqueezed(x: Tensor) -> Tensor:
    """Undo :func:`_squeezed`."""
    return torch.stack(x.chunk(2, 1), 3).flatten(2)
