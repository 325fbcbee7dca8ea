"""The panel: judges from a file, heard once, marked, and excused where they can't hear."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tests.common.whisper_models import TINY_DIM, write_tiny_whisper
from torch import nn

from emovc.common.errors import UserError
from emovc.common.judging import Goal, Verdict
from emovc.common.panel import Failed, Panel, marks_of, model_hashes, read_judges
from emovc.common.ssl_frames import SslFrames
from emovc.common.weights import weights_hash
from emovc.common.whisper import WhisperEncoder

ROOT = Path(__file__).parents[2]
GOAL = Goal("angry", "one two", "en", "anna")


class Loudness:
    """A judge whose verdict can be computed by hand: the peak, and how far it is from the target's.

    It can't hear what is silent.
    """

    def __init__(self, name: str = "loudness", trained_on: list[str] | None = None) -> None:
        self.name = name
        self.metrics = {f"peak_{name}": "peak", f"peak_error_{name}": "error of the peak"}
        self.about = {"trained_on": trained_on or [], "weights": "abc"}
        self.heard = 0

    def hear(self, wav: np.ndarray, sample_rate: int) -> float:
        self.heard += 1
        if not wav.any():
            raise UserError("the recording is silent")
        return float(abs(wav).max())

    def judge(self, heard: float, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        error = heard - recordings["target"]
        metrics = {f"peak_{self.name}": heard, f"peak_error_{self.name}": error}
        gaps = () if "other_speaker" in recordings else ("nobody else",)
        return Verdict(metrics, {"word": goal.emotion}, gaps)


def test_verdicts_of_all_judges_are_joined() -> None:
    panel = Panel([Loudness("a"), Loudness("b")], 8000)
    row, target = panel.hear(np.array([0.5, -0.25])), panel.hear(np.array([0.75, 0.0]))
    verdict, gaps = panel.judge(row, {"source": row, "target": target}, GOAL)
    assert verdict.metrics == {
        "peak_a": 0.5, "peak_error_a": -0.25, "peak_b": 0.5, "peak_error_b": -0.25,
    }  # fmt: skip
    assert gaps == [("a", "nobody else"), ("b", "nobody else")]
    assert list(panel.headings) == list(verdict.metrics)


def test_a_recording_that_a_judge_cannot_hear_is_a_gap() -> None:
    panel = Panel([Loudness()], 8000)
    silent, loud = panel.hear(np.zeros(4)), panel.hear(np.ones(4))
    assert silent["loudness"] == Failed("the recording is silent")
    for row, target in ((silent, loud), (loud, silent)):
        verdict, gaps = panel.judge(row, {"source": loud, "target": target}, GOAL)
        assert verdict.metrics == {}
        assert gaps == [("loudness", "the recording is silent")]


class Languages(Loudness):
    """A judge that keeps the language."""

    def hear_in_language(self, wav: np.ndarray, sample_rate: int, language: str) -> str:
        return language


def test_judges_that_depend_on_the_language_are_given_it() -> None:
    panel = Panel([Loudness("a"), Languages("b")], 8000)
    assert panel.hear(np.ones(4), "pl") == {"a": 1.0, "b": "pl"}
    assert panel.hear(np.ones(4)) == {"a": 1.0, "b": 1.0}


def test_a_control_that_cannot_be_heard_is_left_out() -> None:
    panel = Panel([Loudness()], 8000)
    silent, loud = panel.hear(np.zeros(4)), panel.hear(np.ones(4))
    recordings = {"source": loud, "target": loud, "other_speaker": silent}
    verdict, gaps = panel.judge(loud, recordings, GOAL)
    assert verdict.metrics["peak_loudness"] == 1
    assert gaps == [("loudness", "nobody else")]


@pytest.mark.parametrize("names", [("a", "a")])
def test_judges_of_one_name_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="a stands twice"):
        Panel([Loudness(name) for name in names], 8000)


def test_a_judge_that_saw_the_corpus_is_marked() -> None:
    about = {"trained_on": ["nemo", "emodb"], "weights": "abc"}
    assert marks_of(about, ["nemo", "toy"], set()) == ["saw nemo in training"]
    assert marks_of(about, ["toy"], set()) == []


def test_a_judge_inside_the_model_is_marked() -> None:
    torch.manual_seed(0)

    class Encoder(nn.Linear):
        pretrained = True

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.condition = Encoder(2, 2)
            self.free = nn.Linear(2, 2)

    model = Model()
    assert model_hashes(model) == {weights_hash(model.condition)}
    about = {"trained_on": [], "weights": weights_hash(model.condition)}
    assert "the model" in marks_of(about, [], model_hashes(model))[0]
    about["weights"] = weights_hash(model.free)
    assert marks_of(about, [], model_hashes(model)) == []


def test_a_judge_on_the_whisper_of_a_model_is_marked(tmp_path: Path) -> None:
    folder, other = (
        str(write_tiny_whisper(tmp_path / name, seed=i)) for i, name in enumerate("ab")
    )
    model = nn.ModuleDict({"content": SslFrames(folder, layer=1, dim=TINY_DIM)})
    about = {"weights": "abc", "whisper": WhisperEncoder.from_pretrained(folder, [0]).weights}
    assert marks_of(about, [], model_hashes(model)) == []  # nothing is loaded yet
    model["content"].load()
    assert "the Whisper below it" in marks_of(about, [], model_hashes(model))[0]
    about["whisper"] = WhisperEncoder.from_pretrained(other, [0]).weights
    assert marks_of(about, [], model_hashes(model)) == []


def test_judges_are_built_from_a_file_by_their_class_path(tmp_path: Path) -> None:
    path = tmp_path / "judges.yaml"
    path.write_text("- class_path: emovc.common.audio.LogMel\n")
    with pytest.raises(UserError, match=r"judges\.yaml: .*LogMel is no judge"):
        read_judges(path)
    path.write_text(f"- class_path: {__name__}.Absent\n")
    with pytest.raises(UserError, match=r"judges\.yaml: class .*Absent does not exist"):
        read_judges(path)
    path.write_text("a: 1\n")
    with pytest.raises(UserError, match="not a list of judges"):
        read_judges(path)
    with pytest.raises(UserError, match="no such file of judges"):
        read_judges(tmp_path / "absent.yaml")
    path.write_text("- class_path: emovc.common.judges.speaker_similarity.DvectorSimilarity\n")
    judges, left_out = read_judges(path)
    assert [judge.name for judge in judges] == ["dvector"]
    assert left_out == []


def test_optional_judges_are_left_out_with_their_remedy(tmp_path: Path) -> None:
    path = tmp_path / "judges.yaml"
    entry = """- class_path: emovc.common.judges.intelligibility.Intelligibility
  init_args:
    recogniser:
      class_path: emovc.common.judges.recognisers.Whisper
      init_args: {source: absent}
