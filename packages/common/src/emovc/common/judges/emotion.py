"""Is the emotion there: the decision of a classifier, and the cosine of emotion vectors.

A cosine alone says little: of two recordings of one speaker it is high whatever their emotions. So
each comes with its controls, the target's speaker and emotion in other words, and its emotion by
another speaker.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.judges.hearing import attribute, hear_at, ready
from emovc.common.judges.similarity import WITH, similarities, similarity_metrics, unit
from emovc.common.judging import Goal, Verdict
from emovc.common.weights import weights_hash

METRIC, HEADING = "emotion_similarity", "emotion similarity"
RECORDINGS = tuple(WITH)


class HeardEmotion(NamedTuple):
    """What a classifier hears in a recording.

    Attributes:
        posterior: Probability of each emotion that it chooses from, (C,).
        embedding: Unit vector, (D,).
    """

    posterior: np.ndarray
    embedding: np.ndarray


class EmotionSimilarity:
    """Cosine of a network's emotion vectors with the target and the controls.

    Args:
        network: Pretrained network with ``sample_rate`` in Hz and ``forward(wav (1, N), lengths
            (1,))`` that gives (1, D), or an object that holds it.
        name: Name in the metrics.
        field: Attribute of the network's result that is (1, D); ``None``: the result itself.
        trained_on: Corpora the network saw; by default what its ``trained_on`` says.
        device: Where it runs.

    Raises:
        UserError: The network is random, or nobody says what it was trained on.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        field: str | None = None,
        trained_on: list[str] | None = None,
        device: str = "cpu",
    ) -> None:
        self.network = ready(network, name, device)
        self.name, self.field, self.device = name, field, device
        self.rate = int(attribute(network, "sample_rate", name))
        if trained_on is None:
            trained_on = list(attribute(network, "trained_on", name))
        self.trained_on = trained_on
        self.metrics: Mapping[str, str] = similarity_metrics(METRIC, HEADING, name, RECORDINGS)

    @cached_property
    def about(self) -> dict[str, Any]:
        """The network, the hash of its weights, and what it was trained on."""
        return _about(self.network, self.trained_on)

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """Unit vector (D,) of a recording (N,).

        Raises:
            UserError: The recording holds no speech.
        """
        result = _run(self.network, wav, sample_rate, self.rate, self.device)
        return unit(_vector(result if self.field is None else getattr(result, self.field)))

    def judge(self, heard: np.ndarray, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """Cosine with the target and with those controls that there are."""
        return Verdict(similarities(METRIC, self.name, RECORDINGS, heard, recordings))


class EmotionRecognition:
    """Decision, probability of the wanted emotion, and cosines of an emotion classifier.

    Where the wanted emotion is none of its labels, that is a gap, and the row counts in no
    accuracy.

    Args:
        network: Pretrained classifier with ``emotions`` (names of its classes), ``sample_rate`` in
            Hz and ``forward(wav (1, N), lengths (1,))`` whose result has ``log_posterior`` (1, C)
            and ``embedding`` (1, D).
        name: Name in the metrics.
        among: Labels to choose from; of these, those that occur in the evaluation are. The
            posterior is divided by their sum. ``None``: all.
        trained_on: Corpora the network saw; by default what its ``trained_on`` says.
        device: Where it runs.

    Raises:
        UserError: The network is random, nobody says what it was trained on, or it lacks a label
            of ``among``.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        among: list[str] | None = None,
        trained_on: list[str] | None = None,
        device: str = "cpu",
    ) -> None:
        self.network = ready(network, name, device)
        self.name, self.device = name, device
        self.rate = int(attribute(network, "sample_rate", name))
        if trained_on is None:
            trained_on = list(attribute(network, "trained_on", name))
        self.trained_on = trained_on
        every: tuple[str, ...] = tuple(attribute(network, "emotions", name))
        self.emotions = every if among is None else tuple(dict.fromkeys(among))
        unknown = [emotion for emotion in self.emotions if emotion not in every]
        if unknown or len(self.emotions) < 2:
            raise UserError(
                f"judge {name}: among must name two or more of its labels, which are "
                + ", ".join(every)
            )
        self.kept = [every.index(emotion) for emotion in self.emotions]
        self.metrics: Mapping[str, str] = {
            f"emotion_accuracy_{name}": f"emotion accuracy ({name})",
            f"emotion_probability_{name}": f"probability of the emotion ({name})",
            **similarity_metrics(METRIC, HEADING, name, RECORDINGS),
        }

    @cached_property
    def about(self) -> dict[str, Any]:
        """The network, the hash of its weights, its training, and its labels."""
        return {**_about(self.network, self.trained_on), "emotions": list(self.emotions)}

    @torch.inference_mode()
    def hear(self, wav: np.ndarray, sample_rate: int) -> HeardEmotion:
        """Posterior and emotion vector of a recording (N,).

        Raises:
            UserError: The recording holds no speech.
        """
        result = _run(self.network, wav, sample_rate, self.rate, self.device)
        posterior = result.log_posterior[0, self.kept].double().softmax(dim=0)
        return HeardEmotion(posterior.cpu().numpy(), unit(_vector(result.embedding)))

    def judge(self, heard: HeardEmotion, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        """Compare what was heard with the wanted emotion and with the recordings."""
        vectors = {role: recording.embedding for role, recording in recordings.items()}
        metrics = similarities(METRIC, self.name, RECORDINGS, heard.embedding, vectors)
        asked = np.array([e in goal.among for e in self.emotions], dtype=float)
        asked = asked if asked.any() else np.ones_like(asked)
        posterior = heard.posterior * asked / (heard.posterior @ asked)
        decision = self.emotions[int(posterior.argmax())]
        labels = {f"emotion_{self.name}": decision}
        if goal.emotion not in self.emotions:
            return Verdict(metrics, labels, (f"judge {self.name}: has no label {goal.emotion}",))
        wanted = posterior[self.emotions.index(goal.emotion)]
        metrics[f"emotion_accuracy_{self.name}"] = float(decision == goal.emotion)
        metrics[f"emotion_probability_{self.name}"] = float(wanted)
        return Verdict(metrics, labels)


def _run(network: nn.Module, wav: np.ndarray, sample_rate: int, rate: int, device: str) -> Any:
    """What a network that listens at ``rate`` Hz says about a recording (N,)."""
    heard = torch.from_numpy(hear_at(wav, sample_rate, rate))[None].to(device)
    return network(heard, torch.tensor([heard.shape[1]], device=device))


def _vector(embedding: Tensor) -> np.ndarray:
    """The vector (D,) of one utterance."""
    return embedding[0].float().cpu().numpy()


def _about(network: nn.Module, trained_on: list[str]) -> dict[str, Any]:
    """The record of a network."""
    return {
        "source": f"{type(network).__module__}.{type(network).__qualname__}",
        "weights": weights_hash(network),
        "trained_on": trained_on,
    }
