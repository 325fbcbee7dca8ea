"""A finished small run that several tests look at, and processes to start others in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.integration.commands import Commands
from tests.integration.emoconv import QUIET
from tests.integration.runs import ABLATIONS, COMMAND, F0_HEAD, ROOT, environment, fit_words

from emovc.common.fit import cli
from emovc.common.fit import main as fit_main
from emovc.emoconv_diff.write_average_mels import write_average_mels
from emovc.ser.extract_representations import represent
from emovc.ser.label_arousal import label_arousal


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


@pytest.fixture(scope="session")
def labelled(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest with all that training reads beside it."""
    folder, labelled = toy.parent, toy.parent / "labelled.jsonl"
    label_arousal(toy, labelled)
    write_average_mels(labelled, "toy", num_workers=1)
    wanted = tmp_path_factory.mktemp("emoconv") / "features.yaml"
    emotion = {"class_path": "emovc.ser.representations.EmotionFeature"}
    wanted.write_text(yaml.safe_dump([emotion]))
    represent(labelled, wanted, accelerator="cpu")
    assert (folder / "labelled.arousal.json").exists()
    return labelled


@pytest.fixture(scope="session")
def average_voice(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("emoconv") / "average_voice"
    config = ROOT / "configs" / "average_voice_toy.yaml"
    data = [f"--data.init_args.manifest={labelled.parent / 'average_mels.jsonl'}"]
    limits = ["--trainer.max_steps=40", "--trainer.val_check_interval=40"]
    plain = "--trainer.callbacks=[emovc.common.checkpoints.LastCheckpoint]"
    fit_main("fit", ["-c", str(config), "--run", str(run), *data, *limits, *QUIET, plain])
    return run
