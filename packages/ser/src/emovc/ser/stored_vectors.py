"""Representations of the feature store as one vector per utterance."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emovc.common.errors import UserError
from emovc.common.features.store import open_store
from emovc.common.manifest import Utterance

KINDS = {
    "RLR": "representation learning",  # of an encoder that was trained on speech
    "SUP": "supervised",  # of an encoder that was trained to recognise emotions
    "CBR": "compression",  # of a neural audio codec
    "SIG": "signal statistics",  # nothing was learned; a control
}


class Vectors(NamedTuple):
    """A stored feature of some utterances.

    Attributes:
        store: Its folder, whose name has the hash of its settings.
        values: One vector per utterance, the mean over frames where there are several, (N, D).
        finite: Whether all values of an utterance are finite, (N,).
        per_frame: Whether the feature has a row per frame.
    """

    store: Path
    values: np.ndarray
    finite: np.ndarray
    per_frame: bool


class Representation(NamedTuple):
    """A representation of a corpus.

    Attributes:
        name: Name in the store.
        kind: One of :data:`KINDS`.
        store: Name of its folder.
        values: One vector per utterance, (N, D).
    """

    name: str
    kind: str
    store: str
    values: np.ndarray


def read_vectors(manifest: Path, name: str, utterances: Sequence[Utterance]) -> Vectors:
    """Read a feature of the store beside a manifest.

    Args:
        manifest: The manifest.
        name: Name of the feature.
        utterances: Utterances to read, N of them.

    Raises:
        UserError: There is no such feature, it lacks an utterance, or its size changes.
    """
    store = open_store(manifest.parent / "features", name)
    store.require(utterances, "extract them first")
    frames = [store.get(u.sha256, finite=False) for u in utterances]
    for u, rows in zip(utterances, frames, strict=True):
        if not len(rows) or rows.shape[1] != frames[0].shape[1]:
            raise UserError(
                f"{u.path}: feature {name} is empty or of another size; extract it anew"
            )
    values = np.stack([rows.mean(0) for rows in frames]).astype(np.float32)
    per_frame = any(len(rows) != 1 for rows in frames)
    finite = np.array([bool(np.isfinite(rows).all()) for rows in frames])
    return Vectors(store.folder, values, finite, per_frame)


def parse_representations(words: Sequence[str]) -> dict[str, str]:
    """Kind of each representation, from words such as ``dvector=RLR``.

    Raises:
        UserError: A word isn't NAME=KIND, or a name stands twice.
    """
    kinds: dict[str, str] = {}
    for word in words:
        name, _, kind = word.partition("=")
        if not name or kind not in KINDS:
            raise UserError(f"--representations {word}: must be NAME=KIND, KIND {', '.join(KINDS)}")
        if name in kinds:
            raise UserError(f"--representations {word}: {name} stands twice; name it once")
        kinds[name] = kind
    return kinds


def read_representations(
    manifest: Path, kinds: dict[str, str], utterances: Sequence[Utterance]
) -> tuple[list[Representation], list[Utterance], list[str]]:
    """Read several representations, and leave out the utterances that one of them can't give.

    Args:
        manifest: The manifest.
        kinds: Kind of each, by name.
        utterances: Utterances.

    Returns:
        Representations of the utterances that are left; those utterances; a line for each value
        that is not finite.

    Raises:
        UserError: A feature can't be read, or nothing is left.
    """
    found = {name: read_vectors(manifest, name, utterances) for name in kinds}
    lines = [
        f"{u.path}: feature {name} is not finite; the utterance is left out"
        for name, vectors in found.items()
        for u, fine in zip(utterances, vectors.finite, strict=True)
        if not fine
    ]
    good = np.logical_and.reduce([vectors.finite for vectors in found.values()])
    if not good.any():
        raise UserError(f"{manifest}: no utterance has finite features; extract them anew")
    left = [u for u, fine in zip(utterances, good, strict=True) if fine]
    parts = [
        Representation(name, kinds[name], vectors.store.name, vectors.values[good])
        for name, vectors in found.items()
    ]
    return parts, left, lines
