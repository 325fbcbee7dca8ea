"""What ``emovc reproduce genner-directions`` says: emotion vectors made in one way or another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from emovc.common.manifest import Utterance
from emovc.genner_tts.mixing import (
    average_codewords,
    mix_convex,
    mix_hyperbolic,
    mix_spherical,
    split_groups,
    split_stages,
)
from emovc.genner_tts.quantization_source import NEUTRAL
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.spoken_choice import Asked
from emovc.genner_tts.spoken_lines import Condition, Line, Stage

COUNTS = (1, 2, 4, 8)  # references that are mixed
TWO_STEPS, SEVERAL, MIXED = "1 neutral first", "2 several references", "3 mixed emotions"


class Books(NamedTuple):
    """Quantisers of the experiment.

    Attributes:
        only: Of one emotion each.
        joint: Of all.
        union: Of both emotions that are mixed.
        lams: A strong lambda, at which little but the codebook's middle is left, and a middle one.
    """

    only: Mapping[str, EmotionQuantizer]
    joint: EmotionQuantizer
    union: EmotionQuantizer
    lams: tuple[float, float]


def quantized(quantizer: EmotionQuantizer, vector: Tensor, lam: float) -> Tensor:
    """What a quantiser makes of a vector (E,)."""
    return quantizer(vector[None], lam).quantized[0]


def two_step_lines(
    stage: Stage, books: Books, asked: Sequence[Asked], condition: Condition
) -> list[Line]:
    """Each reference towards every other emotion: straight, by way of neutral, or replaced."""
    lines, names = [], stage.source.emotions
    centroids = dict(zip(names, stage.source.centroids, strict=True))
    strong, middle = books.lams
    for one in asked:
        vector, source = stage.vector(one.reference), one.reference.emotion
        neutral = quantized(books.only[NEUTRAL], vector, strong)
        for target in (n for n in names if n not in (NEUTRAL, source)):
            ways = {
                "as it is": [vector],
                "straight": [vector, quantized(books.only[target], vector, middle)],
                "neutral, then the codebook": [
                    vector, neutral, quantized(books.only[target], neutral, middle)
                ],
                "neutral, then the difference": [
                    vector, neutral, neutral + centroids[target] - centroids[NEUTRAL]
                ],
                "replaced by the middle": [vector, centroids[target]],
            }  # fmt: skip
            for name, path in ways.items():
                about: dict[str, str | float] = {"way": name, "target": target}
                about["path"] = length_of(path)
                grid = f"{TWO_STEPS}: to {target}"
                lines.append(Line(grid, one.label, name, *one, path[-1], condition, about))
    return lines


def length_of(path: Sequence[Tensor]) -> float:
    """Length of the way through vectors (E,), beside that of the straight one to its end."""
    steps = sum(float((b - a).norm()) for a, b in zip(path[:-1], path[1:], strict=True))
    straight = float((path[-1] - path[0]).norm())
    return steps / straight if straight > 0 else 1.0


def several_lines(
    stage: Stage,
    books: Books,
    asked: Sequence[Asked],
    emotions: Sequence[str],
    draws: int,
    condition: Condition,
    seed: int,
) -> list[Line]:
    """Vectors mixed of 1 to 8 references of an emotion, some draws of each number."""
    rng, lines = np.random.default_rng(seed), []
    for emotion in emotions:
        pool = [u for u in stage.data.of_split("test") if u.emotion == emotion]
        reference, text = next(a for a in asked if a.reference.emotion == emotion)
        vectors = {u.id: stage.vector(u) for u in pool}
        for count in (n for n in COUNTS if n <= len(pool)):
            for draw in range(draws):
                own = [pool[i].id for i in rng.permutation(len(pool))[:count]]
                made = mixtures(books.joint, torch.stack([vectors[name] for name in own]))
                for name, vector in made.items():
                    about: dict[str, str | float] = {"mixer": name, "target": emotion}
                    about |= {"count": count, "draw": draw}
                    row = f"{emotion}, {count} of {name}"
                    column, grid = f"draw {draw + 1}", f"{SEVERAL}: {emotion}"
                    lines.append(Line(grid, row, column, reference, text, vector, condition, about))
    return lines


def mixtures(joint: EmotionQuantizer, vectors: Tensor) -> dict[str, Tensor]:
    """Mixtures (E,) of reference vectors (R, E), by name."""
    equal = torch.full((len(vectors),), 1 / len(vectors))
    codes = joint.encode(vectors, 0.0)
    groups = joint.decode(split_groups(codes, equal))
    return {
        "means": mix_convex(vectors, equal),
        "means on the sphere": mix_spherical(vectors, equal),
        "means in the ball": mix_hyperbolic(vectors, equal),
        "groups of codes": groups,
        "means of code words": average_codewords(joint, codes, equal),
    }


def mixed_lines(
    stage: Stage,
    books: Books,
    asked: Sequence[Asked],
    mixed: tuple[str, str],
    condition: Condition,
) -> list[Line]:
    """Two emotions at a time, in each speaker's voice, beside either and neutral alone."""
    lines = []
    for speaker in dict.fromkeys(a.reference.speaker for a in asked):
        own = {str(a.reference.emotion): a for a in asked if a.reference.speaker == speaker}
        a, b = (stage.vector(own[name].reference) for name in mixed)
        neutral = stage.vector(own[NEUTRAL].reference)
        reference: Utterance = own[NEUTRAL].reference
        for name, vector in blends(stage, books, mixed, a, b, neutral).items():
            about = {"way": name}
            text = own[NEUTRAL].text
            lines.append(Line(MIXED, speaker, name, reference, text, vector, condition, about))
    return lines


def blends(
    stage: Stage, books: Books, mixed: tuple[str, str], a: Tensor, b: Tensor, neutral: Tensor
) -> dict[str, Tensor]:
    """Vectors (E,) of both emotions, by name, and those they are compared with.

    Args:
        stage: The synthesizer and its corpus.
        books: Quantisers.
        mixed: Names of the emotions.
        a: Vector of a recording of the first, (E,).
        b: Vector of a recording of the second, (E,).
        neutral: Vector of a neutral recording, (E,).
    """
    names, middle = stage.source.emotions, books.lams[1]
    both = torch.stack([stage.source.centroids[names.index(name)] for name in mixed])
    codes, half = books.joint.encode(torch.stack([a, b]), 0.0), torch.tensor([0.5, 0.5])
    n_coarse = codes.shape[-2] // 2
    first, second = mixed
    return {
        "neutral": neutral,
        first: a,
        second: b,
        f"codebook of both, of {first}": quantized(books.union, a, middle),
        f"codebook of both, of {second}": quantized(books.union, b, middle),
        "codebook of both, of neutral": quantized(books.union, neutral, middle),
        "mean of middles": mix_convex(both, half),
        "mean of middles on the sphere": mix_spherical(both, half),
        f"coarse {first}, fine {second}": books.joint.decode(
            split_stages(codes[0], codes[1], n_coarse)
        ),
        f"coarse {second}, fine {first}": books.joint.decode(
            split_stages(codes[1], codes[0], n_coarse)
        ),
        "half of the groups each": books.joint.decode(split_groups(codes, half)),
    }
