"""Brings a comparison to W&B: an aligned table of audio per run, the workspace and the report."""

import os
from pathlib import Path
from typing import Any

from emovc.common.comparison import Comparison
from emovc.common.errors import UserError
from emovc.common.run_record import read_run_id
from emovc.common.wandb_report import HEARD, MEDIA, build_report, build_workspace, run_folders

LISTENED = 12  # sentences logged, as uploads cost


def log_audio(
    comparison: Comparison, model: str, run: Path, project: str, entity: str | None
) -> None:
    """Log a model's audio to its run, the same sentences in the same order as every other model.

    Besides the table there is a list by row, which the media browser lines up between runs.

    Args:
        comparison: What is compared.
        model: Name of the model.
        run: Folder of its run.
        project: W&B project.
        entity: User or team of the project.
    """
    import wandb

    columns = ["source", "target", comparison.copy_of[model], model]
    pairs = listened(comparison)
    table = wandb.Table(columns=["id", "speaker", "emotion", *HEARD])
    for pair in pairs:
        who = comparison.about(pair)
        clips = [wandb.Audio(str(comparison.audio[c][pair])) for c in columns]
        table.add_data(pair, who.speaker, who.emotion, *clips)
    media: dict[str, Any] = {"media/compared": table}
    for key, column in zip(MEDIA, columns, strict=True):
        files = comparison.audio[column]
        media[key] = [wandb.Audio(str(files[pair]), caption=pair) for pair in pairs]
    with wandb.init(
        project=project,
        entity=entity,
        id=read_run_id(run),
        name="/".join(run.parts[-2:]),
        dir=str(run),
        resume="allow",
        mode=_mode(),
    ) as wandb_run:
        wandb_run.log(media)


def listened(comparison: Comparison) -> list[str]:
    """The first sentences that have every recording, or the rows of two runs wouldn't line up."""
    every = comparison.audio.values()
    return [p for p in comparison.pairs if all(p in files for files in every)][:LISTENED]


def publish(comparison: Comparison, project: str, entity: str | None, text: str) -> list[str]:
    """Log the audio and, unless W&B is offline, save the workspace and the report.

    Args:
        comparison: What is compared.
        project: W&B project of the runs.
        entity: User or team of the project; by default the account's.
        text: Tables in Markdown.

    Returns:
        What was done, a line each.

    Raises:
        UserError: The package is missing, or W&B refuses.
    """
    try:
        import wandb
        import wandb_workspaces  # noqa: F401
    except ImportError:
        raise UserError("--wandb: install the extra emovc-common[report]") from None
    runs = run_folders(comparison)
    lines = [f"{m.name}: no W&B run" for m in comparison.models if m.name not in runs]
    for model, run in runs.items():
        log_audio(comparison, model, run, project, entity)
        lines.append(f"{run}: {len(listened(comparison))} sentences in media/compared")
    if _mode() != "online":
        return [*lines, "W&B is offline: sync the runs, then repeat this with WANDB_MODE=online"]
    try:
        owner = entity or str(wandb.Api().default_entity)
        workspace = build_workspace(comparison, project, owner).save()
        report = build_report(comparison, project, owner, text).save()
    except wandb.errors.Error as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--wandb {project}: {reason}; log in with wandb login") from None
    return [*lines, workspace.url, report.url]


def _mode() -> Any:
    return os.environ.get("WANDB_MODE", "offline")
