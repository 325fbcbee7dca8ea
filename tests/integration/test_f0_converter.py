"""The F0 converter: trained after the model, it lets pitch be converted without rhythm."""

from pathlib import Path

import pytest
import torch
from tests.integration.runs import NET, SMALL, curve

from emovc.common.conversion import EmotionTarget
from emovc.common.convert import convert, read_speech
from emovc.common.errors import UserError
from emovc.common.evaluate import evaluate
from emovc.common.f0 import Dio, SwiftF0
from emovc.common.fit import cli
from emovc.common.fit import main as fit_main
from emovc.common.manifest import read_manifest
from emovc.common.wav import read_wav
from emovc.speechflow import SpeechFlow

CONFIG = Path(__file__).parents[2] / "configs" / "speechflow_f0_nemo.yaml"
CONVERTER = "--model.init_args.model.init_args.f0_converter.init_args."


def words(toy: Path, run: Path, trained: Path, steps: int) -> list[str]:
    sizes = ["rhythm_channels=32", "pitch_channels=16"]
    return [
        "fit", "-c", str(CONFIG), "--run", str(run), f"--data.manifest={toy}", *SMALL,
        f"{NET}f0_head_dim=16", *(CONVERTER + size for size in sizes),
        f"--model.init_args.init_from={trained}", f"--trainer.max_steps={steps}",
        "--trainer.val_check_interval=3",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def converter(toy: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of an F0 converter, resumed once."""
    run = tmp_path_factory.mktemp("f0") / "run"
    cli(words(toy, run, trained, 3))
    cli([*words(toy, run, trained, 6), "--resume=true"])
    return run


def test_only_the_converter_was_trained(converter: Path, trained: Path) -> None:
    assert list(curve(converter, "train/loss")) == list(range(6))
    ours = SpeechFlow.from_checkpoint(converter / "checkpoints" / "last.ckpt").state_dict()
    before = SpeechFlow.from_checkpoint(trained / "checkpoints" / "last.ckpt").state_dict()
    assert all(torch.equal(ours[name], value) for name, value in before.items())
    assert any(name.startswith("f0_converter.") for name in ours.keys() - before.keys())


def test_a_run_converts_by_the_tracker_it_was_trained_with(
    converter: Path, trained: Path, tmp_path: Path
) -> None:
    """Its checkpoint names the store's tracker; one from before that was so has DIO."""
    for run in (trained, converter):
        checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        settings = checkpoint["hyper_parameters"]["model"]["init_args"]
        model = SpeechFlow.from_checkpoint(run / "checkpoints" / "last.ckpt")
        assert isinstance(model.f0, SwiftF0)
        assert settings["f0"]["init_args"] == model.f0.settings
        settings["f0"] = None
        torch.save(checkpoint, tmp_path / "old.ckpt")
        assert isinstance(SpeechFlow.from_checkpoint(tmp_path / "old.ckpt").f0, Dio)


def test_pitch_alone_keeps_the_timing(
    converter: Path, trained: Path, toy: Path, tmp_path: Path
) -> None:
    rows = [u for u in read_manifest(toy) if u.split == "test"]
    neutral = next(u for u in rows if u.emotion == "neutral")
    angry = next(u for u in rows if u.emotion == "angry" and u.speaker == neutral.speaker)
    for run, settings in ((converter, []), (trained, ["factors=[pitch]"])):  # or the F0 head's
        out = tmp_path / f"{len(settings)}.wav"
        convert(run, [neutral.path], out, reference=[angry.path], set=settings)
        wav, rate = read_wav(out)
        assert abs(len(wav) / rate - neutral.seconds) < 0.02
    model = SpeechFlow.from_checkpoint(trained / "checkpoints" / "last.ckpt")
    model.factors, model.net.f0_head = ("pitch",), None
    source, reference = (read_speech(u.path, 22_050) for u in (neutral, angry))
    with pytest.raises(UserError, match="needs an F0 converter; train one"):
        model.convert(source, EmotionTarget([reference]))


def test_the_run_is_validated_and_scored(converter: Path, toy: Path, tmp_path: Path) -> None:
    fit_main("validate", ["--run", str(converter)])
    evaluate(converter, toy, tmp_path / "report", pairs=2)
    assert (tmp_path / "report" / "index.html").exists()
