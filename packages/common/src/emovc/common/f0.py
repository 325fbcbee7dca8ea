"""Fundamental frequency, one value per mel frame, in Hz; 0 where the speech is unvoiced."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from emovc.common.errors import UserError
from emovc.common.quiet import keep_to_ourselves
from emovc.common.wav import SILENCE, resample


class F0Tracker(ABC):
    """Finds F0 at the centres of the mel frames.

    A new tracker implements :meth:`track`; it reaches prepare and the models by ``class_path``.

    Args:
        sample_rate: Rate of the waveforms in Hz.
        hop_length: Samples between frames.
        frame_centre: Sample on which frame 0 is centred, as in ``LogMel.frame_centre``.
        f_min: Lowest F0 in Hz.
        f_max: Highest F0 in Hz.
    """

    def __init__(
        self,
        sample_rate: int = 22_050,
        hop_length: int = 256,
        frame_centre: int = 128,
        f_min: float = 50.0,
        f_max: float = 600.0,
    ) -> None:
        self.sample_rate = sample_rate
        self.hop_length = hop_length
        self.frame_centre = frame_centre
        self.f_min = f_min
        self.f_max = f_max

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor arguments."""
        names = ("sample_rate", "hop_length", "frame_centre", "f_min", "f_max")
        return {name: getattr(self, name) for name in names}

    @abstractmethod
    def track(self, wav: np.ndarray) -> np.ndarray:
        """F0 in Hz of (N,) every ``hop_length`` samples, beginning with sample 0."""

    def __call__(self, wav: np.ndarray, n_frames: int | None = None) -> np.ndarray:
        """F0 of a waveform.

        Args:
            wav: Waveform, (N,).
            n_frames: Frames T to return; by default ``N // hop_length``.

        Returns:
            F0 in Hz, 0 = unvoiced, (T,), float32.
        """
        n_frames = len(wav) // self.hop_length if n_frames is None else n_frames
        f0_hz = np.nan_to_num(self.track(wav[self.frame_centre :])[:n_frames])
        return np.pad(f0_hz, (0, n_frames - len(f0_hz))).astype(np.float32)


class Dio(F0Tracker):
    """WORLD's DIO refined by StoneMask (Morise et al., 2009, 2010): fast, and the default."""

    def track(self, wav: np.ndarray) -> np.ndarray:
        """See :meth:`F0Tracker.track`."""
        import pyworld

        signal = wav.astype(np.float64)
        period_ms = 1000.0 * self.hop_length / self.sample_rate
        f0_hz, times = pyworld.dio(
            signal, self.sample_rate, self.f_min, self.f_max, frame_period=period_ms
        )
        return pyworld.stonemask(signal, f0_hz, times, self.sample_rate)


class Harvest(F0Tracker):
    """WORLD's Harvest (Morise, 2017): fewer gross errors, about 20 times slower than DIO."""

    def track(self, wav: np.ndarray) -> np.ndarray:
        """See :meth:`F0Tracker.track`."""
        import pyworld

        period_ms = 1000.0 * self.hop_length / self.sample_rate
        signal = wav.astype(np.float64)
        return pyworld.harvest(
            signal, self.sample_rate, self.f_min, self.f_max, frame_period=period_ms
        )[0]


class Fcpe(F0Tracker):
    """The network of torchfcpe with its bundled weights, for noisy recordings.

    Raises:
        UserError: torchfcpe is not installed (on the first call).
    """

    _loaded: Any = None

    def track(self, wav: np.ndarray) -> np.ndarray:
        """See :meth:`F0Tracker.track`."""
        import torch

        n_frames = len(wav) // self.hop_length + 1
        with torch.inference_mode():
            f0_hz = self._network().infer(
                torch.from_numpy(wav.astype(np.float32))[None, :, None],
                sr=self.sample_rate,
                decoder_mode="local_argmax",
                threshold=0.006,
                f0_min=self.f_min,
                f0_max=self.f_max,
                interp_uv=False,
                output_interp_target_length=n_frames,
            )
        return f0_hz[0, :, 0].numpy()

    def _network(self) -> Any:
        """Load the bundled weights once per tracker."""
        if self._loaded is None:
            try:
                from torchfcpe import spawn_bundled_infer_model
            except ImportError:
                raise UserError(
                    "F0 tracker Fcpe: torchfcpe is missing; pip install 'emovc-common[f0]'"
                ) from None
            self._loaded = spawn_bundled_infer_model(device="cpu")
        return self._loaded


