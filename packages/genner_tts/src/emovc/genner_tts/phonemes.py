"""Text to phones: espeak-ng for most languages, CMUdict's ARPABET for English."""

import ctypes
import re
import unicodedata
from functools import cache
from typing import Literal, NamedTuple

from emovc.common.errors import UserError
from emovc.genner_tts.pauses import EDGE, PAUSES

SYNCHRONOUS, IPA, UTF8 = 2, 0x02, 1  # of espeak-ng's speak_lib.h
SEPARATOR = "_"
CLOSING = " \"'”’»)]"
VOICES = {"en": "en-us", "zh": "cmn", "pt": "pt-br"}  # where espeak-ng's name is another
SCRIPTS = {  # first word of the Unicode names of a language's letters; LATIN for all others
    "ru": "CYRILLIC", "uk": "CYRILLIC", "bg": "CYRILLIC", "sr": "CYRILLIC", "el": "GREEK",
    "zh": "CJK", "cmn": "CJK", "yue": "CJK", "ja": "CJK HIRAGANA KATAKANA", "ko": "HANGUL",
    "ar": "ARABIC", "fa": "ARABIC", "he": "HEBREW", "hi": "DEVANAGARI", "th": "THAI",
}  # fmt: skip
Alphabet = Literal["ipa", "arpabet"]


class Pronunciation(NamedTuple):
    """Phones of a text, with silences at both ends and pauses at punctuation.

    Attributes:
        phones: Symbols; stress marks stand before vowels.
        units: Number of the word that each phone is of, from 0; silences and pauses are words.
    """

    phones: list[str]
    units: list[int]


def pronounce(text: str, language: str, alphabet: Alphabet = "ipa") -> Pronunciation:
    """Phones of a text.

    Args:
        text: What to say.
        language: Code such as ``en``, ``pl`` or ``de``; ``arpabet`` is English only.
        alphabet: Phones of espeak-ng in IPA, or CMUdict's.

    Raises:
        UserError: The text is empty, has letters or symbols that the language doesn't have, or
            words that CMUdict doesn't have; or espeak-ng doesn't know the language.
    """
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # soft hyphens and the like
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    if not any(unicodedata.category(c)[0] in "LN" for c in text):
        raise UserError(f"text {text!r}: holds no word; give a sentence")
    _require_known(text, language)
    if alphabet == "arpabet":
        from emovc.genner_tts.arpabet import arpabet_words

        words = arpabet_words(text, language)
    else:
        words = espeak_words(text, language)
    words = [[EDGE], *words, [EDGE]]
    return Pronunciation(
        [phone for word in words for phone in word],
        [i for i, word in enumerate(words) for _ in word],
    )


def espeak_words(text: str, language: str) -> list[list[str]]:
    """Words of a text by espeak-ng, which also reads numbers and abbreviations.

    Raises:
        UserError: espeak-ng doesn't know the language.
    """
    words = []
    for clause, phones in _library().clauses(text, VOICES.get(language, language)):
        spoken = re.sub(r"\([a-z-]+\)", "", phones)  # marks where it borrows another language
        words += [own for word in spoken.split() if (own := [p for p in word.split("_") if p])]
        pause = PAUSES.get(clause.rstrip(CLOSING)[-1:])
        if pause:
            words.append([pause])
    return words


def _require_known(text: str, language: str) -> None:
    """Refuse letters of other scripts and pictures, which espeak-ng would spell out by name."""
    scripts = tuple(SCRIPTS.get(language, "LATIN").split())
    unknown = sorted(
        {
            c
            for c in text
            if (kind := unicodedata.category(c)) not in ("Nd", "Sc", "Sm", "Zs")
            and kind[0] not in "PM"
            and not (kind[0] == "L" and unicodedata.name(c, "").startswith(scripts))
        }
    )
    if unknown:
        raise UserError(
            f"text {text!r}: {', '.join(map(repr, unknown))} can't be said in language {language};"
            " write it out in words"
        )


class _Library:
    """espeak-ng's translator, of which a process can hold one."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise UserError(
                "text to phones needs espeak-ng; install it with pip install espeakng-loader"
            ) from None
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        if self._library.espeak_Initialize(SYNCHRONOUS, 0, data, 0x8000) <= 0:
            raise UserError(f"espeak-ng can't read its data in {data.decode()}; install it again")
        self._translate = self._library.espeak_TextToPhonemes
        self._translate.restype = ctypes.c_char_p
        self._translate.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]

    def clauses(self, text: str, voice: str) -> list[tuple[str, str]]:
        """Clauses of a text, each with its phones: ``_`` between phones, spaces between words.

        The library reads a character of the next clause before it ends one.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"language {voice}: is unknown to espeak-ng; espeak-ng --voices lists")
        data = text.encode()
        buffer = ctypes.create_string_buffer(data)
        start = ctypes.addressof(buffer)
        place, done, found = ctypes.c_void_p(start), 0, []
        while place.value is not None:
            phones = self._translate(ctypes.byref(place), UTF8, IPA | ord(SEPARATOR) << 8)
            end = len(data) if place.value is None else place.value - start
            clause = data[done:end].decode("utf-8", "ignore")
            found.append((clause if end == len(data) else clause[:-1], phones.decode()))
            done = end
        return found


@cache
def _library() -> _Library:
    """The translator, loaded once."""
    return _Library()
