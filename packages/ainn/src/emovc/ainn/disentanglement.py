"""Intra-speech disentanglement: what keeps content and emotion features apart in Stage I."""

from torch import Tensor, nn
from torch.nn import functional as F

from emovc.ainn.cue import calibrate
from emovc.ainn.layers import reverse_gradient
from emovc.ainn.losses import cue_correlation, uniformity_loss


class CueCorrelation(nn.Module):
    """Content and emotion features are uncorrelated where there is emotion.

    A projection P of the content learns to correlate with the emotion features; both encoders learn
    that it can't.

    Args:
        code_dim: Size of the content code.
        emotion_dim: Size D of the emotion features.
    """

    def __init__(self, code_dim: int = 64, emotion_dim: int = 256) -> None:
        super().__init__()
        self.projection = nn.Linear(code_dim, emotion_dim, bias=False)

    def forward(
        self, content: Tensor, features: Tensor, cue: Tensor, mask: Tensor, head: nn.Linear,
        category: Tensor, step: int,
    ) -> Tensor:  # fmt: skip
        """Loss of a batch.

        Args:
            content: Content codes, (B, d_c, T).
            features: Emotion features, (B, D, T).
            cue: Weights of the frames, (B, T).
            mask: 1 at valid frames, (B, T).
            head: The category head.
            category: Categories, (B,).
            step: Training step.
        """
        weight = reverse_gradient(self.projection.weight)  # P gains by what the encoders lose by
        projected = F.linear(content.transpose(1, 2), weight).transpose(1, 2)
        return cue_correlation(projected, features, cue)


class Adversary(nn.Module):
    """A classifier finds no emotion in the content, nor the category head any beside the cue.

    Args:
        code_dim: Size of the content code.
        n_emotions: Categories C.
        dim: Hidden size of the classifier.
        ramp_steps: Steps over which the turned gradient grows to its full size.
    """

    def __init__(
        self, code_dim: int = 64, n_emotions: int = 5, dim: int = 128, ramp_steps: int = 10_000
    ) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Linear(code_dim, dim), nn.ReLU(), nn.Linear(dim, n_emotions)
        )
        self.ramp_steps = ramp_steps

    def forward(
        self, content: Tensor, features: Tensor, cue: Tensor, mask: Tensor, head: nn.Linear,
        category: Tensor, step: int,
    ) -> Tensor:  # fmt: skip
        """Loss of a batch; see :meth:`CueCorrelation.forward`."""
        scale = min(step / self.ramp_steps, 1.0) if self.ramp_steps else 1.0
        pooled = reverse_gradient(calibrate(content, cue), scale)
        found = F.cross_entropy(self.classifier(pooled), category)
        rest = (1 - cue) * mask
        beside = F.linear(calibrate(features, rest), head.weight.detach(), head.bias.detach())
        return found + uniformity_loss(beside, (rest.sum(1) > 0).float())