class SwiftF0(F0Tracker):
    """The network of swift-f0 with its bundled weights, on one core.

    Its frames are 16 ms apart. Between two of them confidence and ln F0 are on straight lines, so
    that voicing begins and ends to a fraction of a frame; where the confidence of one of the two is
    below the threshold, F0 is that of the other. The waveform is brought to one level first, since
    the network calls quiet speech unvoiced.

    Args:
        sample_rate: Rate of the waveforms in Hz; the network gets them at 16 kHz.
        hop_length: Samples between frames.
        frame_centre: Sample on which frame 0 is centred, as in ``LogMel.frame_centre``.
        f_min: Lowest F0 in Hz, 46.875 or more.
        f_max: Highest F0 in Hz, 2093.75 or less.
        threshold: Confidence from which a frame is voiced, between 0 and 1; the network is
            calibrated for 0.5.

    Raises:
        UserError: A setting is impossible, or swift-f0 is not installed (on the first call).
    """

    RATE = 16_000
    LEVEL_DB = -20.0  # root mean square re full scale; voicing hardly changes from -30 to -10

    def __init__(
        self,
        sample_rate: int = 22_050,
        hop_length: int = 256,
        frame_centre: int = 128,
        f_min: float = 50.0,
        f_max: float = 600.0,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(sample_rate, hop_length, frame_centre, f_min, f_max)
        if not 46.875 <= f_min < f_max / 1.05 or f_max > 2093.75:
            raise UserError(
                f"F0 tracker SwiftF0: f_min={f_min}, f_max={f_max}; it finds 46.875 to 2093.75 Hz"
            )
        if not 0 < threshold < 1:
            raise UserError(f"F0 tracker SwiftF0: threshold={threshold}; give one between 0 and 1")
        self.threshold = threshold
        self._loaded: Any = None

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor arguments."""
        return {**super().settings, "threshold": self.threshold}

    def track(self, wav: np.ndarray) -> np.ndarray:
        """See :meth:`F0Tracker.track`."""
        n_frames = len(wav) // self.hop_length + 1
        if np.abs(wav).max(initial=0.0) < SILENCE:
            return np.zeros(n_frames)
        gain = 10 ** (self.LEVEL_DB / 20) / np.sqrt(np.square(wav, dtype=np.float64).mean())
        signal = resample((wav * gain).astype(np.float32), self.sample_rate, self.RATE)
        if not len(signal):
            return np.zeros(n_frames)
        found = self._network().detect(signal, self.RATE, self.f_min, self.f_max)
        times_s = np.arange(n_frames) * self.hop_length / self.sample_rate
        place = np.interp(times_s, found.timestamps, np.arange(len(found.timestamps)))
        return _between(place, found.pitch_hz, found.confidence, self.threshold)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network out: a worker process loads its own."""
        return {**self.__dict__, "_loaded": None}

    def _network(self) -> Any:
        """Load the bundled weights once per tracker."""
        if self._loaded is None:
            keep_to_ourselves()
            try:
                import swift_f0
            except ImportError:
                raise UserError(
                    "F0 tracker SwiftF0: swift-f0 is missing; pip install swift-f0"
                ) from None
            self._loaded = swift_f0.SwiftF0(threads=1, spin=False)
        return self._loaded


def _between(
    place: np.ndarray, pitch_hz: np.ndarray, confidence: np.ndarray, threshold: float
) -> np.ndarray:
    """F0 between the frames of a tracker.

    Args:
        place: Where F0 is wanted, in frames of the tracker, 0 to K - 1, (T,).
        pitch_hz: F0 of those frames in Hz, whether voiced or not, (K,).
        confidence: Confidence that they are voiced, (K,).
        threshold: Confidence from which a frame is voiced.

    Returns:
        F0 in Hz, 0 = unvoiced, (T,).
    """
    before = place.astype(int)
    after = np.minimum(before + 1, len(pitch_hz) - 1)
    share = place - before
    sure = (1 - share) * confidence[before] + share * confidence[after]
    log_f0 = np.log(pitch_hz)
    share = np.where(confidence[after] < threshold, 0.0, share)
    share = np.where((confidence[before] < threshold) & (before < after), 1.0, share)
    line = (1 - share) * log_f0[before] + share * log_f0[after]
    return np.where(sure >= threshold, np.exp(line), 0.0)


def log_f0_statistics(f0_hz: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of ln F0 over the voiced frames of (T,).

    Without two voiced frames they are those of a 150 Hz voice, 0.2 wide, so that a whisper or
    silence still converts.
    """
    voiced = f0_hz[f0_hz > 0]
    if len(voiced) < 2:
        return float(np.log(150.0)), 0.2
    return float(np.log(voiced).mean()), max(float(np.log(voiced).std()), 1e-3)


def energy_db(
    wav: np.ndarray, n_fft: int = 1024, hop_length: int = 256, frame_centre: int = 128
) -> np.ndarray:
    """Root mean square of each mel frame's window in dB re full scale, floored at -100.

    Args:
        wav: Waveform, (N,).
        n_fft: Window in samples.
        hop_length: Samples between frames.
        frame_centre: Sample on which frame 0 is centred.

    Returns:
        Energy in dB, (N // hop_length,), float32.
    """
    n_frames = len(wav) // hop_length
    total = np.concatenate([[0.0], np.cumsum(np.square(wav, dtype=np.float64))])
    centre = np.arange(n_frames) * hop_length + frame_centre
    start = np.clip(centre - n_fft // 2, 0, len(wav))
    stop = np.clip(centre + n_fft // 2, 0, len(wav))
    mean_square = (total[stop] - total[start]) / np.maximum(stop - start, 1)
    return (10 * np.log10(np.maximum(mean_square, 1e-10))).astype(np.float32)
