"""The panel of judges of an evaluation: built from a file, asked row by row, marked."""

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from emovc.common.errors import UserError
from emovc.common.judging import Goal, Judge, LanguageJudge, Verdict
from emovc.common.pretrained import build
from emovc.common.weights import weights_hash
from emovc.common.yaml_files import read_yaml

DEFAULT = Path(__file__).parent / "judges" / "default.yaml"


class Gap(NamedTuple):
    """Something that could not be judged.

    Attributes:
        pair: Id of the pair.
        row: Row of the pair.
        judge: Name of the judge.
        reason: Why, in one line.
    """

    pair: str
    row: str
    judge: str
    reason: str


class Failed(NamedTuple):
    """What is kept of a recording that a judge can't hear."""

    reason: str


class Panel:
    """Judges that hear each recording once.

    Args:
        judges: The judges; their names must differ.
        sample_rate: Rate of the recordings in Hz.
        left_out: A line for each judge that isn't here though it was asked for.

    Raises:
        UserError: Two judges have the same name, or announce the same metric.
    """

    def __init__(
        self, judges: Sequence[Judge], sample_rate: int, left_out: Sequence[str] = ()
    ) -> None:
        names = [judge.name for judge in judges]
        metrics = [metric for judge in judges for metric in judge.metrics]
        for given in (names, metrics):
            twice = [name for name in given if given.count(name) > 1]
            if twice:
                raise UserError(f"judges: {twice[0]} stands twice; give one of them another name")
        self.judges = list(judges)
        self.rate = sample_rate
        self.left_out = list(left_out)

    @property
    def headings(self) -> dict[str, str]:
        """Column heading of each metric."""
        return {m: heading for judge in self.judges for m, heading in judge.metrics.items()}

    def hear(self, wav: np.ndarray, language: str | None = None) -> dict[str, Any]:
        """What each judge keeps of a recording (N,); a :class:`Failed` where it can't judge it.

        Args:
            wav: The recording.
            language: Its language, where it is known: an ISO 639-1 code.
        """
        heard: dict[str, Any] = {}
        for judge in self.judges:
            try:
                if language is not None and isinstance(judge, LanguageJudge):
                    heard[judge.name] = judge.hear_in_language(wav, self.rate, language)
                else:
                    heard[judge.name] = judge.hear(wav, self.rate)
            except UserError as error:
                heard[judge.name] = Failed(str(error))
        return heard

    def judge(
        self, row: Mapping[str, Any], recordings: Mapping[str, Mapping[str, Any]], goal: Goal
    ) -> tuple[Verdict, list[tuple[str, str]]]:
        """All judges' metrics and labels of one row, and (judge, reason) of what is missing.

        Args:
            row: What was heard of the row.
            recordings: What was heard of the pair's real recordings, by their part.
            goal: What the row should be.
        """
        metrics: dict[str, float] = {}
        labels: dict[str, str] = {}
        gaps: list[tuple[str, str]] = []
        for judge in self.judges:
            own = {part: heard[judge.name] for part, heard in recordings.items()}
            deaf = [h for h in (row[judge.name], own["source"], own["target"]) if _failed(h)]
            if deaf:
                gaps.append((judge.name, deaf[0].reason))
                continue
            usable = {part: heard for part, heard in own.items() if not _failed(heard)}
            verdict = judge.judge(row[judge.name], usable, goal)
            metrics |= verdict.metrics
            labels |= verdict.labels
            gaps += [(judge.name, reason) for reason in verdict.gaps]
        return Verdict(metrics, labels), gaps

    def record(self, corpora: Collection[str], model: Any) -> list[dict[str, Any]]:
        """Each judge for the record, with the marks that every table must carry.

        Args:
            corpora: Corpora of the evaluation.
            model: The converter, which may contain a judge's network.
        """
        inside = model_hashes(model)
        return [
            {
                "name": judge.name,
                "metrics": dict(judge.metrics),
                "about": judge.about,
                "marks": marks_of(judge.about, corpora, inside),
            }
            for judge in self.judges
        ]


def marks_of(about: Mapping[str, Any], corpora: Collection[str], inside: set[str]) -> list[str]:
    """What must be said of a judge: that it saw the corpus, or shares a network with the model.

    Args:
        about: The judge's record.
        corpora: Corpora of the evaluation.
        inside: Hashes of the pretrained networks inside the model.
    """
    seen = sorted(set(about.get("trained_on") or ()) & set(corpora))
    marks = [f"saw {', '.join(seen)} in training"] if seen else []
    if about.get("weights") in inside:
        marks.append("the model is conditioned on, or was trained with, this network")
    elif about.get("whisper") in inside:
        marks.append("the model is conditioned on, or was trained with, the Whisper below it")
    return marks


def model_hashes(model: Any) -> set[str]:
    """Hashes of the pretrained networks inside a model, and of those its parts name as teachers."""
    inside = set(getattr(model, "teachers", ()))
    if isinstance(model, nn.Module):
        for part in model.modules():
            inside |= set(getattr(part, "teachers", ()))
            if part is not model and getattr(part, "pretrained", False):
                inside.add(weights_hash(part))
    return inside


def read_judges(
    path: Path | None, languages: Collection[str] = ()
) -> tuple[list[Judge], list[str]]:
    """Build the judges that a YAML file lists.

    Args:
        path: List of ``class_path`` and ``init_args``; by default a quick panel. Judges of the
            quick panel, and those marked ``optional: true``, are left out where their package or
            weights aren't there.
        languages: Languages of the evaluation, where they are known; judges that understand none
            of them are left out.

    Returns:
        The judges, and a line for each that was left out.

    Raises:
        UserError: The file is no such list, or a judge can't be built.
    """
    file = path or DEFAULT
    if not file.exists():
        raise UserError(f"{file}: no such file of judges; configs/judges has examples")
    entries = read_yaml(file)
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and "class_path" in e for e in entries
    ):
        raise UserError(f"{file}: not a list of judges; each needs a class_path")
    judges, left_out = [], []
    for entry in entries:
        optional = path is None or entry.get("optional", False)
        if not isinstance(optional, bool):
            raise UserError(f"{file}: optional: {optional!r}; write true or false")
        module = ".".join(str(entry["class_path"]).split(".")[:2])
        if optional and not _installed(module):
            left_out.append(f"{entry['class_path']}: {module} is not installed")
            continue
        try:
            judge = build(entry, str(file), ours=False)
        except UserError as error:
            if not optional:
                raise
            left_out.append(f"{entry['class_path']}: {error}")
            continue
        if not all(hasattr(judge, part) for part in ("name", "metrics", "hear", "judge")):
            raise UserError(f"{file}: {entry['class_path']} is no judge; see docs/judges.md")
        spoken = judge.about.get("languages")
        if languages and spoken and not set(spoken) & set(languages):
            left_out.append(f"{judge.name}: does not know {', '.join(sorted(languages))}")
            continue
        judges.append(judge)
    return judges, left_out


def _installed(module: str) -> bool:
    """Whether a package can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


def _failed(heard: Any) -> bool:
    """Whether a judge couldn't hear a recording."""
    return isinstance(heard, Failed)
