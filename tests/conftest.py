"""Fixtures of all tests."""

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "2")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def seeded_module() -> None:
    """The fixtures of a file draw the same, whatever ran before in the same worker."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def seeded_test(seeded_module: None) -> None:
    """A test draws the same, whatever ran before in the same worker."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder beside the checkout with real speech and weights, which are not part of it."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs real speech in ../shared, which is not distributed with the code")
    return folder


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small toy corpus with features."""
    from emovc.common.corpora.toy import make_toy
    from emovc.common.prepare import prepare

    root = tmp_path_factory.mktemp("toy")
    make_toy(root / "audio", n_sentences=4)
    prepare("toy", root / "audio", root / "prepared", num_workers=1)
    return root / "prepared" / "manifest.jsonl"


SIGNALS = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}


@pytest.fixture(autouse=True)
def own_signals(seeded_module: None) -> None:
    """Commands that ran in this process leave no handler of signals to a test."""
    for kind, handler in SIGNALS.items():
        signal.signal(kind, handler)
