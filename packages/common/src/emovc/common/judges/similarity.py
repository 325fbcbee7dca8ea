"""Cosine of what was heard of a row with the target recording, and with the controls."""

from collections.abc import Mapping

import numpy as np

WITH = {  # recording of the pair: part of the metric's name, part of its heading
    "target": ("", ""),
    "same_speaker": ("_same_speaker", ", other words"),
    "other_speaker": ("_other_speaker", ", other speaker"),
}


def unit(vector: np.ndarray) -> np.ndarray:
    """A vector (D,) of length 1, or zeros."""
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def similarity_metrics(
    metric: str, heading: str, name: str, recordings: tuple[str, ...]
) -> dict[str, str]:
    """Names and headings of the similarities of a judge.

    Args:
        metric: First part of the names, ``speaker_similarity``.
        heading: First part of the headings.
        name: Name of the judge; empty for none.
        recordings: Keys of :data:`WITH`.
    """
    return {_name(metric, name, r): _heading(f"{heading}{WITH[r][1]}", name) for r in recordings}


def similarities(
    metric: str,
    name: str,
    recordings: tuple[str, ...],
    row: np.ndarray,
    heard: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """Scalar products of a unit vector with those of the recordings that there are.

    Args:
        metric: First part of the names.
        name: Name of the judge; empty for none.
        recordings: Keys of :data:`WITH`.
        row: Unit vector of the row, (D,).
        heard: Unit vectors of the recordings of the pair.
    """
    return {_name(metric, name, r): float(row @ heard[r]) for r in recordings if r in heard}


def _name(metric: str, name: str, recording: str) -> str:
    """``speaker_similarity_same_speaker_wavlm``, without what is empty."""
    return f"{metric}{WITH[recording][0]}" + (f"_{name}" if name else "")


def _heading(text: str, name: str) -> str:
    """A column's heading."""
    return f"{text} ({name})" if name else text
