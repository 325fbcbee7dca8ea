"""How does it sound: quality and its four dimensions, which NISQA predicts without a reference."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emovc.common.judges.hearing import hear_at, ready
from emovc.common.judges.nisqa_loading import load_nisqa
from emovc.common.judging import Goal, Verdict
from emovc.common.weights import weights_hash

RATE = 48_000  # Hz; its bands go up to 20 kHz
TRAINED_ON = {
    "nisqa": ["NISQA Corpus", "other rated recordings of transmitted speech"],
    "nisqa_tts": ["Blizzard Challenges", "Voice Conversion Challenges"],
}


class Nisqa:
    """NISQA: overall quality, noisiness, discontinuity, coloration and loudness, about 1 to 5.

    Every score is an opinion, so that higher is better: a noisiness of 5 is no noise. ``nisqa.tar``
    has all five, ``nisqa_mos_only.tar`` the first, and ``nisqa_tts.tar`` the naturalness of
    synthetic speech as its only score. The level stays as it is. What is longer than the network
    takes at once (52 s, ``nisqa_tts.tar`` 60 s) is cut into pieces of equal length, whose scores
    are averaged.

    Source: Mittag, Naderi, Chehadi and Möller, "NISQA: a deep CNN-self-attention model for
    multidimensional speech quality prediction with crowdsourced datasets", Interspeech 2021; Mittag
    and Möller, "Deep learning based assessment of synthetic speech naturalness", Interspeech 2020.

    Args:
        weights: Checkpoint of the authors, which isn't distributed with emovc: CC BY-NC-SA 4.0.
        name: Name in the metrics; by default that of the file without its ending.
        rate: Rate in Hz to which recordings are brought, so that a score hardly depends on the rate
            of the file; ``None`` leaves each at its own, as the authors' program does.
        device: Where it runs.

    Raises:
        UserError: The checkpoint can't be used.
    """

    def __init__(
        self,
        weights: str | Path,
        name: str | None = None,
        rate: int | None = RATE,
        device: str = "cpu",
    ) -> None:
        path = Path(weights)
        network, self.mel, self.scores = load_nisqa(path)
        self.name, self.rate, self.device = name or path.stem, rate, device
        self.network = ready(network, self.name, device)
        title = self.name.upper().replace("_", "-")
        headings = ("MOS", *self.scores[1:])
        self.metrics: Mapping[str, str] = {
            f"{score}_{self.name}": f"{title} {heading}"
            for score, heading in zip(self.scores, headings, strict=True)
        }

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where the network is from, its hash, and the rate at which it judges."""
        return {
            "source": "NISQA of Mittag et al., weights CC BY-NC-SA 4.0",
            "weights": weights_hash(self.network),
            "trained_on": TRAINED_ON["nisqa_tts" if self.mel.segment_hop == 1 else "nisqa"],
            "rate": self.rate or "of each recording",
        }

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> dict[str, float]:
        """The scores of a recording (N,).

        Raises:
            UserError: The recording holds no speech, or fills no segment (0.14 s).
        """
        rate = self.rate or sample_rate
        heard = hear_at(wav, sample_rate, rate, self.mel.shortest_s)
        scores = []
        for piece in self.mel.pieces(heard, rate):
            segments = self.mel.segments(piece, rate).to(self.device)
            counts = torch.tensor([len(segments)], device=self.device)
            scores.append(self.network(segments[None], counts)[0].double().cpu())
        return dict(zip(self.metrics, torch.stack(scores).mean(0).tolist(), strict=True))

    def judge(self, heard: dict[str, float], recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """The scores of the row, whatever the goal is."""
        return Verdict(heard)
