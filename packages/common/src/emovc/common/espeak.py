"""espeak-ng's C library through ctypes, and the child process that :mod:`emovc.common.synth` runs.

``python -m emovc.common.espeak OUT < prompts.json`` writes ``OUT/<i>.npy`` (int16) and
``OUT/events.json``. The structures and constants are those of espeak-ng 1.52's ``speak_lib.h``.
"""

import ctypes
import json
import sys
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

SYNCHRONOUS: Final = 2
PHONEME_EVENTS_IPA_DONT_EXIT: Final = 0x0001 | 0x0002 | 0x8000
UTF8: Final = 1
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
LIST_END, PHONEME = 0, 7  # espeak_EVENT_TYPE
SEED: Final = 1


class _Id(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class PhoneEvent(NamedTuple):
    """Start of a phone.

    Attributes:
        name: IPA with stress marks, empty for a pause.
        sample: First sample.
    """

    name: str
    sample: int


class Espeak:
    """The library, of which a process can hold one.

    What it says depends on what it said before, even after it is closed and opened again; only the
    same prompts in the same order in a fresh process give the same samples.

    Args:
        library: Shared library.
        data: Folder ``espeak-ng-data``; the library copies its path to 160 characters.

    Raises:
        RuntimeError: The library can't read its data.
    """

    def __init__(self, library: Path, data: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._chunks: list[np.ndarray] = []
        self._events: list[PhoneEvent] = []
        self._callback = _Callback(self._receive)  # the library keeps only the bare address
        self.sample_rate = self._library.espeak_Initialize(
            SYNCHRONOUS, 0, str(data).encode(), PHONEME_EVENTS_IPA_DONT_EXIT
        )
        if self.sample_rate <= 0:
            raise RuntimeError(f"espeak-ng can't read its data in {data}")
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: "ctypes._Pointer", count: int, events: "ctypes._Pointer") -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while events[i].type != LIST_END:
            if events[i].type == PHONEME:
                name = bytes(events[i].id.string).decode("utf-8", "ignore")
                self._events.append(PhoneEvent(name, events[i].sample))
            i += 1
        return 0

    def say(
        self, text: str, voice: str, rate: int, pitch: int, pitch_range: int
    ) -> tuple[np.ndarray, list[PhoneEvent]]:
        """Synthesise a text.

        Args:
            text: What to say.
            voice: Language and variant, ``en-us+f3``.
            rate: Words per minute, 80 to 450.
            pitch: 0 to 99.
            pitch_range: 0 to 99.

        Returns:
            Samples (N,), int16, and the phones' starts.

        Raises:
            RuntimeError: There is no such voice (the library would go on with the last one), or a
                number is out of range.
        """
        self._chunks, self._events = [], []
        self._require(self._library.espeak_SetVoiceByName(voice.encode()), f"voice {voice}")
        for parameter, value in ((RATE, rate), (PITCH, pitch), (RANGE, pitch_range)):
            done = self._library.espeak_SetParameter(parameter, value, 0)
            self._require(done, f"parameter {parameter} = {value}")
        # Breathy voices draw noise, from a generator that the library starts by the clock.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        data = text.encode() + b"\0"
        size = ctypes.c_size_t(len(data))
        self._require(
            self._library.espeak_Synth(data, size, 0, 0, 0, UTF8, None, None), f"text {text!r}"
        )
        return np.concatenate(self._chunks), self._events

    @staticmethod
    def _require(code: int, what: str) -> None:
        if code != 0:
            raise RuntimeError(f"espeak-ng refuses {what} (code {code})")


def main(out: Path) -> None:
    """Say the prompts on standard input, in their order.

    Args:
        out: Folder to write to.
    """
    order = json.load(sys.stdin)
    espeak = Espeak(Path(order["library"]), Path(order["data"]))
    events = []
    for i, prompt in enumerate(order["prompts"]):
        samples, phones = espeak.say(**prompt)
        np.save(out / f"{i}.npy", samples)
        events.append(phones)
    (out / "events.json").write_text(
        json.dumps({"sample_rate": espeak.sample_rate, "events": events}), encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
