"""How does it sound: mean opinion scores that DNSMOS predicts, without a reference."""

import importlib.metadata
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.audio import slaney_mel_filters
from emovc.common.errors import UserError
from emovc.common.files import sha256_of, short_hash
from emovc.common.judges.hearing import hear_at
from emovc.common.judging import Goal, Verdict
from emovc.common.quiet import keep_to_ourselves

RATE = 16_000  # Hz
WINDOW_S = 9.01  # what the networks hear at once
WINDOW, HOP = int(WINDOW_S * RATE), RATE  # samples
N_FFT, MEL_HOP, N_MELS = 321, 160, 120
FILES = ("dnsmos_models/sig_bak_ovr.onnx", "dnsmos_models/model_v8.onnx")
CALIBRATION = np.array(  # from the network's three results to the scale of opinions, x^2 first
    [
        [-0.08397278, 1.22083953, 0.0052439],
        [-0.13166888, 1.60915514, -0.39604546],
        [-0.06766283, 1.11546468, 0.04602535],
    ]
)


class Dnsmos:
    """DNSMOS: signal, background and overall quality (P.835), and the score of P.808, 1 to 5.

    The numbers of the package ``speechmos``: windows of 9.01 s that begin every second, shorter
    recordings repeated until they fill one, levels as they are and clipped to [-1, 1]. It was made
    to judge noise suppression; it hears noise and distortion, not whether speech is natural.

    Source: Reddy, Gopal and Cutler, "DNSMOS P.835", ICASSP 2022; "DNSMOS", ICASSP 2021.

    Args:
        threads: Threads of each of the two networks.

    Raises:
        UserError: speechmos or onnxruntime isn't installed.
    """

    name = "dnsmos"
    metrics: Mapping[str, str] = {
        "sig_dnsmos": "DNSMOS SIG",
        "bak_dnsmos": "DNSMOS BAK",
        "ovrl_dnsmos": "DNSMOS OVRL",
        "p808_dnsmos": "DNSMOS P.808",
    }

    def __init__(self, threads: int = 1) -> None:
        keep_to_ourselves()
        try:
            import onnxruntime
        except ImportError:
            raise UserError("judge dnsmos: install the extra emovc-common[judges]") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        self.files = _bundled_networks()
        self.p835, self.p808 = (
            onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            for file in self.files
        )
        # An FFT of odd size has no bin at half the rate; it has every other bin of twice the size.
        filters = slaney_mel_filters(RATE, 2 * N_FFT, N_MELS, 0.0, RATE / 2)[:, :-1:2].copy()
        self.filters, self.window = torch.from_numpy(filters), torch.hann_window(N_FFT)

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where the networks are from and their hash."""
        return {
            "source": f"speechmos {importlib.metadata.version('speechmos')}",
            "weights": short_hash([sha256_of(file) for file in self.files]),
            "trained_on": ["clips of the DNS challenges, noisy and enhanced"],
        }

    def hear(self, wav: np.ndarray, sample_rate: int) -> dict[str, float]:
        """The four scores of a recording (N,).

        Raises:
            UserError: The recording holds no speech.
        """
        windows = _windows(np.clip(hear_at(wav, sample_rate, RATE), -1, 1))
        raw = self.p835.run(None, {"input_1": windows})[0].astype(np.float64)  # (W, 3)
        square, linear, constant = CALIBRATION.T
        opinions = (square * raw**2 + linear * raw + constant).mean(axis=0)
        overall = self.p808.run(None, {"input_1": self._mel(windows)})[0].mean()
        values = (*opinions.tolist(), float(overall))
        return dict(zip(self.metrics, values, strict=True))

    def judge(self, heard: dict[str, float], recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """The scores of the row, whatever the goal is."""
        return Verdict(heard)

    def _mel(self, windows: np.ndarray) -> np.ndarray:
        """Log-mel spectrograms (W, 900, 120) of windows, relative to the loudest of each."""
        spec = torch.stft(
            torch.from_numpy(windows[:, :-MEL_HOP]), N_FFT, MEL_HOP, window=self.window,
            pad_mode="constant", return_complex=True,
        )  # fmt: skip
        power = (self.filters @ spec.abs().square()).clamp(min=1e-10)
        level = 10 * torch.log10(power / power.amax(dim=(1, 2), keepdim=True))
        return ((level.clamp(min=-80) + 40) / 40).transpose(1, 2).numpy()


def _windows(wav: np.ndarray) -> np.ndarray:
    """Windows (W, 144160) of a waveform (N,) that is repeated until it fills one."""
    while len(wav) < WINDOW:
        wav = np.concatenate([wav, wav])
    count = int(len(wav) // RATE - WINDOW_S) + 1
    # The package rounds the end of each window down and leaves out what is a sample too short.
    whole = [i for i in range(count) if int((i + WINDOW_S) * RATE) - i * HOP == WINDOW]
    return np.stack([wav[i * HOP : i * HOP + WINDOW] for i in whole]).astype(np.float32)


def _bundled_networks() -> list[Path]:
    """The networks in the installed speechmos; importing it would import librosa and pandas."""
    try:
        package = importlib.metadata.distribution("speechmos")
    except importlib.metadata.PackageNotFoundError:
        raise UserError("judge dnsmos: install the extra emovc-common[judges]") from None
    return [Path(str(package.locate_file(f"speechmos/{file}"))) for file in FILES]
