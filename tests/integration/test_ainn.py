"""The whole way of AINN: Stage I, Stage II, resume, convert, evaluate, export, control."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.integration.runs import ROOT, curve

from emovc.ainn import AINN
from emovc.ainn.experiments import ainn
from emovc.ainn.properties import look_at
from emovc.common.control import control
from emovc.common.conversion import EmotionTarget
from emovc.common.convert import convert, read_speech
from emovc.common.data import SpeechDataModule
from emovc.common.errors import UserError
from emovc.common.evaluate import evaluate
from emovc.common.export import export
from emovc.common.fit import main as fit_main
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.pretrained import read_checkpoint
from emovc.common.wav import read_wav
from emovc.ser.strength_judge import rank_strength

NETS = "--model.init_args.model.init_args."
SMALL = [
    "--data.init_args.batch_size=6",
    "--data.init_args.crop={min_frames: 48, max_frames: 64, multiple: 16}",
    f"{NETS}encoders.init_args.content.init_args.dim=16",
    f"{NETS}encoders.init_args.emotion.init_args.dim=16",
    f"{NETS}generator.init_args.dim=16",
    f"{NETS}generator.init_args.postnet_dim=16",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def words(name: str, toy: Path, run: Path, steps: int, *more: str) -> list[str]:
    config = str(ROOT / "configs" / f"{name}.yaml")
    where = ["-c", config, "--run", str(run), f"--data.init_args.manifest={toy}"]
    limits = [f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={steps}"]
    return [*where, *limits, *SMALL, *more]


@pytest.fixture(scope="module")
def stage1(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("ainn") / "stage1"
    fit_main("fit", words("ainn_toy", toy, run, 4))
    return run


@pytest.fixture(scope="module")
def stage2(stage1: Path, toy: Path) -> Path:
    run = stage1.parent / "stage2"
    start = f"--model.init_args.stage1={stage1}"
    fit_main("fit", words("ainn_toy_stage2", toy, run, 4, start))
    return run


def test_stages_leave_their_record(stage1: Path, stage2: Path) -> None:
    assert {k for k in ("rec", "cls", "dis", "strength") if curve(stage1, f"train/loss_{k}")}
    assert curve(stage1, "val/strength_order").keys() == curve(stage1, "val/mel_l1").keys() == {3}
    terms = ("rec", "content", "category", "strength")
    assert all(len(curve(stage2, f"train/loss_{k}")) == 4 for k in terms)
    assert all(len(curve(stage2, f"val/loss_{k}")) == 1 for k in terms)
    for run in (stage1, stage2):
        for picture in ("cue.png", "strength.png"):
            assert (run / "media" / "00000004" / picture).stat().st_size > 5000


def test_stage2_moves_the_generator_only(stage1: Path, stage2: Path) -> None:
    """It begins from Stage I's averaged weights; averaging them again only rounds."""
    before, after = (read_checkpoint(r / "checkpoints" / "last.ckpt") for r in (stage1, stage2))
    for name, value in before["state_dict"].items():
        if name.startswith("model.encoders"):
            assert torch.equal(value, after["current_model_state"][name]), name
            torch.testing.assert_close(value, after["state_dict"][name])
    weight = "model.generator.first.weight"
    assert not torch.equal(before["state_dict"][weight], after["state_dict"][weight])


AVERAGED = """--trainer.callbacks=[{class_path: emovc.common.callbacks.Progress},
{class_path: emovc.common.callbacks.ExactResume},
{class_path: emovc.common.checkpoints.LastCheckpoint},
{class_path: emovc.common.averaging.AveragedWeights, init_args: {decay: 0.999, ramp: true}}]"""


def test_a_stopped_run_goes_on_exactly(stage1: Path, toy: Path, tmp_path: Path) -> None:
    """With the averaged weights too: both runs end in the same ones."""
    run = tmp_path / "stopped"
    fit_main("fit", [*words("ainn_toy", toy, run, 4, AVERAGED), "--trainer.max_steps=2"])
    fit_main("fit", [*words("ainn_toy", toy, run, 4, AVERAGED), "--resume=true"])
    whole, parts = (read_checkpoint(r / "checkpoints" / "last.ckpt") for r in (stage1, run))
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(whole[key][k], v) for k, v in parts[key].items()), key
    assert curve(stage1, "train/loss") == curve(run, "train/loss")


def test_convert_with_strength(stage2: Path, toy: Path, tmp_path: Path) -> None:
    rows = [u for u in read_manifest(toy) if u.split == "test"]
    neutral, angry = (next(u for u in rows if u.emotion == e) for e in ("neutral", "angry"))
    outs = [tmp_path / f"{s}.wav" for s in (0.0, 1.0)]
    for out, strength in zip(outs, (0.0, 1.0), strict=True):
        convert(stage2, [neutral.path], out, [angry.path], "angry", strength=strength)
        wav, rate = read_wav(out)
        assert abs(len(wav) / rate - neutral.seconds) < 0.02
    assert outs[0].read_bytes() != outs[1].read_bytes()


