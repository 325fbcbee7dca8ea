"""The phones that a network knows, as part of its weights."""

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.genner_tts.inventory import PhoneInventory
from emovc.genner_tts.phonemes import Alphabet

SYMBOL_LENGTH = 8  # longest symbol in characters


class PhoneTable(nn.Module):
    """An inventory of phones that is filled by training and goes with the weights.

    Args:
        n_phones: Rows of the embedding that it numbers: most phones, and the padding.
        alphabet: What phones are written in.
    """

    characters: Tensor

    def __init__(self, n_phones: int, alphabet: Alphabet = "ipa") -> None:
        super().__init__()
        self.alphabet: Alphabet = alphabet
        # Floats, as a moving average of the weights takes buffers along.
        self.register_buffer("characters", torch.zeros(n_phones - 1, SYMBOL_LENGTH))

    @property
    def filled(self) -> bool:
        """Whether the phones are known."""
        return bool(self.characters.any())

    @property
    def inventory(self) -> PhoneInventory:
        """The phones.

        Raises:
            UserError: There are none yet.
        """
        if not self.filled:
            raise UserError("this model knows no phones yet; train it with emovc fit")
        rows = self.characters.round().long().tolist()
        symbols = ["".join(chr(code) for code in row if code) for row in rows if any(row)]
        return PhoneInventory(symbols, self.alphabet)

    def fill(self, inventory: PhoneInventory) -> None:
        """Take the phones of training texts.

        Raises:
            UserError: They are of another alphabet, too many, or one is too long.
        """
        if inventory.alphabet != self.alphabet:
            raise UserError(
                f"data.alphabet {inventory.alphabet}: the model has {self.alphabet}; set both alike"
            )
        if len(inventory) > len(self.characters) + 1:
            raise UserError(
                f"n_phones {len(self.characters) + 1}: the training texts have"
                f" {len(inventory) - 1} phones, and one row is for padding; set it to"
                f" {len(inventory)} or more"
            )
        self.characters.zero_()
        for row, symbol in zip(self.characters, inventory.symbols, strict=False):
            if len(symbol) > SYMBOL_LENGTH:
                raise UserError(f"phone {symbol!r}: is longer than {SYMBOL_LENGTH} characters")
            row[: len(symbol)] = torch.tensor([float(ord(character)) for character in symbol])

    def rows_of(self, inventory: PhoneInventory) -> Tensor:
        """This table's number of each number of another inventory, (V,), 0 for padding.

        Raises:
            UserError: The other one has phones that this table lacks.
        """
        rows = self.inventory.numbers(inventory.symbols)
        return torch.cat([rows.new_zeros(1), rows]).to(self.characters.device)
