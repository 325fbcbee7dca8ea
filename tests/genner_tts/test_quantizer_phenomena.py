"""What quantising does to emotions, on a synthetic source that is built like real embeddings."""

from functools import cache

import lightning as L
import pytest
import torch
from torch import Tensor

from emovc.genner_tts.baselines import allocate_greedily, bisect_bits, reduce_along_data
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.quantizer_training import LitEmotionQuantizer
from emovc.genner_tts.synthetic_data import SyntheticDataModule
from emovc.genner_tts.synthetic_embeddings import EMOTIONS

pytestmark = pytest.mark.slow
GRID = (1e-4, 3e-3, 1.3e-2, 5e-2, 0.2, 0.5, 1.0)  # at the end nothing but one point is left
NEUTRAL = EMOTIONS.index("neutral")


def split_of(data: SyntheticDataModule, part: str) -> tuple[Tensor, Tensor]:
    """Embeddings and emotions of a part."""
    rows = data.of_split(part)
    return data.embeddings(part), torch.tensor([EMOTIONS.index(str(u.emotion)) for u in rows])


@cache
def everything() -> SyntheticDataModule:
    data = SyntheticDataModule(256, per_emotion=600, held_out=100, batch_size=300)
    data.setup("fit")
    return data


@cache
def model_of(emotion: str | None = None, happy: float = 1.0) -> EmotionQuantizer:
    """A quantiser of all emotions, or of one, or of one that is over-represented."""
    torch.manual_seed(0)
    data = SyntheticDataModule(
        256, per_emotion=600, held_out=100, batch_size=300,
        emotions=[emotion] if emotion else None, weights={"happy": happy} if happy > 1 else None,
    )  # fmt: skip
    model = EmotionQuantizer(256, 4, 4, 32, hidden=96, lam_range=(GRID[0], GRID[-1]))
    trainer = L.Trainer(
        max_steps=200, max_epochs=-1, accelerator="cpu", logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(LitEmotionQuantizer(model, lr=4e-3), data)
    return model.eval()


@cache
def centroids() -> Tensor:
    vectors, emotion = split_of(everything(), "train")
    return torch.stack([vectors[emotion == k].mean(0) for k in range(5)])


@cache
def probe() -> tuple[Tensor, Tensor]:
    """Weights and offsets of a linear discriminant analysis of the training embeddings."""
    vectors, emotion = split_of(everything(), "train")
    x = vectors - centroids()[emotion]
    within = x.T @ x / len(x)
    within += 0.02 * torch.eye(256) * within.trace() / 256
    weights = torch.linalg.solve(within, centroids().T)
    return weights, -0.5 * (centroids() * weights.T).sum(1)


def recall(e: Tensor, emotion: Tensor) -> Tensor:
    """Share of each emotion that the probe recognises, (5,)."""
    weights, offsets = probe()
    right = (e @ weights + offsets).argmax(1) == emotion
    return torch.stack([right[emotion == k].float().mean() for k in range(5)])


def similarity(model: EmotionQuantizer, lam: float) -> Tensor:
    """Mean cosine between test embeddings and what becomes of them, by emotion, (5,)."""
    e, emotion = split_of(everything(), "test")
    cosine = torch.cosine_similarity(model(e, lam).quantized, e)
    return torch.stack([cosine[emotion == k].mean() for k in range(5)])


def progress(model: EmotionQuantizer, lam: float, target: int) -> Tensor:
    """How far each emotion moves towards another's centroid, 0 to 1, (5,)."""
    e, emotion = split_of(everything(), "test")
    moved = model(e, lam).quantized - e
    way = centroids()[target] - centroids()[emotion]
    share = (moved * way).sum(1) / way.square().sum(1)
    return torch.stack([share[emotion == k].mean() for k in range(5)])


def arrived(model: EmotionQuantizer, lam: float, target: int) -> Tensor:
    """Share of each emotion whose nearest centroid is the target's, (5,)."""
    e, emotion = split_of(everything(), "test")
    nearest = torch.cdist(model(e, lam).quantized, centroids()).argmin(1) == target
    return torch.stack([nearest[emotion == k].float().mean() for k in range(5)])


def test_similarity_falls_with_lambda_and_neutral_keeps_most() -> None:
    curves = torch.stack([similarity(model_of(), lam) for lam in GRID])
    assert (curves.diff(dim=0) < 3e-3).all()
    others = [k for k in range(5) if k != NEUTRAL]
    for row in curves[-3:]:
        assert row[NEUTRAL] > row[others].max() + 0.03


def test_all_emotions_approach_neutral() -> None:
    shares = torch.stack([arrived(model_of(), lam, NEUTRAL) for lam in (1.3e-2, 0.2, 0.5)])
    assert shares[0, 1:].max() < 0.4
    assert shares[1, 1:].mean() > shares[0, 1:].mean() + 0.3
    assert shares[2].min() > 0.95


def test_recognition_falls_and_neutral_survives() -> None:
    e, emotion = split_of(everything(), "test")
    clean = recall(e, emotion).mean()
    found = torch.stack([recall(model_of()(e, lam).quantized, emotion) for lam in GRID])
    means = found.mean(1)
    assert clean > 0.95 and means[0] > clean - 0.05
    assert means[2] > 0.85 and means[-1] < 0.25  # slowly at first, then at once
    assert found[:, NEUTRAL].min() > 0.9


def test_undirected_noise_along_the_data_hits_neutral_first() -> None:
    e, emotion = split_of(everything(), "test")
    train = everything().embeddings("train")
    noisy = reduce_along_data(e, 0.9, train, torch.Generator().manual_seed(0))
    found = recall(noisy, emotion)
    assert found[NEUTRAL] < found[1:].min() - 0.1


@pytest.mark.parametrize("bits", [15.0, 30.0, 45.0])
def test_one_lambda_costs_less_than_equal_bits(bits: float) -> None:
    model = model_of()
    e, _ = split_of(everything(), "test")
    forced = bisect_bits(model, e, bits).made
    greedy = allocate_greedily(model.codebooks, model.space(e), bits)
    for made in (forced, greedy):
        rate, low, high = float(made.bits.mean()), 1e-4, 0.3
        for _ in range(20):
            middle = (low * high) ** 0.5
            more = float(model(e, middle).bits.mean()) > rate
            low, high = (middle, high) if more else (low, middle)
        assert float(model(e, high).distortion.mean()) < float(made.distortion.mean())


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_the_codebook_of_one_emotion_keeps_it_and_pulls_the_others(emotion: str) -> None:
    model, own = model_of(emotion), EMOTIONS.index(emotion)
    others = [k for k in range(5) if k != own]
    for lam in (1e-4, 1.3e-2, 0.2):
        kept = similarity(model, lam)
        assert kept[own] > kept[others].max() - 2e-3  # neutral varies so little that it may tie
    pulls = torch.stack([progress(model, lam, own)[others] for lam in (1e-4, 1.3e-2, 1.0)])
    assert pulls[0].min() > 0.05 and pulls[0].mean() > 0.2  # from the least lambda on
    assert (pulls.diff(dim=0) > 0).all() and pulls[2].mean() > 0.85


def test_a_dominant_emotion_draws_the_others_at_high_lambda_only() -> None:
    model, happy = model_of(happy=10.0), EMOTIONS.index("happy")
    assert arrived(model, 1.0, happy).min() > 0.9
    others = [k for k in range(5) if k != happy]
    assert progress(model, 1e-4, happy)[others].max() < 0.1
