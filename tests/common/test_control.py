"""What is said of values that should follow levels."""

import math

import numpy as np
import pytest

from emovc.common.control import prosody
from emovc.common.control_report import Levels, draw, order_of
from emovc.common.metrics import Analysis
from emovc.common.scores import Score, table

LEVELS = [0.0, 0.5, 1.0]


def series(pair: str, values: list[float]) -> list[Score]:
    rows = zip(LEVELS, values, strict=True)
    return [
        Score(pair, f"{level:g}", "s", "angry", {"strength_x": value, "strength_rmse_x": 0.0})
        for level, value in rows
    ]


def test_order_of_rising_falling_and_flat_series() -> None:
    scores = series("up", [0.1, 0.2, 0.3]) + series("down", [0.3, 0.2, 0.1])
    found = order_of(scores, LEVELS, "strength_x")
    assert found == (0.0, 0.5, 0.5, 2)
    assert order_of(series("flat", [1, 1, 1]), LEVELS, "strength_x") == (0.0, 0.0, 0.0, 1)


def test_order_by_hand() -> None:
    """Ranks 1 3 2 against 1 2 3 correlate by a half."""
    found = order_of(series("a", [0.1, 0.9, 0.4]), LEVELS, "strength_x")
    assert found.spearman == pytest.approx(0.5)
    assert (found.rising, found.monotone) == (0.5, 0.0)


def test_incomplete_series_are_left_out() -> None:
    scores = series("a", [0.1, 0.2, 0.3]) + series("b", [0.1, 0.2, 0.3])[:2]
    assert order_of(scores, LEVELS, "strength_x").pairs == 1
    assert math.isnan(order_of(scores[3:], LEVELS, "strength_x").spearman)


def test_measures_of_a_quantity_leave_its_errors_out() -> None:
    headings = {"mcd_db": "", "strength_x": "", "strength_rmse_x": "", "arousal_x": ""}
    assert Levels("strength", LEVELS).measured(headings) == ["strength_x"]


def test_prosody_of_an_octave() -> None:
    """Half the frames an octave above the others: six semitones of deviation."""
    f0_hz = np.repeat([100.0, 200.0, 0.0], 20)
    found = prosody(Analysis(np.zeros((60, 24)), f0_hz, np.zeros(60), 0.3))
    assert found == pytest.approx({"f0_mean_hz": 150.0, "f0_sd_st": 6.0})
    silent = prosody(Analysis(np.zeros((60, 24)), np.zeros(60), np.zeros(60), 0.3))
    assert all(math.isnan(v) for v in silent.values())


def test_figure_draws_levels_that_have_values() -> None:
    scores = series("a", [0.1, float("nan"), 0.3])
    rows = table(scores, {"strength_x": "strength"})
    axis = draw(Levels("strength", LEVELS), rows, ["strength_x"], {"strength_x": "s"}).axes[0]
    assert list(axis.lines[0].get_xdata()) == [0.0, 1.0]
