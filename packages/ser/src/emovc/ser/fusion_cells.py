"""The cells of HYFuse's matrix: what is trained, and the file in which finished trainings stay."""

import json
import os
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, TypedDict

import torch
from torch.utils.data import DataLoader, Dataset

from emovc.common.checked_values import Between, checked
from emovc.common.files import short_hash
from emovc.common.manifest import Utterance
from emovc.common.progress import progress
from emovc.ser.folds import Fold, Protocol
from emovc.ser.hyfuse import HYFuse
from emovc.ser.stored_vectors import KINDS, Representation
from emovc.ser.vector_training import predict, train_on_vectors

Column = Literal["concat", "mobius", "flat"]
COLUMNS: dict[Column, str] = {
    "concat": "concatenation",
    "mobius": "HYFuse",
    "flat": "HYFuse, c = 1e-6",
}
FLAT = 1e-6
RECIPE = 1  # raise it when trainings would give other results, so that old ones are not reused


class Cell(NamedTuple):
    """A cell of the matrix: one or two representations and how they are fused."""

    members: tuple[str, ...]
    column: Column

    @property
    def name(self) -> str:
        """The representations, in the order of the sum."""
        return " + ".join(self.members)


class Job(NamedTuple):
    """One training: a cell on one fold of one seed."""

    cell: Cell
    protocol: Protocol
    seed: int
    number: int
    fold: Fold


class Recipe(NamedTuple):
    """What all trainings have in common.

    Attributes:
        branch: Kind of the branches.
        epochs: Most passes over the training part.
        batch_size: Utterances per step.
        lr: Highest learning rate.
        dim: Size of the views.
    """

    branch: Literal["conv", "mlp"] = "mlp"
    epochs: int = 50
    batch_size: int = 32
    lr: float = 1e-3
    dim: int = 128


def cells_of(representations: Sequence[Representation]) -> list[Cell]:
    """Every representation alone and every pair, the representation-learning ones first.

    A single one needs no flat control: its Möbius sum has one term. Supervised ones are joined by
    codecs only.
    """
    ordered = sorted(representations, key=lambda r: list(KINDS).index(r.kind))
    alone = [Cell((r.name,), column) for r in ordered for column in ("concat", "mobius")]
    pairs = [
        Cell((a.name, b.name), column)
        for a, b in combinations(ordered, 2)
        if "SUP" not in (a.kind, b.kind) or (a.kind, b.kind) == ("SUP", "CBR")
        for column in COLUMNS
    ]
    return [*alone, *pairs]


def build_network(column: Column, dims: list[int], n_classes: int, recipe: Recipe) -> HYFuse:
    """The network of a column; concatenation is as it is usual, without clipping."""
    build = partial(HYFuse, dims, n_classes, branch=recipe.branch, dim=recipe.dim)
    match column:
        case "concat":
            return build(fusion="concat", clip=None)
        case "mobius":
            return build(fusion="mobius")
        case "flat":
            return build(fusion="mobius", curvature=FLAT)


class Trainings(Dataset[tuple[int, list[int]]]):
    """Trains the network of a job when it is asked for, in a loader's process.

    Args:
        jobs: What is to be trained.
        representations: Representations of all utterances.
        labels: Classes of all utterances, (N,).
        n_classes: Number of classes.
        recipe: How.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        representations: Sequence[Representation],
        labels: torch.Tensor,
        n_classes: int,
        recipe: Recipe,
    ) -> None:
        self.jobs = jobs
        self.vectors = {r.name: torch.from_numpy(r.values) for r in representations}
        self.labels = labels
        self.n_classes = n_classes
        self.recipe = recipe

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, index: int) -> tuple[int, list[int]]:
        """Number of the job, and the classes predicted for its test part."""
        job, recipe = self.jobs[index], self.recipe
        vectors = [self.vectors[name] for name in job.cell.members]
        seed = 1000 * job.seed + job.number
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            dims = [v.shape[1] for v in vectors]
            network = build_network(job.cell.column, dims, self.n_classes, recipe)
        train_on_vectors(
            network, vectors, self.labels, job.fold, seed,
            recipe.epochs, batch_size=recipe.batch_size, lr=recipe.lr,
        )  # fmt: skip
        test = torch.from_numpy(job.fold.test)
        return index, predict(network, [v[test] for v in vectors]).tolist()


def data_id(utterances: Sequence[Utterance]) -> str:
    """Hash of what a training depends on beside its representations."""
    return short_hash([[u.sha256, u.emotion, u.speaker, u.gender] for u in utterances])


def job_key(job: Job, data: str, stores: dict[str, str], n_folds: int, recipe: Recipe) -> str:
    """Name of a training; the same key, the same result.

    Args:
        job: The training.
        data: Hash of the utterances.
        stores: Folder of each representation, which names its settings.
        n_folds: Number of folds.
        recipe: How it is trained.
    """
    used = [stores[name] for name in job.cell.members]
    where = [job.protocol, job.seed, job.number, n_folds]
    return short_hash([RECIPE, data, used, job.cell, where, recipe])


class _Finished(TypedDict):
    key: str
    predicted: list[Annotated[int, Between(0)]]


def read_finished(path: Path) -> dict[str, list[int]]:
    """Predictions of the trainings in a file by key; a line that was cut off doesn't count."""
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        done: _Finished = checked(row, _Finished, path, "remove the line, or the file")
        found[done["key"]] = done["predicted"]
    return found


def run_trainings(trainings: Trainings, keys: Sequence[str], path: Path, num_workers: int) -> None:
    """Train all jobs, and add each to the file as soon as it is done.

    Args:
        trainings: The jobs.
        keys: Their keys.
        path: File of finished trainings, a line each.
        num_workers: Processes; 0 trains in this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(trainings, batch_size=None, num_workers=num_workers, in_order=False)
    with path.open("a+b") as file:
        if file.tell() and not _ends_a_line(file):
            file.write(b"\n")
        for index, predicted in progress(iter(loader), "training", len(trainings)):
            file.write(_line(trainings.jobs[index], keys[index], predicted).encode())
            file.flush()


def _ends_a_line(file: BinaryIO) -> bool:
    """Whether the last line of a file that isn't empty was written to its end."""
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _line(job: Job, key: str, predicted: list[int]) -> str:
    """A finished training as a line."""
    row: dict[str, Any] = {
        "key": key,
        "cell": job.cell.name,
        "column": job.cell.column,
        "protocol": job.protocol,
        "seed": job.seed,
        "fold": job.number,
        "predicted": predicted,
    }
    return json.dumps(row) + "\n"
