"""The whole way of EmoConv-Diff: labels, encoder, decoder, resume, convert, evaluate, export."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.integration.emoconv import AVERAGED, NETS, OWNERS, SMALL, words
from tests.integration.runs import curve

from emovc.common.convert import convert
from emovc.common.errors import UserError
from emovc.common.evaluate import evaluate
from emovc.common.export import export
from emovc.common.fit import main as fit_main
from emovc.common.manifest import read_manifest
from emovc.common.pretrained import read_checkpoint
from emovc.common.wav import read_wav
from emovc.emoconv_diff import EmoConvDiff
from emovc.emoconv_diff.experiments import emoconv_arousal
from emovc.emoconv_diff.invariance import emoconv_average_voice
from emovc.emoconv_diff.solvers import emoconv_solvers

JUDGES = [
    {"class_path": "emovc.ser.arousal_judge.PseudoArousalJudge", "init_args": {}},
    {"class_path": "emovc.common.judges.speaker_similarity.DvectorSimilarity"},
]


@pytest.fixture(scope="module")
def trained(labelled: Path, average_voice: Path) -> Path:
    run = average_voice.parent / "decoder"
    fit_main("fit", words(labelled, average_voice, run, 4, *SMALL))
    return run


def test_a_run_leaves_its_record(trained: Path) -> None:
    assert all(len(curve(trained, f"train/loss{k}")) == 4 for k in ("", "_score", "_rec"))
    assert curve(trained, "val/loss_score").keys() == {3}
    bank = json.loads((trained / "bank.json").read_text())
    assert bank["arousal"]["labels"].startswith("pseudo-labels")
    assert all(name.startswith("toy/") for names in bank["levels"].values() for name in names)
    assert (trained / "media" / "00000004" / "reverse.png").stat().st_size > 5000


def test_the_encoder_stays_as_it_was(average_voice: Path, trained: Path) -> None:
    before, after = (
        read_checkpoint(r / "checkpoints" / "last.ckpt") for r in (average_voice, trained)
    )
    for name, value in before["state_dict"].items():
        own = name.replace("model.", "model.encoder.", 1)
        assert torch.equal(value, after["current_model_state"][own]), name


def test_a_stopped_run_goes_on_exactly(labelled: Path, average_voice: Path, tmp_path: Path) -> None:
    """Also if the encoder's run is gone: its weights are in the checkpoint."""
    runs = [tmp_path / name for name in ("whole", "parts")]
    for run, steps in zip(runs, (4, 2), strict=True):
        last = f"--trainer.max_steps={steps}"
        fit_main("fit", [*words(labelled, average_voice, run, 4, *SMALL, AVERAGED), last])
    nowhere = tmp_path / "gone"
    fit_main("fit", words(labelled, nowhere, runs[1], 4, *SMALL, AVERAGED, "--resume=true"))
    whole, parts = (read_checkpoint(r / "checkpoints" / "last.ckpt") for r in runs)
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(whole[key][k], v) for k, v in parts[key].items()), key


def test_convert_takes_arousal_references_or_a_category(
    trained: Path, labelled: Path, tmp_path: Path
) -> None:
    rows = [u for u in read_manifest(labelled) if u.split == "test"]
    source, angry = (next(u for u in rows if u.emotion == e) for e in ("neutral", "angry"))
    outs = [tmp_path / f"{name}.wav" for name in ("arousal", "again", "reference", "emotion")]
    convert(trained, [source.path], outs[0], arousal=6.5)
    convert(trained, [source.path], outs[1], arousal=6.5)
    convert(trained, [source.path], outs[2], [angry.path])
    convert(trained, [source.path], outs[3], emotion="angry", set=["solver=ml", "steps=2"])
    convert(trained, [source.path, angry.path], tmp_path / "both", arousal=6.5, batch_size=2)
    wav, rate = read_wav(outs[0])
    batched = read_wav(tmp_path / "both" / f"{source.path.stem}.wav")[0]
    assert np.abs(batched - wav).max() < 0.1  # Griffin-Lim begins anew for each
    assert abs(len(wav) / rate - source.seconds) < 0.02
    sounds = [out.read_bytes() for out in outs]
    assert sounds[0] == sounds[1]
    assert len(set(sounds)) == 3
    with pytest.raises(UserError, match="--arousal 1 to 7"):
        convert(trained, [source.path], tmp_path / "none.wav")
    with pytest.raises(UserError, match="arousal 8"):
        convert(trained, [source.path], tmp_path / "none.wav", arousal=8)
    assert not (tmp_path / "none.wav").exists()


