"""A finished small run that several tests look at."""

from pathlib import Path

import pytest
from tests.integration.runs import ABLATIONS, F0_HEAD, fit_words

from emovc.common.fit import cli


@pytest.fixture(scope="session")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of a SpeechFlow with the cycle loss."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    ablation = ABLATIONS / "speechflow_cycle_stopped.yaml"
    cli(fit_words(toy, run, 6, F0_HEAD, ablation))
    return run
