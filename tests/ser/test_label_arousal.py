"""Pseudo-labels of arousal on toy speech: their scale, their files, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.emoconv_diff.preparation import label_source
from emovc.ser.arousal import ArousalRegressor
from emovc.ser.functionals import load_functionals, measure
from emovc.ser.label_arousal import label_arousal, main

LOWEST, HIGHEST = 10.0, 90.0


def some(toy: Path, name: str, n_train: int = 12, n_test: int = 4) -> Path:
    """A small manifest beside that of the toy corpus."""
    rows = read_manifest(toy)
    chosen: list[Utterance] = []
    for split, count in (("train", n_train), ("test", n_test)):
        chosen += [u for u in rows if u.split == split][:count]
    write_manifest(toy.parent / name, chosen)
    return toy.parent / name


@pytest.fixture(scope="module")
def labelled(toy: Path) -> Path:
    """The small manifest with labels; the files beside it are named ``labelled.arousal.*``."""
    out = toy.parent / "labelled.jsonl"
    label_arousal(some(toy, "plain.jsonl"), out, lowest=LOWEST, highest=HIGHEST)
    return out


def test_percentiles_of_the_training_part_are_levels_1_and_7(labelled: Path) -> None:
    rows = read_manifest(labelled)
    levels = np.array([u.arousal for u in rows], dtype=float)
    assert levels.min() >= 1 and levels.max() <= 7
    training = levels[[u.split == "train" for u in rows]]
    assert len(set(training)) == 10  # of 12, two are clipped at either end
    assert (training == 1).sum() == (training == 7).sum() == 2


def test_nothing_but_the_arousal_changes(labelled: Path) -> None:
    plain = read_manifest(labelled.parent / "plain.jsonl")
    for before, after in zip(plain, read_manifest(labelled), strict=True):
        assert before.arousal is None and after.arousal is not None
        assert (before.id, before.path, before.split) == (after.id, after.path, after.split)


def test_the_stored_regression_predicts_the_labels(labelled: Path) -> None:
    rows = read_manifest(labelled)
    regressor = ArousalRegressor.load(labelled.with_suffix(".arousal.safetensors"))
    features, silent = measure(load_functionals(regressor.functionals), rows)
    wanted = [(u.arousal - 1) / 6 for u in rows if u.arousal is not None]
    assert not silent
    np.testing.assert_allclose(regressor.predict(features), wanted, atol=1e-4)

    shipped = ArousalRegressor.load()
    raw = features @ shipped.weight + shipped.bias
    training = raw[[u.split == "train" for u in rows]]
    low, high = np.percentile(training, [LOWEST, HIGHEST])
    np.testing.assert_allclose(wanted, np.clip((raw - low) / (high - low), 0, 1), atol=1e-4)


def test_training_learns_where_the_labels_are_from(labelled: Path) -> None:
    regressor = ArousalRegressor.load(labelled.with_suffix(".arousal.safetensors"))
    found = label_source(labelled)
    assert found is not None and found == read_json(labelled.with_suffix(".arousal.json"))
    assert found["weights"] == regressor.hash != ArousalRegressor.load().hash
    assert found["scale"]["of"] == "percentiles 10 and 90 of the training part"
    assert found["scale"] == regressor.report["scale"] and "nobody rated" in found["labels"]
    assert label_source(labelled.parent / "plain.jsonl") is None


def test_ratings_are_not_replaced(labelled: Path) -> None:
    with pytest.raises(UserError, match=r"labelled.jsonl: has ratings of arousal"):
        label_arousal(labelled, labelled.parent / "again.jsonl")
    assert not (labelled.parent / "again.jsonl").exists()


def test_labels_stay_beside_the_features(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must lie beside plain.jsonl"):
        label_arousal(labelled.parent / "plain.jsonl", tmp_path / "labelled.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("lowest", "highest"), [(50.0, 50.0), (90.0, 10.0), (-1.0, 5.0), (1, 101)])
def test_percentiles_that_are_none_are_refused(toy: Path, lowest: float, highest: float) -> None:
    with pytest.raises(UserError, match="give 0 to 100, the lower first"):
        label_arousal(toy, toy.parent / "x.jsonl", lowest=lowest, highest=highest)


def test_a_training_part_with_different_recordings_is_needed(toy: Path) -> None:
    with pytest.raises(UserError, match="has no training part"):
        label_arousal(some(toy, "untrained.jsonl", 0, 1), toy.parent / "x.jsonl")
    with pytest.raises(UserError, match="all recordings have one arousal"):
        label_arousal(some(toy, "single.jsonl", 1, 0), toy.parent / "x.jsonl")
    assert not (toy.parent / "x.jsonl").exists()


def test_the_command_says_how_many_are_of_which_level(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = toy.parent / "three.jsonl"
    args = [str(some(toy, "three_plain.jsonl", 3, 0)), "-o", str(out), "--lowest", "0"]
    main("label-arousal", [*args, "--highest", "100"])
    said = capsys.readouterr().out
    assert "1 of level 1," in said and "1 of level 7\n" in said and str(out) in said
    levels = sorted(u.arousal or 0 for u in read_manifest(out))
    assert levels[0] == 1 and levels[2] == 7 and 1 < levels[1] < 7


def test_on_the_stretched_scale_the_low_is_0_and_the_high_is_1() -> None:
    plain = ArousalRegressor("toy", np.array([0.5, -0.25]), 0.125, ("x",), {"made": "by hand"})
    wide = plain.stretched(0.375, 0.625, "halves")
    rows = np.array([[0.5, 0.0], [1.0, 0.0], [0.75, 0.0], [-9.0, 0.0], [9.0, 0.0]])
    assert wide.predict(rows).tolist() == [0.0, 1.0, 0.5, 0.0, 1.0]
    assert wide.report["scale"] == {"of": "halves", "0": 0.375, "1": 0.625}
    assert wide.report["made"] == "by hand" and "scale" not in plain.report
    assert wide.hash != plain.hash and (wide.functionals, wide.corpora) == ("toy", ("x",))
