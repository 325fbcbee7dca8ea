"""The whole way of a small model: fit, validate, convert, evaluate, export, load."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.integration.runs import ROOT

from emovc.common.convert import convert
from emovc.common.evaluate import evaluate
from emovc.common.export import export
from emovc.common.fit import main as fit_main
from emovc.common.manifest import read_manifest
from emovc.common.vocoder import HiFiGAN
from emovc.common.wav import read_wav
from emovc.speechflow import SpeechFlow
from emovc.speechflow.experiments import speechflow_mi


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export(trained, folder)
    return folder


def test_a_run_leaves_its_record(trained: Path) -> None:
    with (trained / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    keys = {"train/loss", "train/loss_mel", "val/loss", "val/mel_l1", "opt/lr", "opt/grad_norm"}
    keys |= {f"progress/{k}" for k in ("samples", "seconds_of_speech", "epochs", "hours")}
    keys |= {"sys/seconds_of_speech_per_s", "sys/max_mem_gb", "train/code_sd_content"}
    assert keys <= set(rows[0])
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["model"]["init_args"]["cycle"]["init_args"]["gradient"] == "stop_target"
    assert list((trained / "media").rglob("*.wav"))


def test_validate_and_test_read_a_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("validate", "test"):
        fit_main(command, ["--run", str(trained)])
    printed = capsys.readouterr().out
    assert "val/mel_l1" in printed
    assert "test/mel_l1" in printed


def test_predict_writes_codes_of_each_utterance(trained: Path, toy: Path) -> None:
    fit_main("predict", ["--run", str(trained)])
    model = SpeechFlow.from_checkpoint(trained / "checkpoints" / "last.ckpt")
    for u in [u for u in read_manifest(toy) if u.split == "test"]:
        found = load_file(trained / "predictions" / f"{u.id}.safetensors")
        n = found["log_mel"].shape[1]
        assert abs(n - u.seconds * model.frontend.frame_rate) <= 1
        assert found["content"].shape[0] == n // model.net.factor
        assert found["content"].abs().max() > 0


def test_convert_writes_speech(trained: Path, toy: Path, tmp_path: Path) -> None:
    neutral, angry = (
        next(u for u in read_manifest(toy) if u.split == "test" and u.emotion == e)
        for e in ("neutral", "angry")
    )
    out = tmp_path / "out.wav"
    convert(trained, [neutral.path], out, reference=[angry.path])
    wav, rate = read_wav(out)
    assert rate == 22_050
    assert abs(len(wav) / rate - angry.seconds) < 0.02  # the rhythm is the reference's
    again = tmp_path / "again.wav"
    convert(trained, [neutral.path], again, reference=[angry.path])
    assert out.read_bytes() == again.read_bytes()


def test_evaluate_scores_with_the_default_judges(trained: Path, toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    evaluate(trained, toy, out, pairs=3, accelerator="cpu")
    summary = json.loads((out / "summary.json").read_text())
    rows = summary["rows"]
    assert set(rows) == {"source", "model", "copy-synthesis", "target"}
    assert rows["target"]["mcd_db"]["mean"] == 0
    assert rows["copy-synthesis"]["mcd_db"]["mean"] < rows["source"]["mcd_db"]["mean"]
    assert (out / "index.html").read_text().count("<audio") == 3 * 4
    names = [judge["name"] for judge in summary["judges"]]
    assert names == ["dvector", "encoder", "encoder_without_nemo"]
    assert not any("saw" in mark for judge in summary["judges"] for mark in judge["marks"])
    assert set(summary["confusions"]) == {"emotion_encoder", "emotion_encoder_without_nemo"}
    wanted = summary["confusions"]["emotion_encoder"]["target"]
    assert sum(n for heard in wanted.values() for n in heard.values()) == 3
    with (trained / "evaluation.csv").open() as file:
        keys = {row["key"] for row in csv.DictReader(file)}
    assert {"eval/toy_test/mcd_db", "eval/toy_test/emotion_accuracy_encoder"} <= keys


def test_exported_model_equals_the_run(exported: Path, trained: Path) -> None:
    ours = SpeechFlow.from_pretrained(exported).state_dict()
    run = SpeechFlow.from_checkpoint(trained / "checkpoints" / "last.ckpt").state_dict()
    assert ours.keys() == run.keys()
    assert all(torch.equal(ours[k], run[k]) for k in run)
    assert "from emovc.speechflow import SpeechFlow" in (exported / "README.md").read_text()


def test_exported_model_needs_neither_lightning_nor_wandb(
    exported: Path, toy: Path, tmp_path: Path
) -> None:
    """The use in the README, where training's libraries can't be imported."""
    source, reference = (u.path for u in read_manifest(toy)[:2])
    code = f"""
import sys
for name in ("lightning", "wandb", "pytorch_lightning", "jsonargparse"):
    sys.modules[name] = None
import torch
from emovc.common.conversion import EmotionTarget
from emovc.common.convert import read_speech
from emovc.speechflow import SpeechFlow
model = SpeechFlow.from_pretrained({str(exported)!r})
source, reference = (read_speech(path, 22_050) for path in {[str(source), str(reference)]})
log_mel = model.convert(source, EmotionTarget([reference]))
torch.save(log_mel, {str(tmp_path / "mel.pt")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    mel = torch.load(tmp_path / "mel.pt", weights_only=True)
    assert mel.shape[0] == 80
    assert mel.isfinite().all()


@pytest.mark.parametrize("page", ["README.md", "docs/import.md"])
def test_code_of_the_pages_runs(page: str, exported: Path, toy: Path, tmp_path: Path) -> None:
    """As it stands there, in a folder that holds what it names."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    (tmp_path / "exported").symlink_to(exported)
    for name, u in zip("ab", read_manifest(toy), strict=False):
        (tmp_path / f"{name}.wav").symlink_to(u.path)
    vocoder = HiFiGAN(upsample_initial_channel=16)
    vocoder.pretrained = True  # as good as
    vocoder.save_pretrained(tmp_path / "path" / "to" / "hifigan")
    code = "\n".join(blocks)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=tmp_path)


def test_experiment_compares_runs(trained: Path, tmp_path: Path) -> None:
    speechflow_mi([trained], tmp_path / "mi", seeds=2)
    result = json.loads((tmp_path / "mi" / "speechflow-mi.json").read_text())["results"]
    assert set(result) == {str(trained), "untrained network"}
    pairs = result[str(trained)]["pairs"]
    for measures in pairs.values():
        assert 0 <= measures["nmi"][0] <= 1
        assert measures["mi"][0] <= np.log(10)
    assert (tmp_path / "mi" / "speechflow-mi.png").stat().st_size > 10_000
