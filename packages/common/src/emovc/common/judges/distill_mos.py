"""How does it sound: the mean opinion score that Distill-MOS predicts, without a reference."""

import importlib.metadata
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.errors import UserError
from emovc.common.judges.hearing import hear_at
from emovc.common.judging import Goal, Verdict
from emovc.common.weights import load_exactly, read_weights, weights_hash

RATE = 16_000  # Hz
WINDOW = 122_880  # samples, 7.68 s
LONGEST_HOP = RATE  # samples between the beginnings of windows
BATCH = 8  # windows at once, so that memory doesn't grow with the recording
WEIGHTS = "distillmos/weights/distill_mos_v7.pt"


class DistillMos:
    """Distill-MOS: the overall quality, 1 to 5; higher is better.

    The numbers of the package ``distillmos``: windows of 7.68 s, each brought to a peak of 1 (so
    that the level of a recording doesn't count), shorter recordings filled with zeros, longer ones
    covered by windows at most 1 s apart whose scores are averaged.

    Source: Stahl and Gamper, "Distillation and pruning for scalable self-supervised
    representation-based speech quality assessment", ICASSP 2025.

    Args:
        device: Where it runs.

    Raises:
        UserError: distillmos isn't installed, or its weights are damaged.
    """

    name = "distill_mos"
    metrics: Mapping[str, str] = {"mos_distill_mos": "Distill-MOS"}

    def __init__(self, device: str = "cpu") -> None:
        try:
            from distillmos import ConvTransformerSQAModel
        except ImportError:
            raise UserError("judge distill_mos: install the extra emovc-common[judges]") from None
        # The package prints where its weights are when it loads them itself.
        network = ConvTransformerSQAModel(load_weights=False, segmenting_in_forward=False)
        package = importlib.metadata.distribution("distillmos")
        self.version, file = package.version, Path(str(package.locate_file(WEIGHTS)))
        load_exactly(network, read_weights(file)["model"], file)
        self.network, self.device = network.to(device).eval(), device

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where the network is from, and its hash."""
        return {
            "source": f"distillmos {self.version}",
            "weights": weights_hash(self.network),
            "trained_on": ["degraded speech, rated by a larger model of over 100 000 rated clips"],
        }

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> dict[str, float]:
        """The score of a recording (N,).

        Raises:
            UserError: The recording holds no speech.
        """
        heard = hear_at(wav, sample_rate, RATE)
        starts = _starts(len(heard))
        padded = np.pad(heard, (0, max(0, WINDOW - len(heard))))
        scores = []
        for k in range(0, len(starts), BATCH):
            windows = np.stack([padded[start : start + WINDOW] for start in starts[k : k + BATCH]])
            scores.append(self.network(torch.from_numpy(windows).to(self.device)).flatten().cpu())
        return {"mos_distill_mos": float(torch.cat(scores).double().mean())}

    def judge(self, heard: dict[str, float], recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """The score of the row, whatever the goal is."""
        return Verdict(heard)


def _starts(samples: int) -> list[int]:
    """First samples of the windows of a recording, evenly spread from its begin to its end."""
    beyond = max(0, samples - WINDOW)
    count = math.ceil(beyond / LONGEST_HOP) + 1
    return [int(share * beyond) for share in np.linspace(0, 1, count)]
