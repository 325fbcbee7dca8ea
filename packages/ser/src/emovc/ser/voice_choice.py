"""Choice of the voice encoder's settings by speakers that it didn't learn from."""

from typing import Any

import numpy as np

from emovc.ser.voice_training import Recordings, Settings, Whitening, fit_voice, voices
from emovc.ser.voice_trials import deal_groups, equal_error_rate, make_trials

GRID: tuple[Settings, ...] = tuple(
    Whitening(layers=(layer,), shrinkage=shrinkage)
    for layer in (0, 1, 2, 3)
    for shrinkage in (0.1, 0.3, 0.6)
)
ROUNDS = 4  # groups of speakers, of one gender in each corpus


def choose_settings(
    recordings: Recordings, speakers: set[str]
) -> tuple[Settings, list[dict[str, Any]]]:
    """The settings of :data:`GRID` with the least equal error rate on held-out speakers.

    Each speaker is held out once, women of some corpora with men of the others; the rate is the
    mean over rounds and corpora.

    Args:
        recordings: Recordings and degraded copies.
        speakers: Speakers to learn from and to hold out; others are not looked at.

    Returns:
        The settings, and a record of each that was compared.
    """
    groups = deal_groups([u for u in recordings.utterances if u.speaker in speakers])
    compared: list[dict[str, Any]] = []
    for settings in GRID:
        rates = []
        for part in range(ROUNDS):
            held = {name for name, group in groups.items() if group == part}
            head = fit_voice(recordings, recordings.where(speakers - held), settings, 0)
            rates += held_out_rates(recordings, held, voices(head, recordings, settings))
        compared.append({**settings._asdict(), "equal_error_rate": float(np.nanmean(rates))})
    best = min(range(len(GRID)), key=lambda i: compared[i]["equal_error_rate"])
    return GRID[best], compared


def held_out_rates(recordings: Recordings, held: set[str], vectors: np.ndarray) -> list[float]:
    """Equal error rate of each corpus on recordings of some speakers; NaN where nobody compares.

    Args:
        recordings: Recordings and degraded copies.
        held: The speakers.
        vectors: Unit vectors of all recordings and copies, (N, V).
    """
    places = recordings.where(held, [""])
    rates = []
    for corpus in sorted({recordings.utterances[int(i)].corpus for i in places}):
        own = [int(i) for i in places if recordings.utterances[int(i)].corpus == corpus]
        rows = [recordings.utterances[i] for i in own]
        trials = make_trials(rows, rows)
        scores = (vectors[own] @ vectors[own].T)[trials.first, trials.second]
        rates.append(equal_error_rate(scores, trials.same))
    return rates
