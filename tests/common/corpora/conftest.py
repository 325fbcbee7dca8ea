"""Small corpora in the layouts of the real ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

WriteAudio = Callable[..., None]


@pytest.fixture
def write_audio(tmp_path: Path) -> WriteAudio:
    """Write tiny recordings, each with a content of its own, to paths below ``tmp_path``."""
    count = 0

    def write(*names: str, rate: int = 16_000) -> None:
        nonlocal count
        for name in names:
            count += 1
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.full(160 + count, 0.1), rate)

    return write
