"""Arousal: pseudo-labels, ridge regression, levels, and the regression of the package."""

from pathlib import Path

import numpy as np
import pytest

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.judging import Goal
from emovc.common.manifest import Utterance
from emovc.common.metrics import correlation
from emovc.ser.arousal import (
    LEVELS,
    SHIPPED,
    ArousalRegressor,
    arousal_level,
    arousal_target,
    fit_ridge,
    level_errors,
    pseudo_arousal,
)
from emovc.ser.arousal_judge import PseudoArousalJudge, judge_arousal
from emovc.ser.functionals import measure
from emovc.ser.train_arousal import draw_speakers, main
from emovc.ser.world_functionals import WorldFunctionals

OWN = WorldFunctionals()
GOAL = Goal("angry", None, None, "x_a")


def test_levels_and_the_scale_from_0_to_1_are_inverse() -> None:
    assert [arousal_target(level) for level in (1, 4, 7)] == [0.0, 0.5, 1.0]
    assert [arousal_level(arousal_target(level)) for level in LEVELS] == list(LEVELS)


def test_no_control_has_the_errors_of_the_papers_table() -> None:
    """A constant 0.5 over the seven levels: L_mse .1111 and L_abs 28.57 %."""
    errors = level_errors(np.full(7, 0.5), np.array(LEVELS))
    assert errors["all"].mse == pytest.approx(1 / 9, abs=1e-12)
    assert errors["all"].absolute == pytest.approx(200 / 7, abs=1e-9)
    assert errors["4"].mse == 0 and errors["1"].mse == errors["7"].mse == 0.25
    assert errors["all"].n == 7 and errors["2"].n == 1


def test_the_judges_means_are_the_papers_errors() -> None:
    verdicts = [judge_arousal("x", 0.5, GOAL._replace(arousal=float(c))) for c in LEVELS]
    assert np.mean([v.metrics["arousal_mse_x"] for v in verdicts]) == pytest.approx(1 / 9)
    assert np.mean([v.metrics["arousal_abs_x"] for v in verdicts]) == pytest.approx(200 / 7)
    assert [v.labels["arousal_level"] for v in verdicts] == [str(c) for c in LEVELS]


def test_without_a_level_arousal_is_only_measured() -> None:
    assert judge_arousal("x", 0.7, GOAL) == ({"arousal_x": 0.7}, {}, ())


def test_pseudo_labels_order_emotions_and_intensities() -> None:
    labels = {emotion: pseudo_arousal(emotion) for emotion in EMOTIONS}
    assert all(value is not None and 0 <= value <= 1 for value in labels.values())
    order = ["bored", "calm", "sad", "neutral", "disgust", "happy", "angry", "fear", "surprise"]
    assert sorted(labels, key=lambda emotion: labels[emotion] or 0) == order
    strong, normal = pseudo_arousal("sad", "strong"), pseudo_arousal("sad", "normal")
    assert strong is not None and normal is not None and strong > normal
    assert pseudo_arousal("neutral", "normal") == 0.5 and pseudo_arousal(None) is None


def test_ridge_is_least_squares_without_penalty_and_the_mean_with_endless() -> None:
    rng = np.random.default_rng(0)
    x, truth = rng.normal(3, [1.0, 10.0, 0.1], size=(50, 3)), np.array([0.5, -0.2, 4.0])
    y, share = x @ truth + 7 + 0.1 * rng.normal(size=50), np.full(50, 1 / 50)
    weight, bias = fit_ridge(x, y, share, 1e-12)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(50)]), y, rcond=None)[0]
    np.testing.assert_allclose([*weight, bias], expected, rtol=1e-6)
    weight, bias = fit_ridge(x, y, share, 1e12)
    assert np.abs(weight).max() < 1e-9 and bias == pytest.approx(y.mean())


def test_the_gradient_of_the_ridge_vanishes_at_its_solution() -> None:
    rng = np.random.default_rng(1)
    x, y, share = rng.normal(size=(40, 4)), rng.normal(size=40), rng.dirichlet(np.ones(40))
    mean = share @ x
    std = np.sqrt(share @ np.square(x - mean))
    weight, bias = fit_ridge(x, y, share, 0.3)
    residual = y - x @ weight - bias
    gradient = ((x - mean) / std).T @ (share * residual) - 0.3 * weight * std
    np.testing.assert_allclose(gradient, 0, atol=1e-12)
    assert share @ residual == pytest.approx(0, abs=1e-12)


