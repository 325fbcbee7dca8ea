"""What the quantisation experiment found."""

from typing import NamedTuple

from emovc.genner_tts.quantization_measures import Rates

SIMILARITIES = (0.99, 0.97, 0.95, 0.9, 0.8, 0.7)


class Point(NamedTuple):
    """A lambda of the curves.

    Attributes:
        lam: Weight of the rate.
        bits: Mean rate in bit per embedding.
        distortion: Mean squared error, 1 for the mean of the training embeddings.
        measures: By name, the mean over the items of each emotion.
        raw_intervals: 95 % interval of the cosine of each emotion.
    """

    lam: float
    bits: float
    distortion: float
    measures: dict[str, list[float]]
    raw_intervals: list[tuple[float, float]]


class Biased(NamedTuple):
    """Codebooks that lean towards an emotion, at one lambda; rows are codebooks.

    Attributes:
        lam: Weight of the rate.
        kept: Cosine of each emotion's items to themselves.
        gone: Their share of the way to the codebook's emotion; NaN for its own.
        arrived: Share of them that is nearest to its centroid.
    """

    lam: float
    kept: list[list[float]]
    gone: list[list[float]]
    arrived: list[list[float]]


class Findings(NamedTuple):
    """Everything that was measured.

    Attributes:
        emotions: Names, neutral first.
        curve: Joint codebooks over lambda.
        direct: Recall of each emotion where embeddings are turned, by way and similarity.
        encoders: A common lambda beside other ways to spend bits.
        biased: Codebooks of one emotion each, in the order of ``emotions``, at three lambdas.
        lean: Joint codebooks with a dominant emotion, at three lambdas.
        some: Codebooks of as many recordings, of any emotion, as one emotion has; rows are the
            emotions that the others may move towards.
        dominant: The dominant emotions.
    """

    emotions: list[str]
    curve: list[Point]
    direct: dict[str, list[list[float]]]
    encoders: list[Rates]
    biased: list[Biased]
    lean: list[Biased]
    some: list[Biased]
    dominant: list[str]
