"""espeak-ng through ctypes: repeatable, timed, and clear about what is wrong."""

import sys

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.synth import Phone, Prompt, phones_between, speak

BREATHY = Prompt("A small bird.", "en-us+f2")
PLAIN = Prompt("A small bird.", "en-us+m7", rate=100)


def test_same_prompts_give_same_samples_and_so_does_a_beginning_of_them() -> None:
    first, again, beginning = (speak(p) for p in ([BREATHY, PLAIN], [BREATHY, PLAIN], [BREATHY]))
    for one, other in [*zip(first, again, strict=True), (first[0], beginning[0])]:
        assert np.array_equal(one.wav, other.wav) and one.phones == other.phones
    slow, fast = first[1], first[0]
    assert slow.phones[-1].end_s > 1.3 * fast.phones[-1].end_s
    names = [phone.name for phone in slow.phones if phone.name != "_"]
    assert names == ["ɐ", "s", "m", "ˈɔː", "l", "b", "ˈɜː", "d"]


def test_phones_cover_all_samples() -> None:
    events = [("a", 100), ("b", 100), ("c", 300), ("", 400), ("", 450)]
    assert phones_between(events, 1000, 1000) == [
        Phone("_", 0.0, 0.1),
        Phone("b", 0.1, 0.3),
        Phone("c", 0.3, 0.4),
        Phone("_", 0.4, 1.0),
    ]
    assert phones_between([("a", 0)], 1000, 1000) == [Phone("a", 0.0, 1.0)]


def test_unknown_voice_is_refused() -> None:
    with pytest.raises(UserError, match=r"refuses voice en-gb \(code 2\)"):
        speak([Prompt("Hello.", "en-gb")])


def test_missing_loader_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"emovc-common\[synth\]"):
        speak([PLAIN])
