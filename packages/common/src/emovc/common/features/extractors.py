"""What is extracted: signal features in the loader's processes, networks on the device."""

from typing import Any, Protocol

import numpy as np
from torch import Tensor

from emovc.common.f0 import F0Tracker, energy_db


class SignalFeature(Protocol):
    """A feature computed from one waveform by signal processing, in a loader process."""

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """What the value depends on."""
        ...

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """Feature (T,) or (T, D) of (N,)."""
        ...


class NetworkFeature(Protocol):
    """A feature computed from a padded batch by a network, on the device."""

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """What the value depends on."""
        ...

    def __call__(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """One (T, D), or (1, D) for the utterance, for each of (B, N)."""
        ...


class F0Feature:
    """F0 in Hz per mel frame.

    Args:
        tracker: Finds it.
    """

    name = "f0"

    def __init__(self, tracker: F0Tracker) -> None:
        self.tracker = tracker

    @property
    def settings(self) -> dict[str, Any]:
        """Tracker and its arguments."""
        kind = type(self.tracker)
        return {"class": f"{kind.__module__}.{kind.__qualname__}", **self.tracker.settings}

    @staticmethod
    def description(settings: dict[str, Any]) -> dict[str, Any]:
        """The tracker of a store's settings as ``class_path`` and ``init_args``."""
        arguments = {name: value for name, value in settings.items() if name != "class"}
        return {"class_path": settings.get("class"), "init_args": arguments}

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """F0 in Hz, (T,)."""
        return self.tracker(wav)


class EnergyFeature:
    """Energy in dB per mel frame.

    Args:
        sample_rate: Rate in Hz.
        n_fft: Window in samples.
        hop_length: Samples between frames.
        frame_centre: Sample on which frame 0 is centred.
    """

    name = "energy"

    def __init__(
        self,
        sample_rate: int = 22_050,
        n_fft: int = 1024,
        hop_length: int = 256,
        frame_centre: int = 128,
    ) -> None:
        self.settings: dict[str, Any] = {
            "sample_rate": sample_rate,
            "n_fft": n_fft,
            "hop_length": hop_length,
            "frame_centre": frame_centre,
        }

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """Energy in dB, (T,)."""
        s = self.settings
        return energy_db(wav, s["n_fft"], s["hop_length"], s["frame_centre"])
