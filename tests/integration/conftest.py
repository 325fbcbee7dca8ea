"""A finished small run that several tests look at, and processes to start others in."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.integration import genner
from tests.integration.commands import Commands
from tests.integration.emoconv import QUIET
from tests.integration.runs import ABLATIONS, COMMAND, F0_HEAD, ROOT, environment, fit_words

from emovc.common.fit import cli
from emovc.common.fit import main as fit_main
from emovc.common.manifest import Split, read_manifest, write_manifest
from emovc.emoconv_diff.write_average_mels import write_average_mels
from emovc.genner_tts.export_durations import export_durations
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


@pytest.fixture(scope="session")
def genner_manifest(toy: Path) -> Path:
    """The toy corpus with the same sentences in all parts, each speaker and emotion in each."""
    rows = read_manifest(toy)
    axes = [sorted({str(getattr(u, a)) for u in rows}) for a in ("speaker", "emotion", "sentence")]
    parts: tuple[Split, ...] = ("train", "train", "val", "test")
    for i, u in enumerate(rows):
        values = u.speaker, str(u.emotion), str(u.sentence)
        place = sum(axis.index(value) for axis, value in zip(axes, values, strict=True))
        rows[i] = dataclasses.replace(u, split=parts[place % 4], split_id="latin")
    write_manifest(toy.parent / "genner.jsonl", rows)
    return toy.parent / "genner.jsonl"


@pytest.fixture(scope="session")
def genner_aligner(genner_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of an aligner, whose durations lie beside the manifest."""
    run = tmp_path_factory.mktemp("genner") / "aligner"
    small = [f"{genner.MODEL}dim=8", "--model.init_args.prior_steps=2"]
    fit_main("fit", genner.words("aligner", genner_manifest, run, 4, *small))
    export_durations(run, genner_manifest)
    return run


@pytest.fixture(scope="session")
def genner_run(genner_manifest: Path, genner_aligner: Path) -> Path:
    """Run of a synthesizer that went through all phases."""
    run = genner_aligner.parent / "synthesizer"
    fit_main(
        "fit",
        genner.tts_words(genner_manifest, genner_aligner, run, "--model.init_args.codes_from=2"),
    )
    return run
