import numpy as np
import pytest

from emovc.common.phones import Phone
from emovc.emoconv_diff.average_mels import (
    Segment,
    average_mel,
    average_sounds,
    occurrence_medians,
    phone_segments,
)


def test_a_phone_has_the_frames_of_its_beginning_and_end_and_all_between() -> None:
    # Frames of 10 ms: 0.029 s is in frame 2, 0.05 s at the beginning of frame 5.
    phones = [Phone("a", 0.0, 0.029), Phone("b", 0.029, 0.05), Phone("c", 0.05, 0.071)]
    segments = phone_segments(phones, n_frames=7, sample_rate=1000, hop_length=10)
    assert segments == [("a", 0, 3), ("b", 2, 6), ("c", 5, 7)]  # 7.1 is beyond the last frame
    beyond = [Phone("a", 0.0, 0.05), Phone("z", 0.07, 0.08)]
    assert phone_segments(beyond, 7, 1000, 10) == [("a", 0, 6)]


def test_the_official_frame_numbers_at_22050_hz() -> None:
    # floor(int(0.5 * 22050) / 256) = 43 and floor(int(0.7 * 22050) / 256) = 60, inclusive.
    assert phone_segments([Phone("a", 0.5, 0.7)], 100, 22_050, 256) == [("a", 43, 61)]


def test_medians_by_hand() -> None:
    mel = np.array([[0.0, 5.0], [1.0, 5.0], [9.0, 6.0], [2.0, 7.0]], np.float32)
    medians = occurrence_medians(mel, [Segment("a", 0, 3), Segment("b", 2, 4)])
    assert medians.tolist() == [[1.0, 5.0], [5.5, 6.5]]
    assert occurrence_medians(mel, []).shape == (0, 2)


def test_mode_and_median_of_a_phone_by_hand() -> None:
    medians = np.array([[-4.04, 1.0], [-3.96, 2.0], [-9.0, 2.0], [-1.0, 1.0], [7.0, 7.0]])
    labels = ["a", "a", "a", "a", "b"]
    mode = average_sounds(labels, medians, "mode")
    # -4.04 and -3.96 are both -4.0; of 1.0 and 2.0, both twice, the lower.
    np.testing.assert_allclose(mode["a"], [-4.0, 1.0])
    median = average_sounds(labels, medians, "median")
    np.testing.assert_allclose(median["a"], [-4.0, 1.5])
    for table in (mode, median):
        assert list(table) == ["a", "b"]
        np.testing.assert_allclose(table["b"], [7.0, 7.0])
        assert table["a"].dtype == np.float32


@pytest.mark.parametrize("statistic", ["mode", "median"])
def test_a_phone_that_always_sounds_the_same_keeps_its_sound(statistic: str) -> None:
    rng = np.random.default_rng(0)
    sounds = {label: np.rint(rng.normal(-5, 2, 80) * 10) / 10 for label in "xyz"}
    order = list("xzyxxyzz")
    mel = np.concatenate([np.tile(sounds[label], (4, 1)) for label in order])
    segments = [Segment(label, 4 * i, 4 * i + 4) for i, label in enumerate(order)]
    table = average_sounds(order, occurrence_medians(mel, segments), statistic)  # type: ignore[arg-type]
    np.testing.assert_allclose(average_mel(mel, segments, table), mel, atol=1e-6)


def test_frames_are_replaced_in_place_and_the_later_phone_wins() -> None:
    mel = np.arange(12, dtype=np.float32).reshape(6, 2)
    sounds = {"a": np.array([-1.0, -2.0]), "b": np.array([-3.0, -4.0])}
    segments = [Segment("a", 1, 3), Segment("b", 2, 4), Segment("unheard", 4, 5)]
    result = average_mel(mel, segments, sounds)
    assert result.tolist() == [[0, 1], [-1, -2], [-3, -4], [-3, -4], [8, 9], [10, 11]]
    assert mel[1].tolist() == [2, 3]  # the original is untouched


def test_speakers_that_differ_by_a_gain_are_made_one() -> None:
    rng = np.random.default_rng(1)
    words = rng.normal(-5, 2, (5, 8))  # five phones of eight bands
    segments = [Segment(str(i), 3 * i, 3 * i + 3) for i in range(5)]
    mels = [np.repeat(words + gain, 3, axis=0) for gain in (-1.0, 0.0, 1.0)]
    medians = np.concatenate([occurrence_medians(mel, segments) for mel in mels])
    table = average_sounds([s.label for s in segments] * 3, medians, "median")
    targets = [average_mel(mel, segments, table) for mel in mels]
    for target in targets:
        np.testing.assert_allclose(target, mels[1], atol=1e-5)
