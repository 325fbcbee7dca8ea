"""Where metrics go: a CSV file that survives kills and resumes, and W&B, offline by default."""

import csv
import io
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger, WandbLogger

from emovc.common.errors import UserError
from emovc.common.files import write_text
from emovc.common.run_record import read_run_id


class CsvCurves(Logger):
    """One row per logged step in ``<folder>/metrics.csv``, one column per metric.

    A resumed run goes on in the same file: rows of steps that the restored checkpoint hadn't
    seen are dropped, so the file reads like that of a run which was never stopped.

    Args:
        save_dir: Folder of the run; filled in by the command line.
        flush_every: Rows kept in memory before they are written.
    """

    def __init__(self, save_dir: str | None = None, flush_every: int = 20) -> None:
        super().__init__()
        self._folder = Path(save_dir or ".")
        self.flush_every = flush_every
        self._columns: list[str] | None = None
        self._waiting: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Nothing: the folder is the run's."""
        return ""

    @property
    def version(self) -> str:
        """Nothing: the folder is the run's."""
        return ""

    @property
    def save_dir(self) -> str:
        """Folder of the run."""
        return str(self._folder)

    @property
    def path(self) -> Path:
        """The file."""
        return self._folder / "metrics.csv"

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Nothing: the run's folder holds ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep a row."""
        if self._columns is None:
            self._reopen(step or 0)
        self._waiting.append({"step": step, **metrics})
        if len(self._waiting) >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write what is kept."""
        if not self._waiting or self._columns is None:
            return
        new = [k for row in self._waiting for k in row if k not in self._columns]
        if new:
            old = self._read()
            self._columns += sorted(set(new), key=new.index)
            write_text(self.path, self._text(old, header=True))
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(self._text(self._waiting, header=False))
        self._waiting = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is kept."""
        self.save()

    def _reopen(self, step: int) -> None:
        """Drop rows from ``step`` on: they are about to be made again."""
        try:
            rows = [row for row in self._read() if int(row["step"]) < step]
        except (KeyError, ValueError):
            raise UserError(
                f"{self.path}: a row has no whole number as its step; move the file away to go on"
            ) from None
        self._columns = list(rows[0]) if rows else ["step"]
        write_text(self.path, self._text(rows, header=True))

    def _read(self) -> list[dict[str, str]]:
        """Complete rows of the file; a line cut off by a kill is left out."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        return [row for row in csv.DictReader(io.StringIO(whole)) if None not in row.values()]

    def _text(self, rows: list[dict[str, Any]], header: bool) -> str:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns or [], restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()


class WandbCurves(WandbLogger):
    """W&B below the run's folder: offline unless the environment says ``WANDB_MODE=online``.

    Runs of ``wandb agent`` are online, as a sweep needs them.

    ``wandb sync <run>/wandb/offline-*`` uploads an offline run.

    Args:
        save_dir: Folder of the run; filled in by the command line.
        name: Name of the run; filled in by the command line.
        run_id: Identity of the run, by which a resumed run goes on; filled in as well.
        project: W&B project: one for all models, so that they can be compared.
        group: Experiment the run belongs to.
        tags: Tags to filter by.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        name: str | None = None,
        run_id: str | None = None,
        project: str = "emovc",
        group: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        usual = "online" if os.environ.get("WANDB_SWEEP_ID") else "offline"
        super().__init__(
            name=name,
            save_dir=save_dir or ".",
            id=run_id,
            project=project,
            group=group,
            tags=tags,
            resume="allow",
            mode=os.environ.get("WANDB_MODE", usual),
        )
        self._wandb_init.pop("anonymous", None)  # W&B dropped it and warns of it
        self._has_axis = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a row; curves are drawn over the samples seen."""
        if not self._has_axis:
            self.experiment.define_metric("*", step_metric="progress/samples")
            self._has_axis = True
        super().log_metrics(metrics, step)

    def log_media(self, pairs: Sequence[str], folder: Path, samples: float) -> None:
        """Log the listening set: a table of audio, the same audio by row, and pictures.

        W&B keeps the audio of tables outside an offline run's folder; that by row is inside.

        Args:
            pairs: Ids of the pairs.
            folder: Holds ``<pair>.<row>.wav``, ``<pair>.mel.png`` and ``<pair>.f0.png``.
            samples: Place on the axis of progress.
        """
        import wandb

        rows = ["source", "model", "target"]
        audio = wandb.Table(columns=["id", *rows])
        media: dict[str, Any] = {"media/audio": audio, "progress/samples": samples}
        for name in pairs:
            audio.add_data(name, *(wandb.Audio(str(folder / f"{name}.{r}.wav")) for r in rows))
        for row in rows:
            files = {name: str(folder / f"{name}.{row}.wav") for name in pairs}
            media[f"media/audio_{row}"] = [wandb.Audio(f, caption=n) for n, f in files.items()]
        for kind in ("mel", "f0"):
            files = {name: str(folder / f"{name}.{kind}.png") for name in pairs}
            media[f"media/{kind}"] = [wandb.Image(f, caption=n) for n, f in files.items()]
        self.experiment.log(media)

    def log_images(self, key: str, files: Sequence[Path], samples: float) -> None:
        """Log pictures under their names.

        Args:
            key: Key of the panel, such as ``media/attention``.
            files: PNG files.
            samples: Place on the axis of progress.
        """
        import wandb

        images = [wandb.Image(str(file), caption=file.stem) for file in files]
        self.experiment.log({key: images, "progress/samples": samples})


def log_to_run(run: Path, values: dict[str, float]) -> None:
    """Add values to a finished run: a line of ``evaluation.csv``, and its W&B run.

    Args:
        run: Folder of the run.
        values: Values by key.
    """
    run_id = read_run_id(run)
    wandb_run = WandbCurves(str(run), "/".join(run.parts[-2:]), run_id)
    wandb_run.experiment.summary.update(values)
    wandb_run.experiment.finish()
    path = run / "evaluation.csv"
    merged = _read_values(path) | values
    write_text(path, "key,value\n" + "".join(f"{k},{v}\n" for k, v in merged.items()))


def _read_values(path: Path) -> dict[str, str]:
    """Values by key of ``evaluation.csv``, nothing where it is absent."""
    if not path.exists():
        return {}
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        rows = []
    if rows[:1] != [["key", "value"]] or any(len(row) != 2 for row in rows):
        raise UserError(f"{path}: is no table of key and value; move it away")
    return dict((key, value) for key, value in rows[1:])
