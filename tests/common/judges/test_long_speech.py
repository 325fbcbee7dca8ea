"""Windows of long recordings and the joining of their transcripts, by hand."""

import pytest

from emovc.common.judges.long_speech import join_transcripts, join_words, window_bounds

MAT = "the cat sat on the old mat"
DOOR = "kids are talking by the door"


@pytest.mark.parametrize(
    ("left", "right", "expected", "joined"),
    [
        (MAT, "on the old mat and slept", 4, f"{MAT} and slept"),
        # Words that a window cut, at its end and at its start, are taken from the other one.
        ("the cat sat on the old ma", "n the old mat and slept", 4, f"{MAT} and slept"),
        # An error beside the middle of the overlap: the word of the window that has more context.
        ("a dog in the yard", "he dog in the garden too", 6, "a dog in the garden too"),
        # A word that one of them lacks.
        ("p q r s t u", "q r x s t u v w", 5, "p q r s t u v w"),
        # Every word in common is cut in one of them.
        ("the cat sat on the ol", "he old mat", 2, "the cat sat on the old mat"),
        # Case and punctuation are no difference; they are kept.
        ("and sat on the Old, mat", "on the old mat. Then", 4, "and sat on the old mat. Then"),
        # A pause: nothing in common, nothing lost.
        ("the cat sat", "a dog barked", 3, "the cat sat a dog barked"),
        ("", "a dog", 2, "a dog"),
        ("a dog", "", 2, "a dog"),
        # A sentence said again and again: the overlap is as long as its duration lets expect.
        (f"{DOOR} {DOOR} {DOOR}", f"{DOOR} {DOOR}", 6, f"{DOOR} {DOOR} {DOOR} {DOOR}"),
        (f"{DOOR} {DOOR} {DOOR}", f"{DOOR} {DOOR}", 12, f"{DOOR} {DOOR} {DOOR}"),
    ],
)  # fmt: skip
def test_words_are_joined_where_both_have_them(
    left: str, right: str, expected: float, joined: str
) -> None:
    assert " ".join(join_words(left.split(), right.split(), expected)) == joined


def test_transcripts_of_many_windows_become_one() -> None:
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(200)]
    windows = [" ".join(words[start : start + 50]) for start in range(0, 160, 40)]
    assert join_transcripts(windows, 0.2).split() == words[:170]
    assert join_transcripts(["alone"], 0.2) == "alone" and join_transcripts(["", ""], 0.2) == ""


@pytest.mark.parametrize("n_samples", [1, 300, 301, 550, 551, 12_345])
def test_windows_cover_everything_with_the_same_overlap(n_samples: int) -> None:
    bounds = window_bounds(n_samples, 300, 50)
    assert bounds[0][0] == 0 and bounds[-1][1] == n_samples
    assert all(0 < stop - start <= 300 for start, stop in bounds)
    assert {a[1] - b[0] for a, b in zip(bounds, bounds[1:], strict=False)} <= {50}
    assert len(bounds) == 1 if n_samples <= 300 else len(bounds) == -((50 - n_samples) // 250)
