"""One row of the emotion experiment: what is heard, the classifier, its decisions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from emovc.common.manifest import Utterance
from emovc.common.metrics import bootstrap_interval
from emovc.speechflow.converter import SpeechFlow
from emovc.speechflow.emotion_classifier import (
    Labelled,
    Recipe,
    average_recall,
    decide,
    train_classifier,
)
from emovc.speechflow.emotion_data import Windows, draw_parts
from emovc.speechflow.factor_subsets import Off, decode_factors, off_codes
from emovc.speechflow.model import Codes
from emovc.speechflow.pitch import f0_input

AT_ONCE = 64  # windows decoded at a time
Decisions = dict[str, list[Any]]


class Heard(NamedTuple):
    """One corpus as a row lets it be heard.

    Attributes:
        windows: What it was made from.
        mel: Spectrograms, (W, M, T).
    """

    windows: Windows
    mel: Tensor

    def of(self, rows: Sequence[Utterance], emotions: Sequence[str]) -> Labelled:
        """Windows and classes of some of its utterances."""
        places = {u.id: i for i, u in enumerate(rows)}
        number = torch.tensor([places.get(u.id, -1) for u in self.windows.utterances])
        owner = number[self.windows.owner]
        labels = torch.tensor([emotions.index(str(u.emotion)) for u in rows])
        return Labelled(self.mel[owner >= 0], owner[owner >= 0], labels)


class FactorDecoder:
    """Windows of some corpora, encoded once and decoded from any of their factors.

    Nothing is masked before or cropped afterwards: a length that shows would tell something of the
    utterance with all factors off.

    Args:
        model: The model, in eval mode.
        off: What becomes of the factors that are off; mean codes are those of the first corpus.
        corpora: Windows of each corpus.
    """

    @torch.inference_mode()
    def __init__(self, model: SpeechFlow, off: Off, corpora: Sequence[Windows]) -> None:
        self.net = model.net
        self.corpora = corpora
        self.codes = [self._encode(w) for w in corpora]
        self.off = off_codes(self.net, self.codes[0], off)

    def _encode(self, windows: Windows) -> Codes:
        parts = []
        for mel, f0 in zip(windows.mel.split(AT_ONCE), windows.f0.split(AT_ONCE), strict=True):
            parts.append(self.net.encode(mel, f0_input(f0, self.net.n_f0_bins), mel))
        return Codes(*(torch.cat(codes) for codes in zip(*parts, strict=True)))

    @torch.inference_mode()
    def __call__(self, keep: Sequence[str]) -> list[Heard]:
        """Decode all windows from the factors in ``keep``."""
        heard = []
        for windows, codes in zip(self.corpora, self.codes, strict=True):
            mels = [
                decode_factors(
                    self.net, Codes(*(c[i] for c in codes)), windows.speaker[i], keep, self.off
                )
                for i in torch.arange(len(windows.mel)).split(AT_ONCE)
            ]
            heard.append(Heard(windows, torch.cat(mels)))
        return heard


def judge_row(
    recipe: Recipe, heard: Sequence[Heard], emotions: Sequence[str], seed: int
) -> dict[str, Decisions]:
    """Train a classifier on what is heard, and let it decide on the test speakers.

    Args:
        recipe: How to train.
        heard: The corpus of training and, if there is one, the corpus only tested on.
        emotions: Emotion of each class.
        seed: Seed of the parts and of the training.

    Returns:
        By corpus (``in-corpus``, ``cross-corpus``): ``ids``, ``speakers``, ``labels`` and
        ``predictions`` of the test utterances.
    """
    own = heard[0]
    parts = draw_parts(own.windows.utterances, seed)
    train, val = own.of(parts["train"], emotions), own.of(parts["val"], emotions)
    network = train_classifier(recipe, train, val, len(emotions), seed)
    tests = {"in-corpus": (own, parts["test"])}
    for other in heard[1:]:
        tests["cross-corpus"] = (other, other.windows.utterances)
    found = {}
    for corpus, (source, rows) in tests.items():
        test = source.of(rows, emotions)
        found[corpus] = {
            "ids": [u.id for u in rows],
            "speakers": [u.speaker for u in rows],
            "labels": test.labels.tolist(),
            "predictions": decide(network, test.mel, test.owner).tolist(),
        }
    return found


def summary(seeds: Sequence[dict[str, Decisions]]) -> dict[str, dict[str, Any]]:
    """UAR in % of all seeds' decisions together, its interval, and that of each seed.

    Every speaker has as many utterances of each class, so UAR is the share of right decisions, and
    so it is in each draw of speakers.

    Args:
        seeds: What :func:`judge_row` gave for each seed.
    """
    found = {}
    for corpus in seeds[0]:
        parts = [seed[corpus] for seed in seeds]
        together = {k: [x for part in parts for x in part[k]] for k in parts[0]}
        right = np.equal(together["labels"], together["predictions"]).astype(float)
        low, high = bootstrap_interval(right, together["speakers"])
        found[corpus] = {
            "uar": _percent(together),
            "low": 100 * low,
            "high": 100 * high,
            "seeds": [_percent(part) for part in parts],
            "utterances": len(right),
            "speakers": len(set(together["speakers"])),
        }
    return found


def _percent(decisions: Decisions) -> float:
    labels, predictions = (torch.tensor(decisions[k]) for k in ("labels", "predictions"))
    return 100 * average_recall(labels, predictions)
