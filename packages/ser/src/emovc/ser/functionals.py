"""Numbers that describe a whole utterance: how high, loud, bright and lively it is.

Two kinds, with one interface: openSMILE's sets, which the papers used, and our own, which need
nothing but WORLD. Scores made with different sets aren't comparable, so the name of the set goes
into the name of every score.
"""

import importlib.util
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.common.signals import in_processes
from emovc.common.wav import read_wav
from emovc.ser.world_functionals import RATE, WorldFunctionals, speech_at_16k

SmileSet = Literal["IS09", "eGeMAPSv02"]


class Functionals(Protocol):
    """Describes an utterance by a fixed list of numbers.

    Attributes:
        name: Name of the set, with its version.
        names: Name of each number.
    """

    name: str
    names: tuple[str, ...]

    def __call__(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """The numbers (D,) of a waveform (N,).

        Raises:
            UserError: There is no speech in it.
        """
        ...


class OpenSmile:
    """A set of openSMILE's functionals (audEERING's research licence: no commercial use).

    They depend on the level of the recording.

    Args:
        feature_set: ``IS09``, the 384 numbers of the Interspeech 2009 emotion challenge, which
            Emovox's strength rankers use, or ``eGeMAPSv02``, 88 numbers.

    Raises:
        UserError: opensmile is not installed.
    """

    def __init__(self, feature_set: SmileSet = "IS09") -> None:
        try:
            import opensmile
        except ImportError:
            raise UserError(
                f"the functionals {feature_set} need openSMILE: pip install 'emovc-ser[opensmile]'"
            ) from None
        level = opensmile.FeatureLevel.Functionals
        self.smile: Any = opensmile.Smile(opensmile.FeatureSet[feature_set], level)
        self.name = f"opensmile-{feature_set.lower()}"
        self.names = tuple(self.smile.feature_names)

    def __call__(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """See :class:`Functionals`."""
        signal = speech_at_16k(wav, sample_rate).astype(np.float32)
        return self.smile.process_signal(signal, RATE).to_numpy()[0].astype(np.float64)


def load_functionals(name: str | None = None) -> Functionals:
    """The set of a name.

    Args:
        name: ``opensmile-is09``, ``opensmile-egemapsv02`` or ``emovc-functionals-1``; by default
            the first where openSMILE is installed, else the last.

    Raises:
        UserError: The name is unknown, or openSMILE isn't installed.
    """
    if name is None:
        installed = importlib.util.find_spec("opensmile") is not None
        name = "opensmile-is09" if installed else WorldFunctionals.name
    if name == "opensmile-is09":
        return OpenSmile("IS09")
    if name == "opensmile-egemapsv02":
        return OpenSmile("eGeMAPSv02")
    if name == WorldFunctionals.name:
        return WorldFunctionals()
    raise UserError(
        f"unknown functionals {name!r}; there are opensmile-is09, opensmile-egemapsv02 and "
        f"{WorldFunctionals.name}"
    )


def measure(
    functionals: Functionals, utterances: Sequence[Utterance], num_workers: int = 1
) -> tuple[np.ndarray, list[str]]:
    """Functionals of files.

    Args:
        functionals: Which.
        utterances: The files.
        num_workers: Processes.

    Returns:
        Numbers (N, D), NaN in the rows of files without speech, and why those have none.
    """
    what = f"measuring {functionals.name}"
    found = in_processes(partial(_row, functionals), utterances, num_workers, what)
    nothing = np.full(len(functionals.names), np.nan)
    numbers = np.array([nothing if isinstance(row, str) else row for row in found])
    return numbers, [row for row in found if isinstance(row, str)]


def _row(functionals: Functionals, utterance: Utterance) -> np.ndarray | str:
    """Functionals of a file, or why there are none."""
    wav, rate = read_wav(utterance.path)
    try:
        return functionals(wav, rate)
    except UserError as error:
        return f"{utterance.id}: {error}"
