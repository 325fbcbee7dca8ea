"""emotion2vec as a judge: its vectors, and the head of the plus models.

Source: Ma et al., "emotion2vec: self-supervised pre-training for speech emotion representation",
Findings of ACL 2024, arXiv 2312.15185.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from emovc.common.emotion2vec import RATE, Emotion2vec
from emovc.common.errors import UserError
from emovc.common.judges.emotion import EmotionRecognition, EmotionSimilarity
from emovc.common.weights import weights_hash

CANONICAL = {"disgusted": "disgust", "fearful": "fear", "surprised": "surprise"}
UNLABELLED = ["iemocap", "meld", "mead", "cmu_mosei", "msp_podcast"]  # the 262 h of pre-training
PLUS = [  # those corpora of the plus models' labelled speech (EmoBox) that are met most often
    *UNLABELLED, "crema_d", "emodb", "esd", "ravdess", "savee", "tess",
]  # fmt: skip


class ClassifiedEmotion(NamedTuple):
    """Result of :class:`Emotion2vecClassifier`.

    Attributes:
        log_posterior: Logarithm of the probability of each class, (B, C).
        embedding: Mean of the valid frames, (B, D).
    """

    log_posterior: Tensor
    embedding: Tensor


class Emotion2vecClassifier(nn.Module):
    """A plus model of emotion2vec with its own head.

    Args:
        encoder: The model.

    Attributes:
        emotions: Its labels, by their canonical names where they have one.

    Raises:
        UserError: It has no head, or its labels are unknown.
    """

    def __init__(self, encoder: Emotion2vec) -> None:
        super().__init__()
        if encoder.proj is None or len(encoder.labels) != encoder.proj.out_features:
            raise UserError(
                "this emotion2vec has no head with labels: load one of the emotion2vec_plus models,"
                " with tokens.txt"
            )
        self.encoder = encoder
        self.sample_rate = encoder.sample_rate
        self.pretrained = encoder.pretrained
        self.emotions = tuple(CANONICAL.get(label, label) for label in encoder.labels)

    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> ClassifiedEmotion:
        """Classify waveforms (B, N), padded on the right, of ``lengths`` (B,)."""
        utterance = self.encoder(wav, lengths).utterance
        return ClassifiedEmotion(self.encoder.logits(utterance).log_softmax(dim=-1), utterance)


class Emotion2vecSimilarity(EmotionSimilarity):
    """Cosine of emotion2vec's utterance vectors with the target and the controls.

    Args:
        source: Folder or name of the model, see :meth:`Emotion2vec.from_pretrained`.
        name: Name in the metrics.
        trained_on: Corpora it saw; by default those of the base model's pre-training.
        device: Where it runs.
        offline: Download nothing.

    Raises:
        UserError: It can't be loaded.
    """

    def __init__(
        self,
        source: str | Path = "emotion2vec/emotion2vec_base",
        name: str = "emotion2vec",
        trained_on: list[str] | None = None,
        device: str = "cpu",
        offline: bool = False,
    ) -> None:
        network = Emotion2vec.from_pretrained(source, RATE, offline)
        seen = UNLABELLED if trained_on is None else trained_on
        super().__init__(network, name, "utterance", seen, device)


class Emotion2vecRecognition(EmotionRecognition):
    """Decisions of a plus model's own head; it was tuned on most acted corpora and is marked.

    Args:
        source: Folder or name of the model, see :meth:`Emotion2vec.from_pretrained`.
        name: Name in the metrics.
        among: Labels to choose from; ``None``: all nine, "other" and "<unk>" among them.
        trained_on: Corpora it saw; by default those that are known of the plus models.
        device: Where it runs.
        offline: Download nothing.

    Raises:
        UserError: It can't be loaded, or has no head.
    """

    def __init__(
        self,
        source: str | Path = "emotion2vec/emotion2vec_plus_base",
        name: str = "emotion2vec_plus",
        among: list[str] | None = None,
        trained_on: list[str] | None = None,
        device: str = "cpu",
        offline: bool = False,
    ) -> None:
        network = Emotion2vecClassifier(Emotion2vec.from_pretrained(source, RATE, offline))
        super().__init__(network, name, among, PLUS if trained_on is None else trained_on, device)
        self.encoder = network.encoder

    @cached_property
    def about(self) -> dict[str, Any]:
        """As for each classifier; the hash is the model's, by which it is found inside others."""
        return {**super().about, "weights": weights_hash(self.encoder)}
