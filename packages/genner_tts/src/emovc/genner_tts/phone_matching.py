"""Which phone of a text is which label of a recording, whatever alphabets they are written in."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np

from emovc.common.phones import Phone

SILENT_LABELS = frozenset({"", "_", "_:", ".", ",", "sil", "sp", "spn", "SIL", "<p:>", "<eps>"})
SAMPA = {
    "ɪ": "I", "ɛ": "E", "ɔ": "O", "ʊ": "U", "ʏ": "Y", "œ": "9", "ø": "2", "ə": "@", "ɐ": "6",
    "ɜ": "6", "ɑ": "a", "ɒ": "O", "ʌ": "a", "æ": "E", "ɨ": "I", "ɚ": "6", "ʃ": "S", "ɕ": "S",
    "ʂ": "S", "ç": "C", "χ": "x", "ŋ": "N", "ɲ": "N", "ɡ": "g", "ʁ": "r", "ɾ": "r", "ɹ": "r",
    "ʒ": "Z", "ʑ": "Z", "ʐ": "Z", "θ": "T", "ð": "D", "ʔ": "?", "ɟ": "g", "ɫ": "l", "ʎ": "l",
}  # fmt: skip
ARPABET = {
    "HH": "h", "NG": "N", "SH": "S", "TH": "T", "ZH": "Z", "CH": "tS", "JH": "dZ", "DH": "D",
    "ER": "6", "IY": "i", "IH": "I", "EH": "E", "EY": "e", "AH": "@", "AO": "O", "UH": "U",
    "UW": "u", "OW": "o",
}  # fmt: skip
SIGNS = "@69238&{?"  # letters of SAMPA that aren't letters
VOWELS = "aeiouyIEOUYAQ@69238&{"
MANNERS = ("pbtdkgq?", "fvszSZCxXhHTDGV", "mnNFJ", "lLrRjwB4")
SKIPPED = 0.7  # cost of a phone without a label, or a label without a phone
NEVER = 2.0


def spoken_phones(labels: Sequence[Phone]) -> list[Phone]:
    """Labels without silences and pauses, the parts of a stop joined.

    EMO-DB labels a stop as closure (``_t`` or ``t``), release (``!t``) and aspiration (``tasp``).
    """
    found: list[Phone] = []
    for phone in labels:
        if phone.label in SILENT_LABELS or phone.label.startswith("("):
            continue
        name = phone.label.lstrip("_!")
        part = phone.label.startswith("!") or name.endswith("asp")
        if part and found and found[-1].label[:1] == name[:1]:
            found[-1] = found[-1]._replace(end_s=phone.end_s)
        else:
            found.append(phone._replace(label=name))
    return found


def matched(phones: Sequence[str], labels: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places in both, rising, by the cheapest way to turn one into the other.

    Args:
        phones: Phones in IPA or ARPABET.
        labels: Phones in these or in SAMPA. A vowel is never a consonant; the more alike two are,
            the less they cost.

    Source: Levenshtein, Soviet Physics Doklady 10 (8), 1966.
    """
    ours, theirs = [plain_symbol(p) for p in phones], [plain_symbol(p) for p in labels]
    n, m = len(ours), len(theirs)
    cost = np.zeros((n + 1, m + 1))
    cost[:, 0], cost[0] = SKIPPED * np.arange(n + 1), SKIPPED * np.arange(m + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            both = cost[i - 1, j - 1] + unlikeness(ours[i - 1], theirs[j - 1])
            cost[i, j] = min(cost[i - 1, j] + SKIPPED, cost[i, j - 1] + SKIPPED, both)
    pairs = []
    i, j = n, m
    while i and j:
        if np.isclose(cost[i, j], cost[i - 1, j] + SKIPPED):
            i -= 1
        elif np.isclose(cost[i, j], cost[i, j - 1] + SKIPPED):
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


@cache
def plain_symbol(phone: str) -> str:
    """SAMPA of a phone without stress, length and tone."""
    bare = re.sub(r"[0-2]$", "", phone) if re.fullmatch(r"[A-Z]{2}[0-2]?", phone) else phone
    if bare in ARPABET or (len(bare) == 2 and bare.isupper()):
        return ARPABET.get(bare, bare.lower())
    letters = "".join(SAMPA.get(c, c) for c in unicodedata.normalize("NFC", bare))
    letters = unicodedata.normalize("NFD", letters)
    return "".join(c for c in letters if unicodedata.category(c) in ("Ll", "Lu") or c in SIGNS)


@cache
def unlikeness(one: str, other: str) -> float:
    """Cost of taking a plain symbol for another, 0 for the same, 2 for never."""
    if one == other:
        return 0.0
    if not one or not other or (one[0] in VOWELS) != (other[0] in VOWELS):
        return NEVER
    if one[0] == other[0]:
        return 0.2
    groups = (*MANNERS, VOWELS)
    alike = any(one[0] in group and other[0] in group for group in groups)
    return 0.5 if alike else 1.2
