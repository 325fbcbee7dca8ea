"""What becomes of emotion embeddings: how similar they stay, where they go, what can be read."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.genner_tts.baselines import allocate_greedily, bisect_bits
from emovc.genner_tts.quantization_source import Embedded, Source
from emovc.genner_tts.quantizer import EmotionQuantizer


class Moved(NamedTuple):
    """What became of each test embedding.

    Attributes:
        raw: Cosine to itself, (N,).
        centred: Cosine to itself, both less the mean of the corpus, (N,).
        progress: Share of the way from the own centroid to that of each emotion, (N, E): 0 where
            nothing moved, 1 on arrival. NaN for the own emotion.
        to_neutral: Cosine to the centroid of neutral speech, (N,).
        nearest: Emotion of the nearest centroid, (N,).
        radius: Distance from the mean of the corpus, beside that of the embedding, (N,).
    """

    raw: Tensor
    centred: Tensor
    progress: Tensor
    to_neutral: Tensor
    nearest: Tensor
    radius: Tensor


def look_at(source: Source, made: Tensor) -> Moved:
    """Compare test embeddings (N, D) with what was made of them (N, D)."""
    x, own = source.test.vectors, source.test.emotion
    away, made_away = x - source.mean, made - source.mean
    ways = source.centroids[None] - source.centroids[:, None]  # (E, E, D), from, to
    lengths = ways.square().sum(2).masked_fill(torch.eye(len(ways)).bool(), torch.nan)
    progress = torch.einsum("nd,ned->ne", made - x, ways[own]) / lengths[own]
    return Moved(
        F.cosine_similarity(x, made),
        F.cosine_similarity(away, made_away),
        progress,
        F.cosine_similarity(made, source.centroids[:1]),
        torch.cdist(made, source.centroids).argmin(1),
        made_away.norm(dim=1) / away.norm(dim=1),
    )


@torch.no_grad()
def moved_by(quantizers: Sequence[EmotionQuantizer], source: Source, lam: float) -> list[Moved]:
    """What becomes of the test embeddings in each quantiser at one lambda."""
    test = source.test.vectors
    return [look_at(source, quantizer(test, lam).quantized) for quantizer in quantizers]


def by_emotion(source: Source, values: Tensor) -> list[float]:
    """Mean over the test items of each emotion that have a value, (E,)."""
    own = source.test.emotion
    return [float(values[own == i].float().nanmean()) for i in range(len(source.emotions))]


class Probe:
    """A linear classifier of training embeddings.

    Args:
        vectors: Embeddings, (N, D).
        labels: Class of each.
    """

    def __init__(self, vectors: Tensor, labels: Sequence[int | str]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self._fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        self._fitted.fit(vectors.numpy(), np.asarray(labels))

    def hits(self, vectors: Tensor, labels: Sequence[int | str]) -> Tensor:
        """Whether each embedding (N, D) is recognised, (N,); NaN for labels it never saw."""
        found = self._fitted.predict(vectors.numpy()) == np.asarray(labels)
        return torch.from_numpy(np.where(np.isin(labels, self._fitted.classes_), found, np.nan))


def emotion_probe(part: Embedded, vectors: Tensor | None = None) -> Probe:
    """A probe of emotion, of the part's embeddings or of what was made of them."""
    return Probe(part.vectors if vectors is None else vectors, part.emotion.tolist())


class Rates(NamedTuple):
    """Distortion of three encoders at about the same mean bits.

    Attributes:
        bits: Mean bits of one common lambda.
        fixed: Its mean distortion.
        bisected_bits: Mean bits where each item is bisected to that rate.
        bisected: Their mean distortion.
        fixed_at_bisected: That of a common lambda at those bits.
        greedy_bits: Mean bits of greedy allocation without entropy model.
        greedy: Their mean distortion.
        fixed_at_greedy: That of a common lambda at those bits.
    """

    bits: float
    fixed: float
    bisected_bits: float
    bisected: float
    fixed_at_bisected: float
    greedy_bits: float
    greedy: float
    fixed_at_greedy: float


def compare_encoders(
    quantizer: EmotionQuantizer, e: Tensor, curve: Sequence[tuple[float, float]], targets: int = 5
) -> list[Rates]:
    """Distortion of a common lambda, of equal bits for all items, and of greedy allocation.

    Args:
        quantizer: The quantiser.
        e: Embeddings, (N, D).
        curve: Mean bits and distortion over the lambdas, by which a common lambda is read at the
            bits of the others.
        targets: Rates to compare at, spread over the curve.
    """
    ordered = sorted(curve)
    bits, distortion = (np.array(column) for column in zip(*ordered, strict=True))
    found = []
    for target in np.geomspace(max(bits[0], 4.0), bits[-1] * 0.95, targets):
        own = bisect_bits(quantizer, e, float(target)).made
        greedy = allocate_greedily(quantizer.codebooks, quantizer.space(e), float(target))
        pairs = [(float(one.bits.mean()), float(one.distortion.mean())) for one in (own, greedy)]
        at = [float(np.interp(n, bits, distortion)) for n in (target, pairs[0][0], pairs[1][0])]
        found.append(Rates(float(target), at[0], *pairs[0], at[1], *pairs[1], at[2]))
    return found
