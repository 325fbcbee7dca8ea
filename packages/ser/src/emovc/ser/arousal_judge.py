"""Judges of arousal: how calm or active speech sounds, and how far that is from what was asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.judging import Goal, Verdict
from emovc.common.wav import resample
from emovc.common.weights import weights_hash
from emovc.ser.arousal import SHIPPED, ArousalRegressor, arousal_target
from emovc.ser.functionals import load_functionals
from emovc.ser.msp_dim import NAME, MspDim


class PseudoArousalJudge:
    """Arousal by a linear regression that was learned from emotion labels, not from ratings.

    See :func:`judge_arousal` for the metrics.

    Args:
        regressor: File of :func:`~emovc.ser.train_arousal.train_arousal`; by default the one that
            comes with the package (acted Polish, German and English).
        name: Name of the judge and beginning of its metrics.

    Raises:
        UserError: The file is none, or openSMILE is needed and missing.
    """

    def __init__(self, regressor: str | Path = SHIPPED, name: str = "pseudo") -> None:
        self.name = name
        self.regressor = ArousalRegressor.load(Path(regressor))
        self.functionals = load_functionals(self.regressor.functionals)
        self.metrics = arousal_metrics(self.name)

    @property
    def about(self) -> dict[str, Any]:
        """See :class:`~emovc.common.judging.Judge`."""
        return {
            "functionals": self.functionals.name,
            "trained_on": list(self.regressor.corpora),
            "weights": self.regressor.hash,
            "labels": "pseudo-labels from the names of acted emotions, nobody rated them",
            **self.regressor.report,
        }

    def hear(self, wav: np.ndarray, sample_rate: int) -> float:
        """Arousal, 0 to 1, of a recording (N,).

        Raises:
            UserError: There is no speech in it.
        """
        features = self.functionals(wav, sample_rate)
        return float(self.regressor.predict(features[None])[0])

    def judge(self, heard: float, recordings: Mapping[str, float], goal: Goal) -> Verdict:
        """See :class:`~emovc.common.judging.Judge`."""
        return judge_arousal(self.name, heard, goal)


class MspDimJudge:
    """Arousal by audEERING's model, learned from the ratings of MSP-Podcast (CC BY-NC-SA 4.0).

    Where the same model gave the condition or the labels of a converter, it judges its own work.
    See :func:`judge_arousal` for the metrics.

    Args:
        source: Folder of the model or its name on Hugging Face.
        device: Device to run it on.

    Raises:
        UserError: The model isn't here and can't be downloaded.
    """

    name = "msp-dim"

    def __init__(self, source: str = NAME, device: str = "cpu") -> None:
        self.model = MspDim.from_pretrained(source).to(device)
        self.device = device
        self.metrics = arousal_metrics(self.name)

    @property
    def about(self) -> dict[str, Any]:
        """See :class:`~emovc.common.judging.Judge`."""
        return {
            "model": NAME,
            "trained_on": ["msp_podcast"],
            "weights": weights_hash(self.model),
            "licence": "CC BY-NC-SA 4.0",
        }

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> float:
        """Arousal, 0 to 1, of a recording (N,).

        Raises:
            UserError: It is shorter than 25 ms.
        """
        signal = resample(np.asarray(wav, dtype=np.float32), sample_rate, self.model.sample_rate)
        arousal = self.model(torch.from_numpy(signal)[None].to(self.device)).arousal
        return float(arousal.clamp(0.0, 1.0)[0])

    def judge(self, heard: float, recordings: Mapping[str, float], goal: Goal) -> Verdict:
        """See :class:`~emovc.common.judging.Judge`."""
        return judge_arousal(self.name, heard, goal)


def arousal_metrics(name: str) -> dict[str, str]:
    """Column headings of a judge's metrics."""
    return {
        f"arousal_{name}": f"arousal, 0 to 1 ({name})",
        f"arousal_mse_{name}": f"arousal L_mse ({name})",
        f"arousal_abs_{name}": f"arousal L_abs in % ({name})",
    }


def judge_arousal(name: str, arousal: float, goal: Goal) -> Verdict:
    """Arousal measured and, where a level was asked for, the errors of EmoConv-Diff.

    ``arousal_<name>`` is what was measured, 0 to 1. Where the goal names a level, 1 to 7,
    ``arousal_mse_<name>`` is the squared and ``arousal_abs_<name>`` the absolute error in percent,
    whose means are ``L_mse`` and ``L_abs``; the label ``arousal_level`` is the level.

    Args:
        name: Name of the judge.
        arousal: What was measured.
        goal: What was wanted.
    """
    metrics = {f"arousal_{name}": arousal}
    if goal.arousal is None:
        return Verdict(metrics)
    error = arousal - arousal_target(goal.arousal)
    metrics |= {f"arousal_mse_{name}": error**2, f"arousal_abs_{name}": 100 * abs(error)}
    return Verdict(metrics, {"arousal_level": f"{goal.arousal:g}"})
