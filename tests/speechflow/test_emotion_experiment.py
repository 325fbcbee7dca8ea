"""The emotion experiment: what must be at chance is, what was finished is kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.speechflow.classifiers import ACRNN

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.parsing import run_function
from emovc.common.weights import save_weights
from emovc.speechflow import SpeechFlow, SpeechFlowNet
from emovc.speechflow.converter import Inputs
from emovc.speechflow.emotion_classifier import average_recall
from emovc.speechflow.emotion_data import balanced, cut_windows, draw_parts, window_frames
from emovc.speechflow.emotion_experiment import speechflow_emotion
from emovc.speechflow.emotion_report import PRINTED, ROWS
from emovc.speechflow.emotion_rows import summary

FOUR = ["angry", "happy", "neutral", "sad"]
NET = {
    "content_channels": 16, "content_dim": 2, "rhythm_channels": 16, "pitch_channels": 16,
    "pitch_dim": 2, "decoder_dim": 4, "decoder_layers": 1,
}  # fmt: skip


def export(folder: Path, seed: int, factor: int = 11) -> Path:
    """An exported SpeechFlow with small random weights."""
    torch.manual_seed(seed)
    arguments = NET | {"factor": factor}
    save_weights(SpeechFlow(SpeechFlowNet(**arguments), LogMel()), folder / "model.safetensors")
    net = {"class_path": "emovc.speechflow.SpeechFlowNet", "init_args": arguments}
    parts = {"net": net, "frontend": {"class_path": "emovc.common.audio.LogMel"}}
    model = {"class_path": "emovc.speechflow.SpeechFlow", "init_args": parts}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": model}))
    return folder


@pytest.fixture(scope="module")
def uneven(toy: Path) -> list[Utterance]:
    """The toy corpus with uneven emotions; one speaker is never sad."""
    rows = [u for u in read_manifest(toy) if not (u.speaker == "toy_dan" and u.emotion == "sad")]
    return [u for i, u in enumerate(rows) if i % 7]


def words(toy: Path, out: Path, *runs: Path) -> list[str]:
    """Words of a small experiment."""
    return [
        "--runs", *map(str, runs), "--out", str(out), "--manifest", str(toy), "--cross", str(toy),
        "--seeds", "2", "--iterations", "2", "--batch_size", "4", "--classifier",
        json.dumps(ACRNN),
    ]  # fmt: skip


def test_one_answer_per_speaker_is_exactly_at_chance(uneven: list[Utterance]) -> None:
    rows = balanced(uneven, FOUR)
    rng = np.random.default_rng(0)
    speakers = sorted({u.speaker for u in rows})
    assert speakers == ["toy_anna", "toy_bea", "toy_carl"]
    labels = torch.tensor([FOUR.index(str(u.emotion)) for u in rows])
    for _ in range(20):
        answer = dict(zip(speakers, rng.integers(4, size=3).tolist(), strict=True))
        predictions = torch.tensor([answer[u.speaker] for u in rows])
        assert 100 * average_recall(labels, predictions) == 25.0
    everyone = [u for u in uneven if u.emotion in FOUR]
    labels = torch.tensor([FOUR.index(str(u.emotion)) for u in everyone])
    answers = torch.tensor([len(u.speaker) % 4 for u in everyone])
    assert 100 * average_recall(labels, answers) != 25.0  # without the balance


def test_each_speaker_keeps_as_many_of_each_emotion_as_he_has_of_his_rarest(
    uneven: list[Utterance],
) -> None:
    def count(rows: list[Utterance], speaker: str) -> list[int]:
        return [sum((u.speaker, u.emotion) == (speaker, e) for u in rows) for e in FOUR]

    rows = balanced(uneven, FOUR)
    for speaker in ("toy_anna", "toy_bea", "toy_carl"):
        assert count(rows, speaker) == [min(count(uneven, speaker))] * 4
        assert count(balanced(uneven, FOUR, most=2), speaker) == [2] * 4
    assert rows == balanced(uneven[::-1], FOUR)
    assert rows != balanced(uneven, FOUR, seed=1)


def test_parts_share_no_speaker_and_three_speakers_are_needed(toy: Path) -> None:
    rows = balanced(read_manifest(toy), FOUR)
    parts = [{u.speaker for u in part} for part in draw_parts(rows, seed=3).values()]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 4
    with pytest.raises(UserError, match="2 speakers have all emotions"):
        draw_parts([u for u in rows if u.speaker in ("toy_anna", "toy_dan")], 0)


def test_a_window_lasts_as_long_as_the_authors() -> None:
    assert window_frames(SpeechFlow(SpeechFlowNet(), LogMel())) == 264
    authors = LogMel(sample_rate=16_000)
    assert window_frames(SpeechFlow(SpeechFlowNet(factor=8), authors)) == 192


def test_the_first_and_the_last_window_are_cut_and_padded() -> None:
    mel = torch.arange(2 * 30.0).reshape(2, 1, 30)
    frames = torch.tensor([25, 8])
    mask = (torch.arange(30) < frames[:, None]).float()
    inputs = Inputs(mel * mask[:, None], mel[:, 0], torch.eye(2), mask, frames)
    inputs = inputs._replace(f0=torch.where(mask > 0, inputs.f0, -1.0))
    first, last = cut_windows(inputs, 0, 11)
    assert first[0].tolist() == [list(range(11))]
    assert last[0].tolist() == [list(range(14, 25))]
    (short,) = cut_windows(inputs, 1, 11)
    assert short[0].tolist() == [[*range(30, 38), 0, 0, 0]]
    assert short[1].tolist() == [*range(30, 38), -1, -1, -1]
    assert short[2].tolist() == [0, 1]


def test_nothing_kept_is_at_chance_for_every_seed_and_a_killed_experiment_goes_on(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = export(tmp_path / "model", 0), tmp_path / "out"
    run_function(speechflow_emotion, words(toy, out, run), "reproduce speechflow-emotion")
    said = capsys.readouterr().out
    assert said.count(", seed 1: in-corpus ") == 9
    record = json.loads((out / "speechflow-emotion.json").read_text())
    assert record["settings"]["window_frames"] == 264
    assert "32 of these 64 utterances are in part train of toy-official" in said
    for corpus in ("in-corpus", "cross-corpus"):
        assert record["results"][str(run)]["3"][corpus]["seeds"] == [25.0, 25.0]
        assert record["results"][str(run)]["3"][corpus]["uar"] == 25.0
    assert "| 3 | - | - | - | 25.00 [25.0, 25.0] | 25.00 [25.0, 25.0] | 25.00 | 25.00 |" in said
    assert "speakers" in record["results"]["original speech"]["1"]["in-corpus"]
    assert (out / "speechflow-emotion.png").stat().st_size > 10_000

    table = (out / "speechflow-emotion.csv").read_bytes()
    made = sorted((out / "decisions").iterdir())
    before = {file: file.read_bytes() for file in made}
    assert len(made) == 9 * 2
    made[5].unlink()
    run_function(speechflow_emotion, words(toy, out, run), "reproduce speechflow-emotion")
    again = capsys.readouterr().out
    assert again.count(": in-corpus ") == 1  # only what was missing
    assert {file: file.read_bytes() for file in made} == before
    assert (out / "speechflow-emotion.csv").read_bytes() == table


def test_models_that_cannot_be_compared_are_refused(toy: Path, tmp_path: Path) -> None:
    a, b = export(tmp_path / "a", 0), export(tmp_path / "b", 1, factor=8)
    with pytest.raises(UserError, match="/b: has another mel or factor than .*/a"):
        speechflow_emotion([a, b], tmp_path / "out", toy)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emotions": ["angry", "amused"]}, "--emotions angry amused"),
        ({"emotions": ["angry"]}, "two or more"),
        ({"emotions": ["angry", "disgust"]}, "no speaker has all of angry, disgust"),
        ({"seeds": 0}, "--seeds"),
        ({"most": 0}, "--most"),
        ({"lr": 0.0}, "--lr"),
    ],
)
def test_impossible_settings_are_refused(
    toy: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    run = export(tmp_path / "model", 0)
    with pytest.raises(UserError, match=message):
        speechflow_emotion([run], tmp_path / "out", toy, **change)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_decisions_of_all_seeds_are_put_together() -> None:
    def decisions(predictions: list[int]) -> dict[str, list[object]]:
        speakers = ["a", "a", "b", "b"]
        return {"speakers": speakers, "labels": [0, 1, 0, 1], "predictions": predictions}

    found = summary(
        [{"in-corpus": decisions([0, 1, 0, 0])}, {"in-corpus": decisions([0, 1, 1, 1])}]
    )
    assert found["in-corpus"]["seeds"] == [75.0, 75.0]
    assert found["in-corpus"]["uar"] == 75.0
    # Speaker a is always right, b half of the time: draws of two speakers have 50, 75 or 100.
    assert (found["in-corpus"]["low"], found["in-corpus"]["high"]) == (50.0, 100.0)
    assert (found["in-corpus"]["utterances"], found["in-corpus"]["speakers"]) == (8, 2)


def test_the_printed_numbers_are_recalls_of_the_corpus_they_name() -> None:
    """60, 60, 60 and 120 utterances in SAVEE: every UAR is a multiple of 1/480."""
    assert PRINTED.keys() == ROWS.keys()
    for _, savee, _, savee_cycle in PRINTED.values():
        for value in (savee, savee_cycle):
            assert abs(4.8 * value - round(4.8 * value)) < 0.025
    assert PRINTED[1][:2] == PRINTED[1][2:]
    assert set(PRINTED[3]) == {25.0}
