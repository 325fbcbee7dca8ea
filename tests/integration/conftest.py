"""A finished small run that several tests look at, and processes to start others in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.commands import Commands
from tests.integration.runs import ABLATIONS, COMMAND, F0_HEAD, ROOT, environment, fit_words

from emovc.common.fit import cli


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Starts ``emovc`` in processes of their own."""
    log = tmp_path_factory.mktemp("commands") / "output.txt"
    started = Commands(COMMAND, log, environment(), ROOT)
    yield started
    started.close()


@pytest.fixture(scope="session")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of a SpeechFlow with the cycle loss."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    ablation = ABLATIONS / "speechflow_cycle_stopped.yaml"
    cli(fit_words(toy, run, 6, F0_HEAD, ablation))
    return run