def acted(n: int, corpus: str, seed: int) -> tuple[list[Utterance], np.ndarray]:
    """Utterances with two features, of which the first is the pseudo-label and noise."""
    rng = np.random.default_rng(seed)
    emotions = rng.choice(["angry", "sad", "neutral"], n)
    utterances = [
        Utterance(f"{corpus}/{i}", Path("x"), "", 1, 1, f"{corpus}_{i % 5}", corpus, emotion=str(e))
        for i, e in enumerate(emotions)
    ]
    labels = np.array([pseudo_arousal(str(e)) for e in emotions], dtype=float)
    return utterances, np.column_stack([labels + 0.05 * rng.normal(size=n), rng.normal(size=n)])


def test_the_regression_finds_what_the_labels_say_and_stays_within_0_and_1(tmp_path: Path) -> None:
    utterances, features = acted(200, "x", 0)
    regressor = ArousalRegressor.fit(utterances, features, "toy", 0.01)
    new, rows = acted(100, "x", 1)
    labels = np.array([pseudo_arousal(u.emotion) for u in new], dtype=float)
    assert correlation(regressor.predict(rows), labels) > 0.95
    np.testing.assert_array_equal(regressor.predict(np.array([[99.0, 0], [-99.0, 0]])), [1, 0])

    regressor.save(tmp_path / "a.safetensors")
    loaded = ArousalRegressor.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded.predict(rows), regressor.predict(rows))
    assert loaded.hash == regressor.hash and loaded.corpora == ("x",)


def test_every_corpus_weighs_the_same_whatever_its_size() -> None:
    """Copying a corpus ten times changes nothing."""
    (a, rows_a), (b, rows_b) = acted(60, "x", 0), acted(60, "y", 1)
    rows_b = rows_b + [0.3, 0.0]
    once = ArousalRegressor.fit([*a, *b], np.concatenate([rows_a, rows_b]), "toy", 0.1)
    many = ArousalRegressor.fit([*a, *b * 10], np.concatenate([rows_a, *[rows_b] * 10]), "toy", 0.1)
    np.testing.assert_allclose(many.weight, once.weight, rtol=1e-9)


def test_speech_without_emotions_teaches_no_arousal() -> None:
    with pytest.raises(UserError, match="no utterance has an emotion"):
        ArousalRegressor.fit(
            [Utterance("x/1", Path("x"), "", 1, 1, "a", "x")], np.ones((1, 2)), "toy", 1
        )


def test_test_speakers_are_of_every_corpus_and_leave_some_to_learn_from() -> None:
    utterances = [*acted(50, "x", 0)[0], *acted(50, "y", 0)[0]]
    chosen = draw_speakers(utterances, 0.4, 0)
    assert [s[0] for s in chosen] == ["x", "x", "y", "y"]
    assert chosen == draw_speakers(utterances, 0.4, 0) != draw_speakers(utterances, 0.4, 1)
    with pytest.raises(UserError, match="has one speaker"):
        draw_speakers(utterances[:1], 0.4, 0)


def test_the_command_learns_and_reports_speakers_left_out(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "arousal.safetensors"
    main("train-arousal", [str(toy), "-o", str(out)])
    regressor = ArousalRegressor.load(out)
    assert regressor.report["held_out"]["toy"]["correlation"] > 0.5
    assert len(regressor.report["held_out_speakers"]) == 1
    assert "correlation" in capsys.readouterr().out


def test_the_regression_of_the_package_is_small_and_hears_real_arousal(shared: Path) -> None:
    """One speaker it wasn't learned from and the same words: anger is more active than sadness."""
    assert SHIPPED.stat().st_size < 200_000
    judge = PseudoArousalJudge()
    assert judge.functionals.name == "emovc-functionals-1"
    held_out = [s for s in judge.about["held_out_speakers"] if s.startswith("nemo")]
    speaker = held_out[0].removeprefix("nemo_")
    rows = [
        Utterance(f"nemo/{emotion}{i}", shared / f"data/nemo/samples/{speaker}_{emotion}_{i}.flac",
                  "", 1, 1, speaker, "nemo", emotion=emotion)
        for emotion in ("anger", "sadness") for i in range(1, 6)
    ]  # fmt: skip
    features, _ = measure(judge.functionals, rows)
    found = judge.regressor.predict(features)
    assert found[:5].mean() > found[5:].mean() + 0.1


def test_the_judge_of_pseudo_arousal_hears_silence_as_a_mistake() -> None:
    judge = PseudoArousalJudge()
    assert set(judge.metrics) == {"arousal_pseudo", "arousal_mse_pseudo", "arousal_abs_pseudo"}
    with pytest.raises(UserError, match="silent"):
        judge.hear(np.zeros(16_000, np.float32), 16_000)
