"""Small fitted models in one safetensors file: arrays, and what they are in its header."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from emovc.common.errors import UserError
from emovc.common.files import atomic_path

HEADER = "emovc"


def write_fitted(
    path: Path, kind: str, arrays: dict[str, np.ndarray], facts: dict[str, Any]
) -> None:
    """Write a model atomically.

    Args:
        path: File to write.
        kind: What it is, such as "strength ranker"; it must be asked for when reading.
        arrays: Its numbers by name.
        facts: Whatever else belongs to it, able to be JSON.
    """
    header = {HEADER: json.dumps({"kind": kind, **facts}, ensure_ascii=False)}
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with atomic_path(path) as temporary:
        save_file(whole, temporary, header)


def read_fitted(path: Path, kind: str, remedy: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a model.

    Args:
        path: File of :func:`write_fitted`.
        kind: What it must be.
        remedy: What makes such a file, for the message.

    Returns:
        Arrays by name, and facts.

    Raises:
        UserError: The file is absent, damaged, or of another kind.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; {remedy}")
    try:
        with safe_open(path, "np") as file:
            facts = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            if not isinstance(facts, dict):
                raise ValueError
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError):
        raise UserError(f"{path}: not a whole file of a {kind} (truncated?); {remedy}") from None
    if facts.get("kind") != kind:
        found = facts.get("kind", "something else")
        raise UserError(f"{path}: holds {found}, not a {kind}; {remedy}")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(f"{path}: {name} holds NaN or infinity; {remedy}")
    return arrays, facts


def hash_of(arrays: dict[str, np.ndarray]) -> str:
    """Twelve hexadecimal digits that identify the arrays, whatever file they came in."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
