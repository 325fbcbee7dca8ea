"""Workspace, report and aligned audio, without a network."""

import json
from pathlib import Path
from typing import Any

import pytest
import wandb
import wandb_workspaces.reports.v2 as wr
from tests.common.evaluations import pair, write_evaluation
from tests.integration.test_wandb import records

from emovc.common.comparison import Comparison, align
from emovc.common.comparison_reading import read_evaluations
from emovc.common.errors import UserError
from emovc.common.files import write_json, write_text
from emovc.common.wandb_publish import listened, publish
from emovc.common.wandb_report import (
    MEDIA,
    build_report,
    build_workspace,
    run_folders,
    score_keys,
    shared_curves,
)

CURVES = ["train/loss", "val/loss", "val/mel_l1", "opt/lr", "progress/samples", "progress/hours"]
BARS = ["MCD (dB)", "speaker similarity", "emotion accuracy (ear)", "emotion accuracy (other)"]
SCATTER = [f"{bar} against speaker similarity" for bar in BARS[2:]]


def run(folder: Path, name: str, *more: str) -> Path:
    """A run's folder as far as it is looked at."""
    write_json(folder / name / "run.json", {"id": f"r{name}"})
    write_text(folder / name / "metrics.csv", ",".join(["step", *more, *CURVES]) + "\n")
    return folder / name


@pytest.fixture
def two(tmp_path: Path) -> Comparison:
    """Evaluations of two runs with a curve of their own each."""
    folders = []
    for name, more in (("one", "train/loss_mel"), ("two", "train/loss_adversarial")):
        model = str(run(tmp_path / "runs", name, more))
        folders.append(write_evaluation(tmp_path / f"report_{name}", model, n_pairs=5))
    (folders[1] / "audio" / "model" / f"{pair(1)}.wav").unlink()
    return align(read_evaluations(folders, None))


def test_curves_and_scores_that_all_models_have(two: Comparison) -> None:
    runs = list(run_folders(two).values())
    assert shared_curves(runs) == CURVES
    assert "train/loss_mel" in shared_curves(runs[:1])
    assert score_keys(two)["mcd_db"] == "eval/toy_test/mcd_db"
    assert len(score_keys(two)) == 4  # those by emotion have no panel
    (runs[1] / "metrics.csv").unlink()
    with pytest.raises(UserError, match=r"two/metrics.csv: no such file"):
        shared_curves(runs)


def test_workspace_has_its_sections_and_panels_over_the_samples(two: Comparison) -> None:
    built = build_workspace(two, "emovc", "lab")
    panels = {s.name: [p.title for p in s.panels] for s in built.sections}
    assert panels == {
        "Progress": ["opt/lr", "progress/hours"],
        "Training losses": ["train/loss"],
        "Validation losses": ["val/loss", "val/mel_l1"],
        "Scores": [*BARS, *SCATTER],
        "Listening": MEDIA,
    }
    assert built.settings.x_axis == "progress/samples"
    curves = [p for s in built.sections for p in s.panels if isinstance(p, wr.LinePlot)]
    assert {str(p.x) for p in curves} == {"progress/samples"}
    assert (built.entity, built.project, built.name) == ("lab", "emovc", "one and two")
    sent = json.loads(built._to_model().model_dump_json(by_alias=True))["spec"]["section"]
    assert sent["settings"]["xAxis"] == "progress/samples"
    assert sent["runSets"][0]["filters"]["filters"][0]["value"] == ["rone", "rtwo"]


def test_report_has_bars_scatter_audio_and_run_comparer(two: Comparison) -> None:
    report = build_report(two, "emovc", "lab", "| a | table |")
    heads = [b.text for b in report.blocks if isinstance(b, wr.H2)]
    assert heads == ["Scores", "Losses", "Listening", "Runs"]
    grids = [b for b in report.blocks if isinstance(b, wr.PanelGrid)]
    scores, losses, listening, runs = (grid.panels for grid in grids)
    assert [p.title for p in scores if isinstance(p, wr.BarPlot)] == BARS
    scatter = [p for p in scores if isinstance(p, wr.ScatterPlot)]
    assert [p.title for p in scatter] == SCATTER
    assert scatter[0].x == wr.SummaryMetric("eval/toy_test/speaker_similarity")
    assert scatter[0].y == wr.SummaryMetric("eval/toy_test/emotion_accuracy_ear")
    assert [p.title for p in losses] == ["train/loss", "val/loss", "val/mel_l1"]
    assert [(p.media_keys, p.grid_x_axis, p.grid_y_axis) for p in listening] == [
        ([key], "index", "run") for key in MEDIA
    ]
    assert [type(p) for p in runs] == [wr.RunComparer]
    assert any(isinstance(b, wr.MarkdownBlock) and "table" in b.text for b in report.blocks)
    assert {r.project for grid in grids for r in grid.runsets} == {"emovc"}
    assert report.id == ""  # W&B gives one when it is saved


def test_audio_is_logged_offline_with_the_same_sentences_in_each_run(
    two: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    lines = publish(two, "emovc", None, "")
    assert lines[-1].startswith("W&B is offline")
    wandb.teardown()  # the files are whole when W&B's process has ended
    expected = [pair(i) for i in (0, 2, 3, 4)]  # one has no recording of one of the models
    assert listened(two) == expected
    captions, tables = [], []
    for name, folder in run_folders(two).items():
        media = logged(folder)
        assert set(MEDIA) | {"media/compared"} == set(media), name
        captions.append([media[key]["captions"] for key in MEDIA])
        tables.append((media["media/compared"]["nrows"], media["media/compared"]["ncols"]))
        sounds = list(folder.glob("wandb/offline-run-*/files/media/audio/**/*.wav"))
        assert len(sounds) == 4 * len(MEDIA)
    assert captions[0] == captions[1] == [expected] * len(MEDIA)
    assert tables == [(4, 7)] * 2


def logged(folder: Path) -> dict[str, Any]:
    """Media of a run's offline folder by key."""
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, Any] = {}
    for item in (item for record in records(file) for item in record.history.item):
        key, *field = item.nested_key or [item.key]
        if key.startswith("media/"):
            found.setdefault(key, {})[field[0]] = json.loads(item.value_json)
    return found


def test_models_without_a_run_are_named_and_the_rest_goes_on(two: Comparison) -> None:
    (run_folders(two)["one"] / "run.json").unlink()
    assert list(run_folders(two)) == ["two"]
    assert publish(two, "emovc", None, "")[0] == "one: no W&B run"
