"""Reads the folders that ``emovc evaluate`` wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emovc.common.errors import UserError
from emovc.common.pretrained import manifest_in
from emovc.common.score_files import (
    SummaryFile,
    read_run_settings,
    read_scores,
    read_summary,
)
from emovc.common.scores import Score

COPY = "copy-synthesis"
REFERENCES = ("source", "target", COPY)
SAME = ("manifest", "split", "dialect", "seed")  # or the numbers can't be set side by side


class Evaluation(NamedTuple):
    """What ``emovc evaluate`` wrote of one model.

    Attributes:
        name: Name of the model in tables.
        folder: Where it was written.
        settings: How it was made.
        judges: Name, metrics, record and marks of each judge.
        gaps: What couldn't be judged, a line each.
        texts: Words by pair, where they are known.
        keys: Its means by logging key.
        cost: What a conversion costs: real-time factor, parameters, evaluations of the network.
        rows: Scores by row and pair.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    judges: list[dict[str, Any]]
    gaps: list[str]
    texts: dict[str, str]
    keys: dict[str, float]
    cost: dict[str, float | None]
    rows: dict[str, dict[str, Score]]

    @property
    def pairs(self) -> list[str]:
        """Ids of the pairs, in the order they were scored in."""
        return list(dict.fromkeys(pair for row in self.rows.values() for pair in row))

    def audio(self, row: str, pair: str) -> Path | None:
        """A row's recording of a pair, if it is there."""
        path = self.folder / "audio" / row / f"{pair}.wav"
        return path if path.exists() else None


def read_evaluation(folder: Path) -> Evaluation:
    """Read what ``emovc evaluate`` wrote, finished or not.

    Raises:
        UserError: The folder holds no evaluation, or a file of it is damaged.
    """
    settings_file, scores_file = folder / "settings.json", folder / "scores.jsonl"
    if not settings_file.exists() or not scores_file.exists():
        raise UserError(_what_to_run(folder))
    summary_file = folder / "summary.json"
    summary: SummaryFile = read_summary(summary_file) if summary_file.exists() else {}
    lines = [f"left out: {line}" for line in summary.get("left_out", [])]
    lines += [
        f"{gap['judge']}: {gap['reason']} ({gap['rows']} recordings)"
        for gap in summary.get("gaps", [])
    ]
    if not summary:
        lines.append("its evaluation isn't finished; give the same emovc evaluate again")
    rows: dict[str, dict[str, Score]] = {}
    for score in read_scores(scores_file):
        rows.setdefault(score.row, {})[score.pair] = score
    settings = read_run_settings(settings_file)
    return Evaluation(
        Path(settings.get("model", "")).name or folder.name,
        folder,
        settings,
        [dict(judge) for judge in summary.get("judges", [])],
        lines,
        summary.get("texts", {}),
        summary.get("keys", {}),
        summary.get("cost", {}),
        rows,
    )


def read_evaluations(folders: Sequence[Path], names: Sequence[str] | None) -> list[Evaluation]:
    """Read evaluations, give them names that differ, and see that they can be compared.

    Args:
        folders: Folders that ``emovc evaluate`` wrote.
        names: Their names; by default those of the models, or of the folders if models are alike.

    Raises:
        UserError: A folder is no evaluation, or one of another manifest, split, dialect or seed.
    """
    found = [read_evaluation(folder) for folder in folders]
    options = [list(names)] if names else []
    options += [[e.name for e in found], [f.name for f in folders], [str(f) for f in folders]]
    chosen = options[0] if names else next((o for o in options if len(set(o)) == len(o)), [])
    if len(chosen) != len(found) or len(set(chosen)) != len(found):
        raise UserError(f"names: {len(found)} evaluations need as many names, all different")
    if {*REFERENCES} & {*chosen}:
        raise UserError(f"names: {', '.join(REFERENCES)} are rows of every table; take others")
    for other in found[1:]:
        for key in SAME:
            ours, theirs = found[0].settings.get(key), other.settings.get(key)
            if ours != theirs:
                raise UserError(
                    f"{other.folder}: made with another {key} ({_short(theirs)}) than {folders[0]}"
                    f" ({_short(ours)}); evaluate both with the same"
                )
    return [e._replace(name=name) for e, name in zip(found, chosen, strict=True)]


def _what_to_run(folder: Path) -> str:
    """Why a folder can't be compared, and the command that mends it."""
    config = folder / "config.yaml"
    if (folder / "settings.json").exists():
        return f"{folder}: an evaluation that isn't finished; give the same emovc evaluate again"
    if not folder.is_dir():
        return f"{folder}: no such folder; give folders that emovc evaluate wrote"
    if not config.exists():
        return f"{folder}: holds no evaluation; give folders that emovc evaluate wrote"
    try:
        manifest = str(manifest_in(config))
    except UserError:
        manifest = "MANIFEST"
    report = folder.with_name(f"report_{folder.name}")
    return (
        f"{folder}: a run, not its evaluation; run emovc evaluate {folder} {manifest} -o {report},"
        f" then compare {report}"
    )


def _short(value: Any) -> str:
    """A value of a setting, hashes by their first digits."""
    return str(value)[:12] if isinstance(value, str) and len(value) == 64 else str(value)
