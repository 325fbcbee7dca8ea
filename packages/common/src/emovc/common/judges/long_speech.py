"""Recordings longer than a recogniser takes at once: windows, and their transcripts joined."""

import math
from collections.abc import Sequence
from difflib import SequenceMatcher

from emovc.common.judges.intelligibility import normalise

GAP = -0.5  # for a word that only one of two transcripts has; 1 for one that both have
TOO_LONG = -1.25  # for each word by which an overlap is longer than speech of that duration is


def window_bounds(n_samples: int, longest: int, overlap: int) -> list[tuple[int, int]]:
    """Windows of one length that cover a recording, neighbours with the same part in common.

    Args:
        n_samples: Samples of the recording.
        longest: Most samples of a window.
        overlap: Samples that neighbours have in common.

    Returns:
        First sample of each window, and the one after its last.
    """
    if n_samples <= longest:
        return [(0, n_samples)]
    count = math.ceil((n_samples - overlap) / (longest - overlap))
    length = math.ceil((n_samples + (count - 1) * overlap) / count)
    starts = [i * (length - overlap) for i in range(count)]
    return [(start, min(start + length, n_samples)) for start in starts]


def join_transcripts(texts: Sequence[str], overlap_share: float) -> str:
    """One text of the transcripts of overlapping windows, for languages that part words by spaces.

    Where two windows have no word in common, as in a pause, one text follows the other.

    Args:
        texts: Transcripts in order.
        overlap_share: Share of a window that it has in common with the next.
    """
    joined: list[str] = []
    before = 0  # words of the window before
    for text in texts:
        words = text.split()
        joined = join_words(joined, words, overlap_share * (before + len(words)) / 2)
        before = len(words)
    return " ".join(joined)


def join_words(left: Sequence[str], right: Sequence[str], expected: float) -> list[str]:
    """Join two lists of words of which the end of the first and the start of the second overlap.

    The end of ``left`` is aligned with the start of ``right`` as fragments of a sequence are
    (Gusfield, "Algorithms on strings, trees, and sequences", 1997, section 11.6.4): what stands
    before the overlap in ``left`` and after it in ``right`` costs nothing. Words count as equal
    whatever their case and punctuation, and cut words as similar. The lists meet at the equal words
    nearest to the middle of the overlap, where both windows had context.

    Args:
        left: Words up to the end of the overlap.
        right: Words from the start of the overlap.
        expected: Words that the overlap is likely to hold. Speech that repeats itself is joined by
            the overlap that is not longer than that.
    """
    most = math.ceil(2 * expected) + 4
    tail, head = list(left[-most:]), list(right[:most])
    a, b = [normalise(w) for w in tail], [normalise(w) for w in head]
    score = [[GAP * j for j in range(len(b) + 1)]]
    step: list[list[str]] = [[""] + ["right"] * len(b)]
    for word in a:
        above, row, steps = score[-1], [0.0], [""]  # the overlap may begin anywhere in left
        for j, other in enumerate(b):
            choices = {
                "both": above[j] + _likeness(word, other),
                "left": above[j + 1] + GAP,
                "right": row[j] + GAP,
            }
            best = max(choices, key=choices.__getitem__)
            row.append(choices[best])
            steps.append(best)
        score.append(row)
        step.append(steps)
    values = [s + TOO_LONG * max(j - expected, 0) for j, s in enumerate(score[-1])]
    end = max(range(len(values)), key=values.__getitem__)
    if values[end] <= 0:
        return [*left, *right]
    path, i, j = [], len(a), end
    while j > 0 and step[i][j]:
        if step[i][j] == "both":
            path.append((i - 1, j - 1))
        i, j = i - (step[i][j] != "right"), j - (step[i][j] != "left")
    equal = [(i, j) for i, j in path if a[i] == b[j]] or path
    i, j = min(equal, key=lambda pair: abs(pair[1] - (end - 1) / 2))
    return [*left[: len(left) - len(tail) + i], *right[j:]]


def _likeness(word: str, other: str) -> float:
    """1 for equal words to -1 for words without a letter in common."""
    return 1.0 if word == other else 2 * SequenceMatcher(None, word, other).ratio() - 1
