"""Pictures of speech: log-mels and F0 contours."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emovc.common.audio import LogMel
from emovc.common.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_mels(mels: Mapping[str, np.ndarray], frontend: LogMel) -> "Figure":
    """Log-mels (M, T) below each other on one time axis and one colour scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.7 * len(mels)), layout="constrained")
    axes = figure.subplots(len(mels), 1, sharex=True, squeeze=False)[:, 0]
    high = max(float(mel.max()) for mel in mels.values())
    for axis, (name, mel) in zip(axes, mels.items(), strict=True):
        extent = (0.0, mel.shape[1] / frontend.frame_rate, 0.0, float(mel.shape[0]))
        axis.imshow(mel, origin="lower", aspect="auto", extent=extent, vmin=high - 10, vmax=high)
        axis.set_ylabel(f"{name}\nmel band")
    axes[-1].set_xlim(0, max(mel.shape[1] for mel in mels.values()) / frontend.frame_rate)
    axes[-1].set_xlabel("time in s")
    return figure


def draw_f0(contours: Mapping[str, np.ndarray], frame_rate: float) -> "Figure":
    """F0 contours in Hz (T,), 0 = unvoiced, over each other on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axis = figure.subplots()
    for name, f0_hz in contours.items():
        seconds = np.arange(len(f0_hz)) / frame_rate
        axis.plot(seconds, np.where(f0_hz > 0, f0_hz, np.nan), label=name, linewidth=1.8)
    axis.set_yscale("log")
    axis.set_yticks([75, 100, 150, 200, 300, 400], ["75", "100", "150", "200", "300", "400"])
    axis.minorticks_off()
    axis.set_xlabel("time in s")
    axis.set_ylabel("F0 in Hz")
    axis.legend(ncols=len(contours), fontsize="small", loc="upper right")
    return figure


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a PNG atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
