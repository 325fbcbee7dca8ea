"""W&B's workspace and report that compare runs.

Building the objects needs neither a network nor an account; their ``save()`` uploads them.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emovc.common.comparison import Comparison
from emovc.common.comparison_plots import emotion_metrics, speaker_metrics
from emovc.common.comparison_reading import COPY
from emovc.common.errors import UserError
from emovc.common.run_record import read_run_id

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

AXIS = "progress/samples"
HEARD = ("source", "target", COPY, "model")
MEDIA = [f"media/compared_{row.replace('-', '_')}" for row in HEARD]


def run_folders(comparison: Comparison) -> dict[str, Path]:
    """Folders of the runs by model; exported models have none."""
    folders = {m.name: Path(m.settings.get("model", "")) for m in comparison.models}
    return {name: run for name, run in folders.items() if (run / "run.json").exists()}


def shared_curves(runs: Sequence[Path]) -> list[str]:
    """Curves that all runs logged, in the order of the first.

    Args:
        runs: Folders of runs.

    Raises:
        UserError: A run has no curves.
    """
    found: list[list[str]] = []
    for run in runs:
        path = run / "metrics.csv"
        if not path.exists():
            raise UserError(f"{path}: no such file; --wandb needs the curves of every run")
        with path.open(encoding="utf-8", newline="") as file:
            found.append(next(csv.reader(file), []))
    return [k for k in found[0] if "/" in k and all(k in one for one in found)] if found else []


def score_keys(comparison: Comparison) -> dict[str, str]:
    """Logging keys of the scores that all models have, by metric."""
    keys = [key for key in comparison.models[0].keys if key.count("/") == 2]
    shared = [key for key in keys if all(key in m.keys for m in comparison.models)]
    return {key.split("/")[2]: key for key in shared if key.split("/")[2] in comparison.metrics}


def build_workspace(comparison: Comparison, project: str, entity: str) -> "ws.Workspace":
    """The dashboard: progress, losses, scores and audio, all curves over the samples seen.

    Args:
        comparison: What is compared.
        project: W&B project of the runs.
        entity: User or team of the project.
    """
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    axis = ws.SectionPanelSettings(x_axis=AXIS)
    sections = [
        ws.Section(name=name, panels=panels, is_open=True, panel_settings=axis)
        for name, panels in {
            "Progress": _curves(comparison, "progress/", "sys/", "opt/"),
            "Training losses": _curves(comparison, "train/"),
            "Validation losses": _curves(comparison, "val/"),
            "Scores": _scores(comparison),
            "Listening": _listening(),
        }.items()
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=_title(comparison),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=AXIS),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("ID").isin(_ids(comparison)))
        ),
    )


def build_report(comparison: Comparison, project: str, entity: str, text: str) -> "wr.Report":
    """The report: tables, scores, curves, audio, and how the runs differ.

    Args:
        comparison: What is compared.
        project: W&B project of the runs.
        entity: User or team of the project.
        text: Tables in Markdown.
    """
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces import expr

    runs = wr.Runset(
        entity=entity,
        project=project,
        name="models",
        filters=expr.And(expr.Metric("ID").isin(_ids(comparison))),
    )
    whole = wr.Layout(w=24, h=14)
    blocks: list[Any] = [wr.H1(_title(comparison)), wr.MarkdownBlock(text)]
    for title, panels in {
        "Scores": _scores(comparison),
        "Losses": _curves(comparison, "train/", "val/"),
        "Listening": _listening(),
        "Runs": [wr.RunComparer(diff_only="split", layout=whole)],
    }.items():
        blocks += [wr.H2(title), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        project=project, entity=entity, title=_title(comparison), blocks=blocks, width="fluid"
    )


def _title(comparison: Comparison) -> str:
    return " and ".join(model.name for model in comparison.models)[:120]


def _ids(comparison: Comparison) -> list[str]:
    """W&B ids of the runs."""
    runs = run_folders(comparison).values()
    return [read_run_id(run) for run in runs]


def _curves(comparison: Comparison, *prefixes: str) -> list[Any]:
    """A line plot for each shared curve of some groups."""
    import wandb_workspaces.reports.v2 as wr

    keys = shared_curves(list(run_folders(comparison).values()))
    shown = [k for k in keys if k.startswith(prefixes) and k != AXIS]
    return [wr.LinePlot(title=key, x=AXIS, y=[key]) for key in shown]


def _scores(comparison: Comparison) -> list[Any]:
    """Bars of each metric, and emotion scores against speaker similarities."""
    import wandb_workspaces.reports.v2 as wr

    keys, names = score_keys(comparison), comparison.metrics
    panels: list[Any] = [wr.BarPlot(title=names[m], metrics=[key]) for m, key in keys.items()]
    for emotion in emotion_metrics(keys):
        for speaker in speaker_metrics(keys):
            x, y = wr.SummaryMetric(keys[speaker]), wr.SummaryMetric(keys[emotion])
            title = f"{names[emotion]} against {names[speaker]}"
            panels.append(wr.ScatterPlot(title=title, x=x, y=y))
    return panels


def _listening() -> list[Any]:
    """The aligned audio: a column per sentence, a row per run."""
    import wandb_workspaces.reports.v2 as wr

    whole = wr.Layout(w=24, h=8)
    return [
        wr.MediaBrowser(
            title=key, media_keys=[key], grid_x_axis="index", grid_y_axis="run", layout=whole
        )
        for key in MEDIA
    ]
