"""The whole way of Genner TTS: aligner, durations, synthesizer, synthesis, export."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.integration.commands import Commands
from tests.integration.genner import MODEL, tts_words, words
from tests.integration.runs import curve

from emovc.common.conversion import EmotionTarget, Speech
from emovc.common.convert import convert, read_speech
from emovc.common.errors import UserError
from emovc.common.evaluate import evaluate
from emovc.common.export import export
from emovc.common.fit import main as fit_main
from emovc.common.manifest import read_manifest
from emovc.common.wav import read_wav
from emovc.common.weights import weights_hash
from emovc.genner_tts.aligner import Aligner
from emovc.genner_tts.durations_file import durations_path, read_durations
from emovc.genner_tts.export_durations import export_durations
from emovc.genner_tts.known_durations import measure_durations
from emovc.genner_tts.style_request import StyleRequest
from emovc.genner_tts.synthesize import synthesize
from emovc.genner_tts.synthesizer import GennerTTS

TEXT = "The children painted the garden gate."


def test_durations_name_their_aligner_and_sum_up(
    genner_manifest: Path, genner_aligner: Path
) -> None:
    made, timed = read_durations(durations_path(genner_manifest))
    assert made["weights"] == weights_hash(Aligner.from_pretrained(genner_aligner))
    for u in read_manifest(genner_manifest):
        assert sum(timed[u.sha256].durations) == u.num_samples // 256
        assert min(timed[u.sha256].durations) > 0
    assert curve(genner_aligner, "train/loss").keys() == {0, 1, 2, 3}
    assert curve(genner_aligner, "val/loss").keys() == {3}


def test_a_short_training_finds_the_boundaries(
    genner_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "found.jsonl"
    fit_main("fit", words("aligner", genner_manifest, run, 120))
    export_durations(run, genner_manifest, out)
    capsys.readouterr()
    measure_durations(genner_manifest, "toy", out)
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    own, even = (line[4] for line in lines if line[0] == "| test")
    assert float(own.split()[0]) < 40 < 60 < float(even.split()[0])


def test_the_phases_come_in_turn(genner_run: Path) -> None:
    assert len(curve(genner_run, "train/loss_flow")) == 4
    assert curve(genner_run, "train/loss_guided").keys() == {1, 2, 3}
    assert curve(genner_run, "train/loss_commitment").keys() == {2, 3}
    assert curve(genner_run, "train/perplexity_word").keys() == {2, 3}
    assert curve(genner_run, "val/mel_l1").keys() == {3}


def test_synthesis_follows_its_arguments(
    genner_run: Path, genner_manifest: Path, tmp_path: Path
) -> None:
    reference = next(u for u in read_manifest(genner_manifest) if u.emotion == "angry")
    outs = [tmp_path / f"{name}.wav" for name in ("plain", "again", "seed", "frame", "slow")]
    told, where = [str(reference.text)], [reference.path]
    synthesize(genner_run, TEXT, where, outs[0], "en", told)
    synthesize(genner_run, TEXT, where, outs[1], "en", told)
    synthesize(genner_run, TEXT, where, outs[2], "en", told, seed=1)
    synthesize(genner_run, TEXT, where, outs[3], local="frame")
    synthesize(genner_run, TEXT, where, outs[4], local="none", duration_scale=3)
    sounds = [out.read_bytes() for out in outs]
    assert sounds[0] == sounds[1]
    assert len(set(sounds)) == 4
    assert len(read_wav(outs[4])[0]) > len(read_wav(outs[0])[0])
    with pytest.raises(UserError, match="1 texts for 2 references"):
        synthesize(genner_run, TEXT, where * 2, tmp_path / "none.wav", "en", told)
    with pytest.raises(UserError, match="lam 0.1: needs --quantizer"):
        synthesize(genner_run, TEXT, where, tmp_path / "none.wav", lam=0.1)
    with pytest.raises(UserError, match="can't be said in language en"):
        synthesize(genner_run, "日", where, tmp_path / "none.wav")


def test_the_model_converts_what_has_a_text_and_is_exported(
    genner_run: Path, genner_manifest: Path, tmp_path: Path
) -> None:
    export(genner_run, tmp_path / "exported")
    model = GennerTTS.from_pretrained(tmp_path / "exported")
    run = GennerTTS.from_checkpoint(genner_run / "checkpoints" / "last.ckpt")
    assert all(torch.equal(run.state_dict()[k], v) for k, v in model.state_dict().items())
    rows = read_manifest(genner_manifest)
    source = read_speech(rows[0].path, 22_050)
    known = Speech(source.wav, text=rows[0].text)
    mel = model.convert(known, EmotionTarget([known]))
    assert mel.shape[0] == 80 and mel.isfinite().all()
    assert model.frontend.log_floor <= mel.min()
    model.language = "pl"  # recordings know better
    told = replace(known, language="en")
    assert torch.equal(model.convert(told, EmotionTarget([told])), mel)
    with pytest.raises(UserError, match="language xx: is unknown"):
        model.convert(told, EmotionTarget([replace(known, language="xx")]))
    with pytest.raises(UserError, match="reads the source's text.*give --text TEXT"):
        model.convert(source, EmotionTarget([source]))
    out = tmp_path / "said.wav"
    convert(genner_run, [rows[0].path], out, reference=[rows[0].path], text=str(rows[0].text))
    assert len(read_wav(out)[0]) == mel.shape[1] * 256
    with pytest.raises(UserError, match="has no mel2ph: align it with its text"):
        model.synthesise(TEXT, "en", StyleRequest([source], levels=["phone"]))
    with pytest.raises(UserError, match="needs a reference"):
        model.synthesise(TEXT, "en", StyleRequest())


def test_from_fit_by_synthesis_and_evaluation_to_an_export_that_does_the_same(
    genner_run: Path, genner_manifest: Path, tmp_path: Path
) -> None:
    exported = tmp_path / "exported"
    export(genner_run, exported)
    reference = [next(u.path for u in read_manifest(genner_manifest) if u.emotion == "sad")]
    sounds, scores = [], []
    for name, model in (("run", genner_run), ("folder", exported)):
        synthesize(model, TEXT, reference, tmp_path / f"{name}.wav", "en")
        sounds.append((tmp_path / f"{name}.wav").read_bytes())
        out = tmp_path / name
        evaluate(model, genner_manifest, out, "train", pairs=2, accelerator="cpu")
        scores.append(json.loads((out / "summary.json").read_text())["rows"]["model"])
    assert sounds[0] == sounds[1]
    assert scores[0] == scores[1] and scores[0]["mcd_db"]["n"] == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--model.init_args.aligner=null"], "model.aligner: is not set"),
        (["--data.init_args.durations=null"], "data.durations: is not set"),
        (["--data.init_args.features=[dvector]"], "data.features: lacks f0"),
        ([f"{MODEL}acoustic.init_args.n_phones=5"], "n_phones 5: the training texts have"),
        (["--model.init_args.codes_from=0"], "attention_from 1 must be 0 to codes_from 0"),
    ],
)
def test_bad_input_is_refused(
    change: list[str], said: str, genner_manifest: Path, genner_aligner: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        fit_main("fit", tts_words(genner_manifest, genner_aligner, tmp_path / "run", *change))
    assert "\n" not in str(refusal.value)


def test_two_processes_train_through_all_phases(
    commands: Commands, genner_manifest: Path, genner_aligner: Path, tmp_path: Path
) -> None:
    """In each phase some parts have no gradient, which the processes must not wait for."""
    run = tmp_path / "two"
    more = ["--model.init_args.attention_from=2", "--model.init_args.codes_from=3"]
    more += ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.init_args.batch_size=2"]
    more += [f"{MODEL}acoustic.init_args.emo_norm=zscore"]
    done = commands.run(["fit", *tts_words(genner_manifest, genner_aligner, run, *more)])
    assert done.returncode == 0, done.output
    assert all(math.isfinite(value) for value in curve(run, "train/loss").values())
    assert curve(run, "train/loss_commitment").keys() == {3}
    style = GennerTTS.from_pretrained(run).acoustic.style
    assert style.emotion_sd.min() > 0 and not torch.equal(style.emotion_sd, torch.ones(256))
