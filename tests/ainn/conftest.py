"""Fixtures of AINN's tests."""

from pathlib import Path

import pytest
import torch
from tests.ainn.corpora import make_corpus


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every test, whichever ran before."""
    torch.manual_seed(1)


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small corpus of parallel sounds."""
    return make_corpus(tmp_path_factory.mktemp("tones"))
