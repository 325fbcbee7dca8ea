"""Speech from text with espeak-ng, with the phones and their times."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emovc.common.errors import UserError

PAUSE = "_"


@dataclass(frozen=True)
class Prompt:
    """What espeak-ng is to say and how.

    Attributes:
        text: What to say.
        voice: Language and variant, ``en-us+f3``.
        rate: Words per minute, 80 to 450.
        pitch: 0 to 99.
        pitch_range: 0 to 99.
    """

    text: str
    voice: str
    rate: int = 170
    pitch: int = 50
    pitch_range: int = 50


class Phone(NamedTuple):
    """A phone and when it sounds.

    Attributes:
        name: IPA; ``ˈ`` and ``ˌ`` before the vowel of a stressed syllable; ``_`` is a pause.
        start_s: Start in s.
        end_s: End in s, which is the start of the next.
    """

    name: str
    start_s: float
    end_s: float


class Spoken(NamedTuple):
    """A synthesised text.

    Attributes:
        wav: Waveform, (N,), float64.
        sample_rate: Rate in Hz, 22 050.
        phones: Phones from the first sample to the last, pauses among them.
    """

    wav: np.ndarray
    sample_rate: int
    phones: list[Phone]


def speak(prompts: Sequence[Prompt]) -> list[Spoken]:
    """Synthesise texts with espeak-ng in a fresh process.

    Each result depends on the prompts before it, for the library has a memory: the same prompts in
    the same order give the same samples, and so does each beginning of them.

    Args:
        prompts: Texts and voices.

    Raises:
        UserError: espeakng-loader is not installed, or espeak-ng refuses a prompt.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise UserError(
            "espeakng-loader is missing; install it with pip install 'emovc-common[synth]'"
        ) from None
    with tempfile.TemporaryDirectory(prefix="emovc") as name:
        folder = Path(name)
        # espeak-ng cuts paths off at 160 characters, and environments lie deep at times.
        data = folder / "espeak-ng-data"
        data.symlink_to(Path(espeakng_loader.get_data_path()).resolve())
        order = {
            "library": str(espeakng_loader.get_library_path()),
            "data": str(data),
            "prompts": [asdict(prompt) for prompt in prompts],
        }
        child = subprocess.run(
            [sys.executable, "-m", "emovc.common.espeak", name],
            input=json.dumps(order),
            encoding="utf-8",
            stderr=subprocess.PIPE,
        )
        if child.returncode != 0:
            reason = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
            raise UserError(
                f"espeak-ng failed ({reason}); check the prompts, or install it again with"
                " pip install --force-reinstall espeakng-loader"
            )
        return _collect(folder, len(prompts))


def _collect(folder: Path, n: int) -> list[Spoken]:
    """Read what the child wrote."""
    said = json.loads((folder / "events.json").read_text(encoding="utf-8"))
    rate = said["sample_rate"]
    result = []
    for i in range(n):
        wav = np.load(folder / f"{i}.npy") / 32_768.0
        result.append(Spoken(wav, rate, phones_between(said["events"][i], len(wav), rate)))
    return result


def phones_between(
    events: Sequence[tuple[str, int]], n_samples: int, sample_rate: int
) -> list[Phone]:
    """Phones from their starts, without gaps from the first sample to the last.

    Args:
        events: Name (empty for a pause) and first sample of each phone, in order.
        n_samples: Samples in all.
        sample_rate: Rate in Hz.
    """
    starts: list[tuple[str, int]] = [(PAUSE, 0)]
    for name, sample in events:
        if sample <= starts[-1][1]:  # of two that begin at once, the first lasts no time
            starts.pop()
        if not starts or starts[-1][0] != PAUSE or name:
            starts.append((name or PAUSE, sample))
    ends = [sample for _, sample in starts[1:]] + [n_samples]
    return [
        Phone(name, start / sample_rate, end / sample_rate)
        for (name, start), end in zip(starts, ends, strict=True)
        if end > start
    ]
