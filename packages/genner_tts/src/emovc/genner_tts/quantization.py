"""``emovc reproduce quantization``: what quantising emotion embeddings does to emotions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.evaluate import require_same_settings
from emovc.common.files import sha256_of
from emovc.common.metrics import bootstrap_interval
from emovc.common.progress import progress
from emovc.genner_tts.baselines import (
    reduce_along_data,
    reduce_from_centroid,
    reduce_isotropically,
)
from emovc.genner_tts.quantization_findings import SIMILARITIES, Biased, Findings, Point
from emovc.genner_tts.quantization_measures import (
    Moved,
    Probe,
    by_emotion,
    compare_encoders,
    emotion_probe,
    look_at,
    moved_by,
)
from emovc.genner_tts.quantization_report import write_report
from emovc.genner_tts.quantization_source import Source, open_data, read_source, train_quantizer
from emovc.genner_tts.quantizer import EmotionQuantizer

DOMINANCE = 10.0  # how much more often the dominant emotion of a joint codebook is drawn
N_DOMINATED = 2


def quantization(
    manifest: Path | None = None,
    feature: str = "emotion",
    out: Path = Path("runs/quantization"),
    emotions: list[str] | None = None,
    seeds: list[int] | None = None,
    steps: int = 1000,
    points: int = 16,
    n_groups: int = 4,
    n_stages: int = 4,
    codebook_size: int = 32,
    lam_range: tuple[float, float] = (1e-4, 1.0),
) -> None:
    """Train codebooks of all emotions, of one, and of some recordings, and measure over lambda.

    Quantisers that were trained before are kept, so a run that was stopped goes on.

    Args:
        manifest: Manifest with splits and stored embeddings; without one, synthetic embeddings.
        feature: Stored feature.
        out: Folder for quantisers, tables, figures, CSV and JSON.
        emotions: Emotions to use, neutral among them; by default all.
        seeds: Seeds of the quantisers, over which all is averaged; by default 0, 1, 2.
        steps: Training steps of each quantiser.
        points: Lambdas of the curves, evenly spaced in log lambda.
        n_groups: Groups of the quantisers.
        n_stages: Stages.
        codebook_size: Codes of each codebook.
        lam_range: Least and largest lambda.
    """
    if points < 3:
        raise UserError(f"points {points}: give 3 or more")
    chosen = seeds or [0, 1, 2]
    source = read_source(open_data(manifest, feature, emotions))
    sizes: dict[str, Any] = {
        "dim": source.train.vectors.shape[1], "n_groups": n_groups, "n_stages": n_stages,
        "codebook_size": codebook_size, "lam_range": list(lam_range),
    }  # fmt: skip
    settings = {
        "embeddings": f"{feature} of {manifest}" if manifest else "synthetic",
        "manifest": sha256_of(manifest) if manifest else None,
        "emotions": source.emotions, "seeds": chosen, "steps": steps,
        "points": points, "sizes": sizes, "train": len(source.train.vectors),
        "test": len(source.test.vectors), "speakers": len(set(source.test.speakers)),
    }  # fmt: skip
    require_same_settings(out, settings)

    def trained(
        name: str, only: list[str] | None, share: float = 1, weights: dict[str, float] | None = None
    ) -> list[EmotionQuantizer]:
        found = []
        for seed in chosen:
            data = open_data(manifest, feature, only, share, weights, seed)
            found.append(
                train_quantizer(data, sizes, steps, seed, out / "models" / f"{name}_{seed}")
            )
        return found

    dominant = source.emotions[1 : 1 + N_DOMINATED]
    kinds = Quantizers(
        trained("joint", emotions),
        [trained(f"only_{name}", [name]) for name in source.emotions],
        [trained(f"mostly_{name}", emotions, weights={name: DOMINANCE}) for name in dominant],
        trained("some", emotions, 1 / len(source.emotions)),
    )
    lams = np.geomspace(*lam_range, points).tolist()
    write_report(out, find(kinds, source, lams, dominant), settings)


class Quantizers(NamedTuple):
    """What was trained, in each case one per seed.

    Attributes:
        joint: On all emotions.
        biased: On one emotion each, in the order of the source.
        lean: On all emotions, one of them drawn more often.
        some: On recordings of all emotions, drawn at random, as many as of one.
    """

    joint: list[EmotionQuantizer]
    biased: list[list[EmotionQuantizer]]
    lean: list[list[EmotionQuantizer]]
    some: list[EmotionQuantizer]


def find(
    quantizers: Quantizers, source: Source, lams: Sequence[float], dominant: list[str]
) -> Findings:
    """Measure everything.

    Args:
        quantizers: What was trained.
        source: The corpus.
        lams: Lambdas of the curves; codebooks that lean are looked at at three of them.
        dominant: Emotions that ``quantizers.lean`` lean towards.
    """
    three, n = [lams[0], lams[len(lams) * 2 // 3], lams[-1]], len(source.emotions)
    clean = emotion_probe(source.train)
    speakers = Probe(source.train.vectors, source.train.speakers)
    curve = [
        measure(quantizers.joint, source, lam, clean, speakers)
        for lam in progress(lams, "measuring", len(lams))
    ]
    rates = [(point.bits, point.distortion) for point in curve]
    return Findings(
        source.emotions,
        curve,
        direct_reduction(source, clean),
        compare_encoders(quantizers.joint[0], source.test.vectors, rates),
        [pull([moved_by(q, source, lam) for q in quantizers.biased], source, lam) for lam in three],
        [pull([moved_by(q, source, lam) for q in quantizers.lean], source, lam) for lam in three],
        [pull([moved_by(quantizers.some, source, lam)] * n, source, lam) for lam in three],
        dominant,
    )


@torch.no_grad()
def measure(
    quantizers: Sequence[EmotionQuantizer],
    source: Source,
    lam: float,
    clean: Probe,
    speakers: Probe,
) -> Point:
    """Rate, distortion and what became of the emotions at one lambda, averaged over quantisers.

    Args:
        quantizers: Quantisers that differ in their seed.
        source: The corpus.
        lam: Weight of the rate.
        clean: Reads emotions, learned from embeddings as they are.
        speakers: Reads speakers, likewise.
    """
    test = source.test
    rows: dict[str, list[Tensor]] = {}
    for quantizer in quantizers:
        made = quantizer(test.vectors, lam)
        moved = look_at(source, made.quantized)
        learned = emotion_probe(source.train, quantizer(source.train.vectors, lam).quantized)
        found = {
            "bits": made.bits, "distortion": made.distortion, "raw": moved.raw,
            "centred": moved.centred, "progress": moved.progress[:, 0],
            "to_neutral": moved.to_neutral, "at_neutral": (moved.nearest == 0).float(),
            "radius": moved.radius, "clean": clean.hits(made.quantized, test.emotion.tolist()),
            "matched": learned.hits(made.quantized, test.emotion.tolist()),
            "speaker": speakers.hits(made.quantized, test.speakers),
        }  # fmt: skip
        for name, values in found.items():
            rows.setdefault(name, []).append(values)
    means = {name: torch.stack(values).mean(0) for name, values in rows.items()}
    return Point(
        lam,
        float(means["bits"].mean()),
        float(means["distortion"].mean()),
        {name: by_emotion(source, values) for name, values in means.items()},
        _intervals(source, means["raw"]),
    )


def _intervals(source: Source, values: Tensor) -> list[tuple[float, float]]:
    """95 % interval of each emotion's mean, by bootstrap over speakers."""
    found = []
    for i in range(len(source.emotions)):
        own = (source.test.emotion == i).nonzero()[:, 0].tolist()
        speakers = [source.test.speakers[k] for k in own]
        found.append(bootstrap_interval(values[own].numpy(), speakers))
    return found


