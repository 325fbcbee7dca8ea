"""Strength by relative attributes: planted directions, held-out order, and real intensities."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from emovc.common.corpora import ravdess
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.ser.functionals import WorldFunctionals, measure
from emovc.ser.strength import (
    StrengthRanker,
    intensity_accuracy,
    ordering_accuracy,
)

RNG = np.random.default_rng


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def planted(
    seed: int, n: int = 40, speakers: tuple[str, ...] = ("a", "b"), split: str = "train"
) -> tuple[list[Utterance], np.ndarray, np.ndarray]:
    """Utterances whose features lie along a direction by a known strength, each speaker apart."""
    direction = RNG(7).normal(size=8)
    direction /= np.linalg.norm(direction)
    rng = RNG(seed)
    utterances, rows, strengths = [], [], []
    for k, speaker in enumerate(speakers):
        for emotion, low, high in (("neutral", 0.0, 0.3), ("angry", 0.6, 1.0)):
            for i in range(n):
                strength = rng.uniform(low, high)
                offset = 5 * np.roll(np.eye(8)[0], k)
                rows.append(offset + 3 * strength * direction + 0.2 * rng.normal(size=8))
                strengths.append(strength)
                utterances.append(
                    Utterance(
                        f"x/{split}{speaker}{emotion}{i}", Path("none"), "", 16_000, 1, speaker,
                        "x", emotion=emotion, split=split,  # type: ignore[arg-type]
                        intensity="strong" if strength > 0.8 else "normal", sentence="1",
                    )
                )  # fmt: skip
    return utterances, np.array(rows), np.array(strengths)


@pytest.fixture(scope="module")
def ranker() -> StrengthRanker:
    utterances, features, _ = planted(0)
    return StrengthRanker.fit(utterances, features, "planted")


def test_the_planted_direction_is_recovered(ranker: StrengthRanker) -> None:
    direction = RNG(7).normal(size=8)
    for speaker in ("a", "b", "*"):
        assert cosine(ranker.scales[speaker, "angry"].weight, direction) > 0.8


def test_strength_follows_the_truth_within_an_emotion_nobody_graded(ranker: StrengthRanker) -> None:
    utterances, features, truth = planted(1)
    found = [
        ranker.score(row, u.speaker, "angry").value
        for u, row in zip(utterances, features, strict=True)
    ]
    angry = np.array([u.emotion == "angry" for u in utterances])
    assert np.corrcoef(np.array(found)[angry], truth[angry])[0, 1] > 0.7
    assert np.corrcoef(found, truth)[0, 1] > 0.95


def test_held_out_pairs_come_out_in_order(ranker: StrengthRanker) -> None:
    utterances, features, _ = planted(2, n=15, split="test")
    found = ordering_accuracy(ranker, utterances, features)["angry"]
    assert found.share == 1.0 and found.pairs == 2 * 15 * 15
    strong = intensity_accuracy(ranker, utterances, features)
    assert 0.8 < strong.share <= 1.0


def test_shuffled_labels_are_at_chance() -> None:
    utterances, _, _ = planted(3)
    noise = RNG(0).normal(size=(2, len(utterances), 8))
    ranker = StrengthRanker.fit(utterances, noise[0], "noise")
    assert ordering_accuracy(ranker, utterances, noise[1])["angry"].share == pytest.approx(
        0.5, abs=0.1
    )


def test_an_unseen_speaker_gets_the_pooled_ranking_and_is_told_so(ranker: StrengthRanker) -> None:
    row = planted(0)[1][0]
    assert ranker.score(row, "stranger", "angry").pooled
    assert not ranker.score(row, "a", "angry").pooled
    expected = float(row @ ranker.scales["*", "angry"].weight) + ranker.scales["*", "angry"].bias
    assert ranker.score(row, "stranger", "angry").unclipped == expected


def test_strength_stays_between_0_and_1(ranker: StrengthRanker) -> None:
    row = 1e3 * ranker.scales["a", "angry"].weight
    assert ranker.score(row, "a", "angry").value == 1.0
    assert ranker.score(row, "a", "angry").unclipped > 1
    assert ranker.score(-row, "a", "angry").value == 0.0


def test_an_emotion_it_never_heard_is_refused(ranker: StrengthRanker) -> None:
    for emotion in ("sad", "neutral"):
        with pytest.raises(UserError, match=f"strength of {emotion}"):
            ranker.score(np.zeros(8), "a", emotion)


def test_only_the_training_split_teaches() -> None:
    utterances, features, _ = planted(0, split="test")
    with pytest.raises(UserError, match="not of split train"):
        StrengthRanker.fit(utterances, features, "planted")


def test_speech_without_neutral_teaches_nothing() -> None:
    utterances, features, _ = planted(0)
    angry = [i for i, u in enumerate(utterances) if u.emotion == "angry"]
    with pytest.raises(UserError, match="no speaker has 2 neutral"):
        StrengthRanker.fit([utterances[i] for i in angry], features[angry], "planted")


def test_a_saved_ranker_is_the_same(ranker: StrengthRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "ranker.safetensors")
    loaded = StrengthRanker.load(tmp_path / "ranker.safetensors")
    row = planted(5)[1][-1]
    assert loaded.hash == ranker.hash and loaded.functionals == "planted"
    assert loaded.corpora == ("x",)
    for speaker in ("a", "b", "stranger"):
        assert loaded.score(row, speaker, "angry") == ranker.score(row, speaker, "angry")


def test_damaged_absent_and_foreign_files_are_refused(
    ranker: StrengthRanker, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    whole, path = tmp_path / "whole.safetensors", tmp_path / "other.safetensors"
    ranker.save(whole)
    with pytest.raises(UserError, match="no such file"):
        StrengthRanker.load(path)
    path.write_bytes(whole.read_bytes()[:-8])
    with pytest.raises(UserError, match="not a whole file"):
        StrengthRanker.load(path)
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(UserError, match="something else, not a strength ranker"):
        StrengthRanker.load(path)


def test_strongly_acted_speech_ranks_above_normal(shared: Path) -> None:
    """RAVDESS: nobody told the ranker of intensity."""
    utterances = [
        dataclasses.replace(utterance, split="train")
        for actor in ("Actor_01", "Actor_02")
        for utterance in ravdess.read(shared / "data/ravdess" / actor).utterances
        if utterance.emotion in ("neutral", "happy")
    ]
    own = WorldFunctionals()
    features, silent = measure(own, utterances)
    assert not silent and len(utterances) == 2 * (4 + 8)
    ranker = StrengthRanker.fit(utterances, features, own.name)
    strong = intensity_accuracy(ranker, utterances, features)
    assert strong.pairs == 2 * 2 * 2 * 2 and strong.share > 0.7
