"""The phones that a model knows, kept with its weights."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.phonemes import Alphabet, Pronunciation, pronounce

PAD = 0
MARKS, LEVELS = "ˈˌ", "012"  # of stress: before IPA's vowels, after ARPABET's


class PhoneInventory:
    """Numbers phones from 1 on; 0 is padding.

    A vowel that is known with another stress only is taken for that one.

    Args:
        symbols: Phones in the order of their numbers.
        alphabet: What they are written in.

    Raises:
        UserError: A phone is listed twice, or none is.
    """

    def __init__(self, symbols: Sequence[str], alphabet: Alphabet = "ipa") -> None:
        if not symbols or len(set(symbols)) != len(symbols):
            raise UserError("inventory.symbols: list each phone once, and one at least")
        self.symbols = list(symbols)
        self.alphabet: Alphabet = alphabet
        self._numbers = {symbol: i for i, symbol in enumerate(self.symbols, PAD + 1)}

    @classmethod
    def of(
        cls, pronunciations: Iterable[Pronunciation], alphabet: Alphabet = "ipa"
    ) -> "PhoneInventory":
        """The phones that occur in pronunciations, in alphabetical order."""
        return cls(sorted({p for said in pronunciations for p in said.phones}), alphabet)

    def __len__(self) -> int:
        """Phones and the padding: the rows of an embedding."""
        return len(self.symbols) + 1

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"symbols": self.symbols, "alphabet": self.alphabet}

    def pronounce(self, text: str, language: str) -> Pronunciation:
        """Phones of a text, all of them known.

        Raises:
            UserError: The text can't be said, or needs phones that the model never heard.
        """
        said = pronounce(text, language, self.alphabet)
        self.require(said.phones, f"text {text!r}")
        return said

    def numbers(self, phones: Sequence[str]) -> Tensor:
        """Numbers (L,) of phones.

        Raises:
            UserError: A phone is unknown.
        """
        self.require(phones, "the phones")
        return torch.tensor([self._number(phone) for phone in phones])

    def require(self, phones: Sequence[str], what: str) -> None:
        """Refuse phones that are not in the inventory.

        Args:
            phones: The phones.
            what: What needs them, for the message.

        Raises:
            UserError: One is unknown.
        """
        unknown = sorted({phone for phone in phones if self._number(phone) is None})
        if unknown:
            raise UserError(
                f"{what}: needs the phones {' '.join(unknown)}, which the training texts don't"
                " have; use other words, or train on more sentences of this language"
            )

    def _number(self, phone: str) -> int | None:
        """Number of a phone, or of the same with another stress."""
        if phone in self._numbers:
            return self._numbers[phone]
        if self.alphabet == "arpabet":
            bare = phone.rstrip(LEVELS)
            likes = [f"{bare}{level}" for level in LEVELS]
        else:
            bare = phone.lstrip(MARKS)
            likes = [bare, *(f"{mark}{bare}" for mark in MARKS)]
        return next((self._numbers[like] for like in likes if like in self._numbers), None)