def test_evaluate_and_export(trained: Path, labelled: Path, tmp_path: Path) -> None:
    evaluate(trained, labelled, tmp_path / "report", pairs=2, accelerator="cpu")
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["rows"]["model"]["mcd_db"]["n"] == 2
    assert summary["gaps"] == []
    export(trained, tmp_path / "exported")
    ours = EmoConvDiff.from_pretrained(tmp_path / "exported").state_dict()
    run = EmoConvDiff.from_checkpoint(trained / "checkpoints" / "last.ckpt").state_dict()
    assert all(torch.equal(ours[k], run[k]) for k in run)


def test_average_voices_are_compared_with_the_mels(
    average_voice: Path, toy: Path, tmp_path: Path
) -> None:
    emoconv_average_voice([average_voice], toy, tmp_path, split="train", pairs=6)
    rows = json.loads((tmp_path / "emoconv_average_voice.json").read_text())["rows"]
    assert rows.keys() == {"the mels", "average_voice"}
    assert rows["the mels"]["words"] > rows["the mels"]["emotion"] > 0
    assert all(
        rows["average_voice"][kind] < rows["the mels"][kind] for kind in ("emotion", "speaker")
    )


def test_experiments(trained: Path, labelled: Path, tmp_path: Path) -> None:
    """The judge that gave the labels is marked, and what was done is not done again."""
    judges, out = tmp_path / "judges.yaml", tmp_path / "arousal"
    JUDGES[0]["init_args"] = {"regressor": str(labelled.with_suffix(".arousal.safetensors"))}
    judges.write_text(yaml.safe_dump(JUDGES))
    emoconv_arousal(trained, judges, out, utterances=2)
    text = (out / "emoconv_arousal.md").read_text()
    assert "| L_mse, always 0.5 | 0.2500 | 0.1111 | 0.0278 | 0.0000 |" in text
    assert " 0.1111 |" in text and " 28.57 |" in text
    assert "pseudo: the model is conditioned on, or was trained with, this network" in text
    before = (out / "emoconv_arousal.csv").read_bytes()
    emoconv_arousal(trained, judges, out, utterances=2)
    assert (out / "emoconv_arousal.csv").read_bytes() == before
    emoconv_solvers(trained, tmp_path / "solvers", utterances=1, evaluations=[1, 2], reference=4)
    rows = json.loads((tmp_path / "solvers" / "emoconv_solvers.json").read_text())["rows"]
    assert rows.keys() == {"ml", "em", "pf", "dpm"}
    assert rows["pf"]["4"][0] == 0 < rows["pf"]["1"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--model.init_args.average_voice=null"], "model.average_voice: is not set"),
        (["--model.init_args.average_voice=nowhere"], "nowhere: neither a run"),
        ([f"{NETS}encoder.init_args.postnet_dim=16"], "postnet_dim 8, the config has 16"),
        (
            [f"{NETS}{x}frontend.init_args.f_max=7600" for x in OWNERS],
            "the encoder was made for another mel",
        ),
        (["--data.init_args.features=[dvector]"], "lacks emotion"),
        ([f"{NETS}emotion.init_args.dim=64", f"{NETS}score.init_args.emotion_dim=64"], "shape"),
        ([f"{NETS}score.init_args.emotion_dim=64"], "score.speaker_dim and emotion_dim"),
        (["--model.init_args.drop_emotion=0.1"], "null_condition"),
    ],
)
def test_bad_input_is_refused(
    change: list[str], said: str, labelled: Path, average_voice: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        fit_main("fit", words(labelled, average_voice, tmp_path / "run", 1, *SMALL, *change))
    assert "\n" not in str(refusal.value)


def test_a_corpus_without_labels_is_told_how_to_get_some(
    toy: Path, labelled: Path, average_voice: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="emovc label-arousal MANIFEST -o OUT"):
        fit_main("fit", words(toy, average_voice, tmp_path / "run", 1, *SMALL))
