"""The judge of strength and the command that makes its rankings, on toy speech and by hand."""

from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.judging import Goal, Judge
from emovc.common.manifest import read_manifest
from emovc.common.wav import read_wav
from emovc.ser.ranking import Scale
from emovc.ser.strength import StrengthRanker
from emovc.ser.strength_judge import StrengthJudge, main
from emovc.ser.world_functionals import WorldFunctionals

OWN = WorldFunctionals()
MEASURED, ERROR = f"strength_{OWN.name}", f"strength_rmse_{OWN.name}"
GOAL = Goal("angry", None, None, "x_a")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> StrengthJudge:
    """Strength is F0 above 100 Hz in octaves for speaker x_a, and half of it for others."""
    weight = np.zeros(len(OWN.names))
    weight[OWN.names.index("f0_st.mean")] = 1 / 12
    scales = {("x_a", "angry"): Scale(weight, 0.0), ("*", "angry"): Scale(weight / 2, 0.0)}
    path = tmp_path_factory.mktemp("ranker") / "ranker.safetensors"
    StrengthRanker(OWN.name, scales, ("toy",), {"held_out": "test"}).save(path)
    return StrengthJudge(path)


def heard(semitones: float) -> np.ndarray:
    """Functionals whose F0 lies so far above 100 Hz."""
    numbers = np.zeros(len(OWN.names))
    numbers[OWN.names.index("f0_st.mean")] = semitones
    return numbers


def test_it_is_a_judge_whose_metrics_bear_the_name_of_the_functionals(judge: Judge) -> None:
    assert judge.name == "emovc-functionals-1"
    assert set(judge.metrics) == {MEASURED, ERROR}
    assert judge.about["trained_on"] == ["toy"] and len(judge.about["weights"]) == 12
    assert judge.about["held_out"] == "test"


def test_a_tone_is_heard_at_its_height(judge: StrengthJudge) -> None:
    phase = 2 * np.pi * 150 * np.arange(16_000) / 16_000
    wav = 0.1 * np.sum([np.sin(k * phase) / k for k in range(1, 20)], axis=0)
    found = judge.judge(judge.hear(wav.astype(np.float32), 16_000), {}, GOAL)
    assert found.metrics[MEASURED] == pytest.approx(np.log2(1.5), abs=0.01)


def test_the_error_is_signed_and_against_the_target_recording(judge: StrengthJudge) -> None:
    found = judge.judge(heard(3.0), {"target": heard(9.0)}, GOAL)
    assert found.metrics == {MEASURED: pytest.approx(0.25), ERROR: pytest.approx(-0.5)}
    assert found.labels == {"strength_ranker": "the speaker's"} and not found.gaps


def test_the_error_of_the_target_itself_is_zero(judge: StrengthJudge) -> None:
    assert judge.judge(heard(9.0), {"target": heard(9.0)}, GOAL).metrics[ERROR] == 0


def test_strength_that_was_asked_for_goes_before_the_target(judge: StrengthJudge) -> None:
    goal = GOAL._replace(strength=0.1)
    found = judge.judge(heard(3.0), {"target": heard(9.0)}, goal)
    assert found.metrics[ERROR] == pytest.approx(0.15)


def test_an_unseen_speaker_is_judged_by_the_pooled_ranking_and_labelled(
    judge: StrengthJudge,
) -> None:
    found = judge.judge(heard(6.0), {"target": heard(6.0)}, GOAL._replace(speaker="y_b"))
    assert found.metrics[MEASURED] == pytest.approx(0.25)
    assert found.labels == {"strength_ranker": "pooled over speakers"}


def test_what_cannot_be_judged_is_a_gap(judge: StrengthJudge) -> None:
    neutral = judge.judge(heard(6.0), {}, GOAL._replace(emotion="neutral"))
    assert neutral.metrics == {} and neutral.gaps == (
        "strength of neutral is not known to the ranker",
    )
    alone = judge.judge(heard(6.0), {}, GOAL)
    assert set(alone.metrics) == {MEASURED} and len(alone.gaps) == 1
    with pytest.raises(UserError, match="silent"):
        judge.hear(np.zeros(16_000, np.float32), 16_000)


def test_the_command_makes_a_ranker_that_orders_held_out_speech(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ranker.safetensors"
    main("rank", [str(toy), "-o", str(out), "--functionals", OWN.name])
    printed = capsys.readouterr().out
    made = StrengthJudge(out)
    accuracy = made.about["ordering_accuracy"]

    assert made.ranker.corpora == ("toy",) and made.about["held_out"] == "test"
    assert accuracy and min(accuracy.values()) > 0.8
    assert all(emotion in printed for emotion in accuracy) and str(out) in printed
    utterances = [u for u in read_manifest(toy) if u.split == "train"]
    means = {
        emotion: np.mean(
            [
                made.ranker.score(made.hear(*read_wav(u.path)), u.speaker, "angry").value
                for u in utterances
                if u.emotion == emotion
            ][:6]
        )
        for emotion in ("neutral", "angry")
    }
    assert means["angry"] > means["neutral"] + 0.3


def test_a_manifest_without_emotions_to_learn_from_is_refused(toy: Path, tmp_path: Path) -> None:
    text = toy.read_text(encoding="utf-8").replace('"split": "train"', '"split": "unused"')
    (tmp_path / "manifest.jsonl").write_text(text, encoding="utf-8")
    out = tmp_path / "ranker.safetensors"
    with pytest.raises(UserError, match="split train has no emotions"):
        main("rank", [str(tmp_path / "manifest.jsonl"), "-o", str(out), "--functionals", OWN.name])
    assert not out.exists()


def test_a_ranking_near_chance_is_called_so(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No pairs of the held-out split: nothing is known of any emotion."""
    args = [
        "-o",
        str(tmp_path / "r.safetensors"),
        "--functionals",
        OWN.name,
        "--held_out",
        "unused",
    ]
    main("rank", [str(toy), *args])
    assert "not tested for all emotions" in capsys.readouterr().out