"""
    other = "- class_path: emovc.common.judges.speaker_similarity.DvectorSimilarity\n"
    path.write_text(entry + other)
    with pytest.raises(UserError, match="absent: no such folder"):
        read_judges(path)
    path.write_text(entry + "  optional: true\n" + other)
    judges, left_out = read_judges(path)
    assert [judge.name for judge in judges] == ["dvector"]
    assert len(left_out) == 1 and "absent: no such folder" in left_out[0]
    path.write_text("- class_path: nowhere.at.all.Judge\n  optional: true\n" + other)
    assert read_judges(path)[1] == ["nowhere.at.all.Judge: nowhere.at is not installed"]
    path.write_text(entry + "  optional: 2\n")
    with pytest.raises(UserError, match="optional: 2; write true or false"):
        read_judges(path)


@pytest.mark.parametrize("name", ["offline", "full"])
def test_panels_of_the_checkout_go_on_without_whisper(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = yaml.safe_load((ROOT / "configs" / "judges" / f"{name}.yaml").read_text())
    path = tmp_path / "judges.yaml"
    path.write_text(yaml.safe_dump([e for e in entries if "intelligibility" in e["class_path"]]))
    monkeypatch.setenv("EMOVC_WHISPER", str(tmp_path / "absent"))
    judges, left_out = read_judges(path, {"en"})
    assert [judge.name for judge in judges] == ["pocketsphinx"]
    assert len(left_out) == 1 and "EMOVC_WHISPER=" in left_out[0]
    judges, left_out = read_judges(path, {"pl", "de"})
    assert judges == [] and left_out[1] == "pocketsphinx: does not know de, pl"
