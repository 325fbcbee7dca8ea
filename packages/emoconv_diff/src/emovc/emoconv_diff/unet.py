"""Score network of EmoConv-Diff. No Lightning here: any research code can import this."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.emoconv_diff.unet_layers import (
    GROUPS,
    Block,
    LinearAttention,
    ResnetBlock,
    Stage,
    keep,
    sinusoid,
)

CONDITION_DIM = 128
EMOTION_WIDTH = 256
STRIDE = 4  # two halvings in both axes


class Condition(nn.Module):
    """One vector of time, speaker and emotion.

    Args:
        time_dim: Size D of the time code.
        speaker_dim: Size S of the speaker vector.
        emotion_dim: Size E of the emotion vector; 0 for none.
        null_condition: Whether to learn an emotion vector that stands for none.
    """

    def __init__(
        self, time_dim: int, speaker_dim: int, emotion_dim: int, null_condition: bool
    ) -> None:
        super().__init__()
        if null_condition and not emotion_dim:
            raise UserError("null_condition asks for an emotion condition: set emotion_dim")
        self.emotion = None
        self.null_emotion = None
        width = time_dim + speaker_dim
        if emotion_dim:
            norm, project = nn.LayerNorm(emotion_dim), nn.Linear(emotion_dim, EMOTION_WIDTH)
            self.emotion = nn.Sequential(norm, project)
            width += EMOTION_WIDTH
        if null_condition:
            self.null_emotion = nn.Parameter(torch.randn(emotion_dim))
        self.layers = nn.Sequential(
            nn.Linear(width, 4 * CONDITION_DIM),
            nn.Mish(),
            nn.Linear(4 * CONDITION_DIM, CONDITION_DIM),
        )

    def forward(self, time: Tensor, speaker: Tensor, emotion: Tensor | None) -> Tensor:
        """Condition (B, 128) of time codes (B, D), speakers (B, S) and emotions (B, E)."""
        parts = [time, speaker.to(time.dtype)]
        if self.emotion is not None:
            if emotion is None:
                emotion = self.null().expand(len(time), -1)
            parts.append(self.emotion(emotion.to(time.dtype)))
        elif emotion is not None:
            raise UserError("the score network takes no emotion vector: set emotion_dim")
        return self.layers(torch.cat(parts, 1))

    def null(self) -> Tensor:
        """Learned emotion vector that stands for none, (E,)."""
        if self.null_emotion is None:
            raise UserError("the score network has no null emotion: set null_condition: true")
        return self.null_emotion


class ScoreNet(nn.Module):
    """s_theta(X_t, Y, S, E, t): U-Net on the mel as an image of M x T pixels.

    Args:
        dim: Channels at full resolution, a multiple of 8; 2 and 4 times as many below.
        speaker_dim: Size S of the speaker vector.
        emotion_dim: Size E of the emotion vector; 0 for no emotion condition.
        null_condition: Whether to learn an emotion vector that stands for none, for condition
            dropout and guidance.
        masked: Whether padding stays out of group norm and attention. Without it, as in the
            original, padding is only zeroed before convolutions, and changes the result.

    Raises:
        UserError: ``dim`` is no multiple of 8, or a null condition without emotion condition.

    Source:
        Prabhu et al., EmoConv-Diff, ICASSP 2024; the U-Net of Popov et al., Grad-TTS, ICML 2021,
        with the conditions of Popov et al., DiffVC, ICLR 2022, without its reference block. How the
        emotion enters is not published: here its vector joins the speaker's.
    """

    def __init__(
        self,
        dim: int = 64,
        speaker_dim: int = 256,
        emotion_dim: int = 0,
        null_condition: bool = False,
        masked: bool = True,
    ) -> None:
        super().__init__()
        if dim <= 0 or dim % GROUPS:
            raise UserError(f"dim of the score network must be a multiple of {GROUPS}, not {dim}")
        self.dim = dim
        self.speaker_dim = speaker_dim
        self.emotion_dim = emotion_dim
        self.time = nn.Sequential(nn.Linear(dim, 4 * dim), nn.Mish(), nn.Linear(4 * dim, dim))
        self.condition = Condition(dim, speaker_dim, emotion_dim, null_condition)
        low, middle, high = dim, 2 * dim, 4 * dim
        self.down = nn.ModuleList(
            Stage(a, b, dim, masked)
            for a, b in ((2 + CONDITION_DIM, low), (low, middle), (middle, high))
        )
        self.shrink = nn.ModuleList(nn.Conv2d(d, d, 3, 2, 1) for d in (low, middle))
        self.enter = ResnetBlock(high, high, dim, masked)
        self.attention = LinearAttention(high, masked=masked)
        self.leave = ResnetBlock(high, high, dim, masked)
        # Each takes what comes from below beside what its own resolution held on the way down; the
        # full resolution is not among them, as in the original.
        self.up = nn.ModuleList(
            Stage(2 * a, b, dim, masked) for a, b in ((high, middle), (middle, low))
        )
        self.grow = nn.ModuleList(nn.ConvTranspose2d(d, d, 4, 2, 1) for d in (middle, low))
        self.final = Block(low, low, masked)
        self.last = nn.Conv2d(low, 1, 1)

    def forward(
        self,
        x_t: Tensor,
        mask: Tensor,
        y: Tensor,
        t: Tensor,
        speaker: Tensor,
        emotion: Tensor | None = None,
    ) -> Tensor:
        """Score of noisy mels; also under autocast, time and statistics are float32.

        Args:
            x_t: Noisy log-mels, (B, M, T); M a multiple of 4, T of any length.
            mask: 1 at valid frames, (B, T).
            y: Average-voice log-mels, (B, M, T).
            t: Diffusion time in [0, 1], (B,).
            speaker: Speaker vectors, (B, S).
            emotion: Emotion vectors, (B, E); ``None`` for the null emotion, or if the network
                takes none.

        Returns:
            Score, (B, M, T), with zeros at padding.

        Raises:
            UserError: M is no multiple of 4, or the emotion vectors do not fit the network.
        """
        n_mels, n_frames = x_t.shape[1:]
        if n_mels % STRIDE:
            raise UserError(f"n_mels of the score network must be a multiple of 4, not {n_mels}")
        extra = -n_frames % STRIDE
        code = sinusoid(t, self.dim)
        with torch.autocast(x_t.device.type, enabled=False):
            time, condition = self.time(code), self.condition(code, speaker, emotion)
        images = F.pad(torch.stack([y, x_t], 1), (0, extra))
        # One look at the mask spares all multiplications by it where nothing is padded.
        full = extra == 0 and bool(mask.all())
        valid = None if full else F.pad(mask, (0, extra))[:, None, None]
        return self._unet(images, condition, time, valid)[..., :n_frames].to(x_t.dtype)

    def drop_emotion(self, emotion: Tensor, dropped: Tensor) -> Tensor:
        """Emotion vectors (B, E), those marked in ``dropped`` (B,) replaced by the null emotion."""
        null = self.condition.null().to(emotion.dtype)
        return torch.where(dropped.bool()[:, None], null, emotion)

    def _unet(self, h: Tensor, condition: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
        """Map images (B, 2, M, T) and the condition (B, 128) to the score (B, M, T)."""
        masks = [None if mask is None else mask[..., :: 2**i] for i in range(len(self.down))]
        held: list[Tensor] = []
        for i, stage in enumerate(self.down):
            if i > 0:
                h = self.shrink[i - 1](keep(h, masks[i - 1]))
            h = stage(h, time, masks[i], None if i else condition)
            held.append(h)
        h = self.attention(self.enter(h, time, masks[-1]), masks[-1])
        h = self.leave(h, time, masks[-1])
        for i, (stage, grow) in enumerate(zip(self.up, self.grow, strict=True)):
            level = len(held) - 1 - i
            h = stage(torch.cat([h, held[level]], 1), time, masks[level])
            h = grow(keep(h, masks[level]))
        return keep(self.last(self.final(h, masks[0])), masks[0])[:, 0]
