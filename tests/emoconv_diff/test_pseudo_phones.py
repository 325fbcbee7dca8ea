import itertools
from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.emoconv_diff.average_mels import average_mel, average_sounds, occurrence_medians
from emovc.emoconv_diff.pseudo_phones import (
    PseudoPhones,
    best_labels,
    cepstra,
    runs,
    speaker_scale,
    with_context,
)


def spoken(seed: int, order: str = "abcacb", length: int = 6) -> tuple[np.ndarray, str]:
    """Noisy frames of three sounds, and the sound of each frame."""
    sounds = {"a": [4.0, 0.0, 0.0], "b": [0.0, 4.0, 0.0], "c": [0.0, 0.0, 4.0]}
    frames = np.repeat([sounds[s] for s in order], length, axis=0)
    noise = np.random.default_rng(seed).normal(0, 0.3, frames.shape)
    return (frames + noise).astype(np.float32), "".join(s * length for s in order)


def test_sounds_that_recur_are_found() -> None:
    phones = PseudoPhones.fit([spoken(i)[0] for i in range(5)], n_phones=3)
    segments = phones(spoken(9)[0])
    assert [(s.start, s.stop) for s in segments] == [(6 * i, 6 * i + 6) for i in range(6)]
    names = [s.label for s in segments]
    assert len(set(names)) == 3
    assert names == [names[0], names[1], names[2], names[0], names[2], names[1]]


def test_the_same_seed_finds_the_same() -> None:
    frames = [np.random.default_rng(i).normal(size=(50, 4)) for i in range(4)]
    first, again = (PseudoPhones.fit(frames, 8, seed=3).centres for _ in range(2))
    assert first.equal(again)
    assert not first.equal(PseudoPhones.fit(frames, 8, seed=4).centres)


def by_trying_all(costs: np.ndarray, min_frames: int) -> float:
    """Least cost over all labellings without short runs."""
    n_frames, n_labels = costs.shape
    least = np.inf
    for labels in itertools.product(range(n_labels), repeat=n_frames):
        if min(s.stop - s.start for s in runs(np.array(labels))) >= min(min_frames, n_frames):
            least = min(least, costs[np.arange(n_frames), labels].sum())
    return least


@pytest.mark.parametrize("min_frames", [1, 2, 3, 9])
@pytest.mark.parametrize("n_frames", [1, 4, 7])
def test_no_labelling_without_short_runs_costs_less(n_frames: int, min_frames: int) -> None:
    costs = np.random.default_rng(n_frames).normal(size=(n_frames, 3))
    labels = best_labels(costs, min_frames)
    assert costs[np.arange(n_frames), labels].sum() == pytest.approx(
        by_trying_all(costs, min_frames)
    )
    lengths = [s.stop - s.start for s in runs(labels)]
    assert min(lengths) >= min(min_frames, n_frames)


def test_runs_of_one_frame_are_the_nearest_centres() -> None:
    costs = np.random.default_rng(0).normal(size=(30, 5))
    assert (best_labels(costs, 1) == costs.argmin(1)).all()


def test_a_short_run_goes_to_its_nearer_neighbour() -> None:
    far, near = 9.0, 1.0
    # label 0, then one frame of 2 which label 1 suits better than 0, then label 1
    costs = np.array([[0, far, far]] * 4 + [[far, near, 0]] + [[far, 0, far]] * 4, float)
    assert best_labels(costs, 3).tolist() == [0] * 4 + [1] * 5


def test_runs_cover_all_frames() -> None:
    segments = runs(np.array([4, 4, 1, 4, 4, 4]))
    assert segments == [("4", 0, 2), ("1", 2, 3), ("4", 3, 6)]


def test_durations_stay_and_frames_of_a_pseudo_phone_sound_alike() -> None:
    mel = spoken(1)[0]
    phones = PseudoPhones.fit([mel], n_phones=3)
    segments = phones(mel)
    medians = occurrence_medians(mel, segments)
    sounds = average_sounds([s.label for s in segments], medians, "median")
    target = average_mel(mel, segments, sounds)
    assert target.shape == mel.shape
    assert len(np.unique(target, axis=0)) == 3
    assert np.abs(target - mel).max() < 1.5


def test_they_come_back_from_disk_and_empty_ones_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fit them first"):
        PseudoPhones(3, 3).save_pretrained(tmp_path / "p")
    phones = PseudoPhones.fit([spoken(1)[0]], n_phones=3, min_frames=2)
    phones.save_pretrained(tmp_path / "p")
    loaded = PseudoPhones.from_pretrained(tmp_path / "p")
    assert loaded.settings == {"n_phones": 3, "dim": 3, "min_frames": 2}
    assert loaded(spoken(2)[0]) == phones(spoken(2)[0])
    with pytest.raises(UserError, match="frames of size 3, these have 5"):
        loaded(np.zeros((4, 5)))


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(UserError, match="36 frames are too few for 100"):
        PseudoPhones.fit([spoken(1)[0]], n_phones=100)


def test_speakers_scaled_by_their_own_statistics_are_alike() -> None:
    frames = spoken(1)[0]
    other = frames * 3 + 5  # another voice
    scaled = [(x - mean) / sd for x in (frames, other) for mean, sd in [speaker_scale([x])]]
    np.testing.assert_allclose(scaled[0], scaled[1], atol=1e-5)


def test_context_and_cepstra_by_hand() -> None:
    frames = np.arange(4.0)[:, None]
    expected = [[0, 0, 2], [0, 1, 3], [0, 2, 3], [1, 3, 3]]
    assert with_context(frames).tolist() == expected
    flat = cepstra(np.full((2, 80), -3.0))
    np.testing.assert_allclose(flat[:, 0], -3 * np.sqrt(80), rtol=1e-6)
    np.testing.assert_allclose(flat[:, 1:], 0, atol=1e-6)
    assert flat.shape == (2, 20)
