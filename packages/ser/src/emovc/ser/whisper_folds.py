"""Speaker-disjoint rounds over several corpora, and what heads on Whisper decide in them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from emovc.common.combine import by_fold
from emovc.common.emotions import EMOTIONS
from emovc.common.manifest import Utterance
from emovc.ser.whisper_training import (
    Examples,
    HeadSettings,
    allowed_emotions,
    describe_speakers,
    fit_head,
    log_posteriors,
)

FOLDS = {"emodb": 5, "ravdess": 6, "nemo": 9}  # nEMO: each speaker left out in turn
OTHER_FOLDS = 5
TEMPERATURES = np.geomspace(0.2, 5.0, 81)


def make_rounds(utterances: Sequence[Utterance], seed: int = 0) -> list[set[str]]:
    """Speakers that are held out in each round: of every corpus one fold, while it has folds left.

    Args:
        utterances: Recordings.
        seed: Seed by which speakers are dealt to the folds.

    Raises:
        UserError: A corpus has fewer speakers than folds.
    """
    corpora = sorted({u.corpus for u in utterances})
    rounds: list[set[str]] = [set() for _ in range(max(FOLDS.get(c, OTHER_FOLDS) for c in corpora))]
    for corpus in corpora:
        own = [u for u in utterances if u.corpus == corpus]
        folds = FOLDS.get(corpus, OTHER_FOLDS)
        for fold in range(folds):
            dealt = by_fold(own, folds, fold, seed)
            rounds[fold] |= {u.speaker for u in dealt if u.split == "test"}
    return rounds


def among(log_posterior: Tensor, allowed: Tensor) -> Tensor:
    """Log-probabilities (..., N, E) among allowed emotions (N, E); minus infinity at the others."""
    return log_posterior.masked_fill(~allowed, -torch.inf).log_softmax(-1)


def fit_temperature(log_posterior: Tensor, classes: Tensor, allowed: Tensor) -> float:
    """Divisor of the scores by which they are most likely (Guo et al., ICML 2017, section 4.2).

    Args:
        log_posterior: At temperature 1, (N, E).
        classes: True emotions, (N,).
        allowed: Emotions of the corpus, (N, E).
    """
    losses = [
        float(torch.nn.functional.nll_loss(among(log_posterior / t, allowed), classes))
        for t in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmin(losses))])


def calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over equal bins.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.

    Args:
        probabilities: Of the decisions, (N,).
        right: Whether they are right, (N,).
        bins: Number of bins.
    """
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = [abs(probabilities[place == b].sum() - right[place == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(right))


def fit_temperatures(
    examples: Examples, learn: Tensor, held: Tensor, settings: HeadSettings
) -> Tensor:
    """Temperatures without and with the speakers' statistics, (2,), of heads that learn alike.

    Args:
        examples: Recordings and degraded copies.
        learn: Those that a head learns from, (K,).
        held: Those of other speakers, by which the temperatures are set; degraded copies included.
        settings: Network and training.
    """
    head = fit_head(examples, learn, settings)
    rows = [examples.utterances[int(i)] for i in held]
    classes = torch.tensor([EMOTIONS.index(str(u.emotion)) for u in rows])
    allowed = allowed_emotions(examples.utterances)[held]
    speakers = describe_speakers(head, examples, held)
    found = (log_posteriors(head, examples, held, known) for known in (None, speakers))
    return torch.tensor([fit_temperature(one, classes, allowed) for one in found])


def places(examples: Examples, speakers: set[str], inside: bool) -> Tensor:
    """Examples of some speakers, or of all others, (K,)."""
    return torch.tensor(
        [i for i, u in enumerate(examples.utterances) if (u.speaker in speakers) == inside],
        dtype=torch.long,
    )


def cross(examples: Examples, rounds: Sequence[set[str]], settings: HeadSettings) -> Tensor:
    """Log-probabilities of all examples, each by a head that never met its speaker.

    Args:
        examples: Recordings and degraded copies.
        rounds: Speakers held out in each round.
        settings: Network and training.

    Returns:
        Without and with the speakers' statistics, (2, N, E), at temperature 1.
    """
    found = torch.full((2, len(examples.utterances), len(EMOTIONS)), torch.nan)
    for speakers in rounds:
        learn, test = places(examples, speakers, False), places(examples, speakers, True)
        head = fit_head(examples, learn, settings)
        known = describe_speakers(head, examples, test)
        found[0, test] = log_posteriors(head, examples, test, None)
        found[1, test] = log_posteriors(head, examples, test, known)
    return found


def cross_temperatures(
    examples: Examples, rounds: Sequence[set[str]], settings: HeadSettings
) -> Tensor:
    """Temperature for each example, (2, N), set by speakers that its round's heads learn from.

    In each round they are those of the next one.

    Args:
        examples: Recordings and degraded copies.
        rounds: Speakers held out in each round.
        settings: Network and training.
    """
    found = torch.ones(2, len(examples.utterances))
    for i, speakers in enumerate(rounds):
        inner = rounds[(i + 1) % len(rounds)] - speakers
        learn, held = places(examples, inner | speakers, False), places(examples, inner, True)
        test = places(examples, speakers, True)
        found[:, test] = fit_temperatures(examples, learn, held, settings)[:, None]
    return found