def direct_reduction(source: Source, clean: Probe) -> dict[str, list[list[float]]]:
    """Recall of each emotion where embeddings are turned to a similarity, by way and similarity.

    Args:
        source: The corpus.
        clean: Reads emotions, learned from embeddings as they are.
    """
    test = source.test
    own = source.centroids[test.emotion]
    found: dict[str, list[list[float]]] = {"in any direction": [], "as the data vary": []}
    found["from its centroid"] = []
    for similarity in SIMILARITIES:
        generators = [torch.Generator().manual_seed(0) for _ in range(2)]
        made = {
            "in any direction": reduce_isotropically(test.vectors, similarity, generators[0]),
            "as the data vary": reduce_along_data(
                test.vectors, similarity, source.train.vectors, generators[1]
            ),
            "from its centroid": reduce_from_centroid(test.vectors, similarity, own),
        }
        for way, vectors in made.items():
            found[way].append(by_emotion(source, clean.hits(vectors, test.emotion.tolist())))
    return found


def pull(moved: Sequence[Sequence[Moved]], source: Source, lam: float) -> Biased:
    """Where codebooks draw each emotion at one lambda.

    Args:
        moved: For each emotion of the corpus, or for its first emotions but neutral, what its
            quantisers make of the test part; they differ in their seed, over which is averaged.
        source: The corpus.
        lam: Weight of the rate.
    """
    first = 0 if len(moved) == len(source.emotions) else 1
    kept, gone, arrived = [], [], []
    for k, seeds in enumerate(moved, first):
        kept.append(by_emotion(source, torch.stack([m.raw for m in seeds]).mean(0)))
        gone.append(by_emotion(source, torch.stack([m.progress[:, k] for m in seeds]).mean(0)))
        nearest = torch.stack([(m.nearest == k).float() for m in seeds])
        arrived.append(by_emotion(source, nearest.mean(0)))
    return Biased(lam, kept, gone, arrived)