def test_evaluate_and_export(stage2: Path, toy: Path, tmp_path: Path) -> None:
    evaluate(stage2, toy, tmp_path / "report", pairs=2, accelerator="cpu")
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["rows"]["model"]["mcd_db"]["n"] == 2
    assert summary["gaps"] == []
    export(stage2, tmp_path / "exported")
    ours = AINN.from_pretrained(tmp_path / "exported").state_dict()
    run = AINN.from_checkpoint(stage2 / "checkpoints" / "last.ckpt").state_dict()
    assert all(torch.equal(ours[k], run[k]) for k in run)


def test_experiment_and_control(stage1: Path, stage2: Path, toy: Path, tmp_path: Path) -> None:
    """Both with a ranker; what was done is not done again."""
    ranker, judges, out = tmp_path / "strength.safetensors", tmp_path / "j.yaml", tmp_path / "out"
    rank_strength(toy, ranker, num_workers=1)
    judge = {
        "class_path": "emovc.ser.strength_judge.StrengthJudge",
        "init_args": {"ranker": str(ranker)},
    }
    judges.write_text(yaml.safe_dump([judge]))
    with pytest.raises(UserError, match="no judge measures arousal"):
        control(stage2, toy, out, "arousal", pairs=1, judges=judges)
    control(stage2, toy, out, pairs=2, levels=[0.0, 1.0], judges=judges)
    found = json.loads((out / "control.json").read_text())
    assert set(found["rows"]) == {"source", "target", "0", "1"}
    (metric,) = found["order"]
    assert found["order"][metric]["pairs"] == 2
    before = (out / "control.csv").read_bytes()
    control(stage2, toy, out, pairs=2, levels=[0.0, 1.0], judges=judges)
    assert (out / "control.csv").read_bytes() == before
    with pytest.raises(UserError, match="another levels"):
        control(stage2, toy, out, pairs=2, levels=[0.5], judges=judges)
    ainn([stage1, stage2], judges, out=tmp_path / "ainn", pairs=2, accelerator="cpu")
    text = (tmp_path / "ainn" / "ainn.md").read_text()
    assert text.count("| stage1 |") == text.count("| stage2 |") == 2
    assert "4.596" in text
    properties = json.loads((tmp_path / "ainn" / "ainn.json").read_text())["properties"]
    assert 0 <= properties["stage1"]["emotion_in_content"] <= 1


def test_stage_2_alone_is_refused_with_the_command_to_run_first(toy: Path, tmp_path: Path) -> None:
    nothing = "--model.init_args.stage1=null"
    with pytest.raises(UserError, match="train Stage I first, for instance emovc fit -c"):
        fit_main("fit", words("ainn_toy_stage2", toy, tmp_path / "run", 1, nothing))


def test_fewer_sentences_leave_the_other_parts_alone(toy: Path) -> None:
    whole, fewer = (SpeechDataModule(toy, train_sentences=n) for n in (None, 1))
    for data in (whole, fewer):
        data.setup("fit")
    assert len({u.sentence for u in fewer.of_split("train")}) == 1
    assert fewer.of_split("val") == whole.of_split("val")
    with pytest.raises(UserError, match="training sentences"):
        SpeechDataModule(toy, train_sentences=99).setup("fit")


def test_a_short_training_finds_emotion_and_leaves_silence_out(toy: Path, tmp_path: Path) -> None:
    """On utterances it wasn't trained on: what the cue, strengths and vectors are there for."""
    wider = [f"{NETS}encoders.init_args.{part}.init_args.dim=32" for part in ("content", "emotion")]
    plain = "--trainer.callbacks=[emovc.common.checkpoints.LastCheckpoint]"
    crop = "--data.init_args.crop={min_frames: 96, max_frames: 96}"
    warm = "--model.init_args.warmup_steps=20"
    fit_main("fit", words("ainn_toy", toy, tmp_path / "run", 150, *wider, plain, crop, warm))
    model = AINN.from_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").eval()
    rows = [u for u in read_manifest(toy) if u.split in ("val", "test")]
    found = look_at(model, rows)
    assert found["cue_in_silence"] < 0.7
    assert found["shift_by_pause"] < 0.05
    assert found["shift_by_pause"] < found["shift_by_pause_pooled"] / 3
    assert found["strength_order"] > 0.5  # by chance 1 in 24
    assert found["emotion_in_vector"] > 0.85 > found["emotion_in_content"]
    tracks = [shares(model, u) for u in rows if u.emotion == "angry"]
    assert all(np.all(np.diff(track) >= 0) and track[-1] > track[0] for track in tracks)


def shares(model: AINN, u: Utterance) -> list[float]:
    """R_s of the vectors that rising strengths ask for."""
    reference = read_speech(u.path, model.frontend.sample_rate)
    targets = [EmotionTarget([reference], u.emotion, strength=s) for s in (0.0, 0.3, 0.6, 1.0)]
    with torch.no_grad():
        return [float(model.encoders.strength(model.emotion_vector(t))) for t in targets]
