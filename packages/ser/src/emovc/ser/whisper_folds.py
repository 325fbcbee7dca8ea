"""Speaker-disjoint rounds over several corpora, and what heads on Whisper decide in them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from emovc.common.combine import by_fold
from emovc.common.emotions import EMOTIONS
from emovc.common.manifest import Utterance
from emovc.ser.whisper_head import WhisperHead
from emovc.ser.whisper_training import (
    Examples,
    HeadSettings,
    describe_speakers,
    fit_head,
    log_posteriors,
)

FOLDS = {"emodb": 5, "ravdess": 6, "nemo": 9}  # nEMO: each speaker left out in turn
OTHER_FOLDS = 5
TEMPERATURES = np.geomspace(0.2, 5.0, 81)


def make_rounds(utterances: Sequence[Utterance]) -> list[set[str]]:
    """Speakers that are held out in each round: of every corpus one fold, while it has folds left.

    Raises:
        UserError: A corpus has fewer speakers than folds.
    """
    corpora = sorted({u.corpus for u in utterances})
    rounds: list[set[str]] = [set() for _ in range(max(FOLDS.get(c, OTHER_FOLDS) for c in corpora))]
    for corpus in corpora:
        own = [u for u in utterances if u.corpus == corpus]
        folds = FOLDS.get(corpus, OTHER_FOLDS)
        for fold in range(folds):
            dealt = by_fold(own, folds, fold)
            rounds[fold] |= {u.speaker for u in dealt if u.split == "test"}
    return rounds


def allowed_emotions(utterances: Sequence[Utterance]) -> Tensor:
    """True at the emotions that each utterance's corpus has, (N, E)."""
    present = {(u.corpus, u.emotion) for u in utterances}
    rows = {c: [(c, e) in present for e in EMOTIONS] for c in {u.corpus for u in utterances}}
    return torch.tensor([rows[u.corpus] for u in utterances])


def among(log_posterior: Tensor, allowed: Tensor) -> Tensor:
    """Log-probabilities (N, E) among the allowed emotions (N, E); minus infinity at the others."""
    return log_posterior.masked_fill(~allowed, -torch.inf).log_softmax(1)


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


def calibrate(
    head: WhisperHead,
    examples: Examples,
    learn: Tensor,
    held: Tensor,
    settings: HeadSettings,
    seed: int,
) -> None:
    """Set a head's temperatures by another that learned without the speakers of ``held`` (K,).

    Args:
        head: The head, learned from ``learn`` and ``held``.
        examples: Recordings and degraded copies.
        learn: Those of the other speakers.
        held: Those of the speakers that are held out, degraded copies included.
        settings: Network and training.
        seed: Seed of the other head's training.
    """
    other = fit_head(examples, learn, settings, seed)
    rows = [examples.utterances[int(i)] for i in held]
    classes = torch.tensor([EMOTIONS.index(str(u.emotion)) for u in rows])
    allowed = allowed_emotions(examples.utterances)[held]
    speakers = describe_speakers(other, examples, held)
    for i, known in enumerate((None, speakers)):
        found = log_posteriors(other, examples, held, known)
        head.temperature[i] = fit_temperature(found, classes, allowed)


def places(examples: Examples, speakers: set[str], inside: bool) -> Tensor:
    """Examples of some speakers, or of all others, (K,)."""
    return torch.tensor(
        [i for i, u in enumerate(examples.utterances) if (u.speaker in speakers) == inside],
        dtype=torch.long,
    )


def cross(
    examples: Examples, rounds: Sequence[set[str]], settings: HeadSettings, seed: int
) -> Tensor:
    """Calibrated log-probabilities of all examples, each by a head that never met its speaker.

    The temperatures of a round are set by the speakers of the next one.

    Args:
        examples: Recordings and degraded copies.
        rounds: Speakers held out in each round.
        settings: Network and training.
        seed: Seed.

    Returns:
        Without and with the speakers' statistics, (2, N, E).
    """
    found = torch.full((2, len(examples.utterances), len(EMOTIONS)), torch.nan)
    for i, speakers in enumerate(rounds):
        learn, test = places(examples, speakers, False), places(examples, speakers, True)
        head = fit_head(examples, learn, settings, seed)
        inner = rounds[(i + 1) % len(rounds)] - speakers
        held, kept = places(examples, inner, True), places(examples, inner | speakers, False)
        calibrate(head, examples, kept, held, settings, seed + 1)
        known = describe_speakers(head, examples, test)
        found[0, test] = log_posteriors(head, examples, test, None)
        found[1, test] = log_posteriors(head, examples, test, known)
    return found
