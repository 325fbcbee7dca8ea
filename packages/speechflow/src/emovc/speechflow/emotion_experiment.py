"""``emovc reproduce speechflow-emotion``: emotion recognition from subsets of the factors."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.files import read_json, sha256_of, short_hash, write_json, write_text
from emovc.common.pictures import save_figure
from emovc.common.pretrained import manifest_of
from emovc.common.speaker import SpeakerEncoder
from emovc.common.weights import weights_hash
from emovc.speechflow.converter import SpeechFlow
from emovc.speechflow.emotion_classifier import Recipe
from emovc.speechflow.emotion_data import Windows, collect_windows, draw_parts
from emovc.speechflow.emotion_report import ORIGINAL, ROWS, Results, draw, kept, to_csv, to_markdown
from emovc.speechflow.emotion_rows import FactorDecoder, Heard, judge_row, summary
from emovc.speechflow.experiments import load_speechflow
from emovc.speechflow.factor_subsets import Off

CLASSES = ("angry", "happy", "neutral", "sad")


def speechflow_emotion(
    runs: list[Path],
    out: Path = Path("runs/speechflow-emotion"),
    manifest: Path | None = None,
    cross: Path | None = None,
    emotions: list[str] | None = None,
    most: int | None = None,
    seeds: int = 3,
    iterations: int = 5000,
    batch_size: int = 60,
    lr: float = 1e-5,
    validate_every: int = 100,
    classifier: dict[str, Any] | None = None,
    off: Off = "input",
) -> None:
    """Emotion recognition from speech decoded with some of its factors switched off.

    Nine rows: the original speech and all subsets of content, rhythm and pitch. Each has a
    classifier of its own, trained on speech decoded in the same way, and tested on speakers it
    hasn't heard, of the same and of another corpus. What is finished is kept in OUT/decisions, so
    the command can be stopped and started again.

    Args:
        runs: Runs or exported folders of SpeechFlow that share front end and factor.
        out: Folder for table, figure, JSON, and the decisions of each classifier.
        manifest: Corpus of training and in-corpus test; by default that of the first run.
        cross: Manifest of another corpus, which is only tested on.
        emotions: Emotions told apart; by default angry, happy, neutral and sad.
        most: Most utterances of each speaker and emotion, to make it faster; by default all that
            keep a speaker's emotions equally frequent.
        seeds: Repetitions, each with speakers drawn anew for train, val and test.
        iterations: Optimiser steps of each classifier.
        batch_size: Windows per step.
        lr: Learning rate of Adam.
        validate_every: Steps between validations; the best step is kept.
        classifier: Class path and arguments; by default emovc.ser.acrnn.ACRNN in full size.
        off: What is zero where a factor is off: its encoder's input, or the code; or mean codes.
    """
    classes = emotions or list(CLASSES)
    chosen = classifier or {"class_path": "emovc.ser.acrnn.ACRNN"}
    recipe = Recipe(chosen, iterations, batch_size, lr, validate_every)
    _require_ranges(classes, most, seeds, recipe)
    models = {str(run): load_speechflow(run) for run in runs}
    _require_alike(models)
    first = next(iter(models.values()))
    paths = [manifest or manifest_of(runs[0]), *([cross] if cross else [])]
    corpora = [collect_windows(first, path, classes, most) for path in paths]
    about = {"emotions": classes, "recipe": recipe.settings} | _counts(corpora, paths, seeds)
    about |= {"most": most, "seeds": seeds, "off": off}
    setting = [about["recipe"], classes, most, [sha256_of(p) for p in paths]]
    results: Results = {}
    for name, model in [(ORIGINAL, None), *models.items()]:
        made_by = [first.frontend.mel_id, first.net.factor]
        made_by += [weights_hash(model.net), off] if model else []
        rows = [row for row, keep in ROWS.items() if (keep is None) == (model is None)]
        files = {row: _files(out, row, seeds, made_by, setting) for row in rows}
        _finish(name, model, off, corpora, recipe, classes, files)
        results[name] = {
            row: summary([read_json(one)["decisions"] for one in made])
            for row, made in files.items()
        }
    _write(out, results, about)


def _files(out: Path, row: int, seeds: int, made_by: list[Any], setting: list[Any]) -> list[Path]:
    """Where the decisions of each seed are kept; another setting has other files."""
    names = [short_hash([row, seed, made_by, setting]) for seed in range(seeds)]
    return [out / "decisions" / f"{name}.json" for name in names]


def _finish(
    name: str,
    model: SpeechFlow | None,
    off: Off,
    corpora: Sequence[Windows],
    recipe: Recipe,
    classes: Sequence[str],
    files: dict[int, list[Path]],
) -> None:
    """Make the files of decisions that are missing, one for each row and seed."""
    if all(file.is_file() for made in files.values() for file in made):
        return
    decoder = FactorDecoder(model, off, corpora) if model else None
    for row, made in files.items():
        missing = [seed for seed, file in enumerate(made) if not file.is_file()]
        if not missing:
            continue
        heard = decoder(ROWS[row] or ()) if decoder else [Heard(w, w.mel) for w in corpora]
        for seed in missing:
            decisions = judge_row(recipe, heard, classes, seed)
            about = {"model": name, "row": row, "kept": kept(row), "seed": seed}
            write_json(made[seed], about | {"decisions": decisions})
            uars = [f"{corpus} {r['uar']:.2f}" for corpus, r in summary([decisions]).items()]
            what = f"{row} {kept(row)}" + (f", {name}" if model else "")
            sys.stdout.write(f"{what}, seed {seed}: {', '.join(uars)}\n")
            sys.stdout.flush()


def _counts(corpora: Sequence[Windows], paths: Sequence[Path], seeds: int) -> dict[str, Any]:
    """What is trained and tested on, for the record."""
    own = corpora[0]
    found: dict[str, Any] = {
        "manifest": str(paths[0]),
        "window_frames": own.mel.shape[2],
        "utterances": len(own.utterances),
        "split_id": own.utterances[0].split_id,
        "in_train": sum(u.split == "train" for u in own.utterances),
        "in_corpus": [],
    }
    for seed in range(seeds):
        parts = draw_parts(own.utterances, seed)
        found["in_corpus"].append(
            {part: len(rows) for part, rows in parts.items()}
            | {
                f"{part}_speakers": sorted({u.speaker for u in rows})
                for part, rows in parts.items()
            }
        )
    for path, windows in zip(paths[1:], corpora[1:], strict=True):
        speakers = len({u.speaker for u in windows.utterances})
        found |= {"cross": str(path), "cross_utterances": len(windows.utterances)}
        found |= {"cross_speakers": speakers}
    return found


def _write(out: Path, results: Results, about: dict[str, Any]) -> None:
    """Write table, figure and JSON, and print the table with what it is of."""
    write_json(out / "speechflow-emotion.json", {"settings": about, "results": results})
    write_text(out / "speechflow-emotion.csv", to_csv(results))
    save_figure(draw(results), out / "speechflow-emotion.png")
    counts = ", ".join(
        f"{c['train']}/{c['val']}/{c['test']} (test: {', '.join(c['test_speakers'])})"
        for c in about["in_corpus"]
    )
    notes = [
        f"In-corpus: {about['manifest']}; utterances in train/val/test per seed {counts}; every"
        " speaker is in one part, with as many utterances of each emotion. Intervals over few test"
        " speakers are too narrow.",
        f"{about['in_train']} of these {about['utterances']} utterances are in part train of"
        f" {about['split_id']}: SpeechFlow runs of this manifest were trained on them and know all"
        " speakers; the classifiers don't know those they are tested on.",
    ]
    if "cross" in about:
        notes.append(
            f"Cross-corpus: {about['cross']}; {about['cross_utterances']} utterances of"
            f" {about['cross_speakers']} speakers, test only."
        )
    notes.append(f"Seeds {about['seeds']}; off {about['off']}; {about['recipe']}; {out}")
    sys.stdout.write(to_markdown(results) + "\n\n" + "\n".join(notes) + "\n")


def _require_ranges(classes: Sequence[str], most: int | None, seeds: int, recipe: Recipe) -> None:
    """Refuse emotions that don't exist and counts below 1."""
    unknown = [e for e in classes if e not in EMOTIONS]
    if unknown or len(set(classes)) != len(classes) or len(classes) < 2:
        raise UserError(
            f"--emotions {' '.join(classes)}: give two or more different ones of"
            f" {', '.join(EMOTIONS)}"
        )
    counts = [seeds, recipe.iterations, recipe.batch_size, recipe.validate_every]
    if min(counts + ([] if most is None else [most])) < 1 or recipe.lr <= 0:
        raise UserError(
            "--most, --seeds, --iterations, --batch_size and --validate_every must be 1 or more,"
            " --lr above 0"
        )


def _require_alike(models: dict[str, SpeechFlow]) -> None:
    """Refuse models that don't share their windows, or know their speakers by name only."""
    made = {name: (m.frontend.mel_id, m.net.factor) for name, m in models.items()}
    for name, model in models.items():
        if not isinstance(model.speaker, SpeakerEncoder):
            raise UserError(f"{name}: has a table of speakers; this experiment needs d-vectors")
        other = next(iter(made))
        if made[name] != made[other]:
            raise UserError(f"{name}: has another mel or factor than {other}; compare them apart")
