"""``emovc reproduce hyfuse``: does fusing unlike representations help, and does the ball?"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.files import write_json, write_text
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.pictures import save_figure
from emovc.ser.folds import Protocol, find_gaps, make_folds
from emovc.ser.fusion_cells import (
    Cell,
    Job,
    Recipe,
    Trainings,
    cells_of,
    data_id,
    job_key,
    read_finished,
    run_trainings,
)
from emovc.ser.fusion_claims import Claim, claims
from emovc.ser.fusion_report import NOTICE, draw, ordering, to_csv, to_markdown
from emovc.ser.fusion_summary import Gain, Result, Row, summarise
from emovc.ser.recognition import by_speaker
from emovc.ser.stored_vectors import Representation, parse_representations, read_representations


def hyfuse(
    manifest: Path,
    representations: list[str],
    out: Path = Path("runs/hyfuse"),
    protocol: Literal["speaker", "random", "both"] = "both",
    seeds: int = 3,
    folds: int = 5,
    branch: Literal["conv", "mlp"] = "mlp",
    epochs: int = 50,
    num_workers: int = 1,
    pair: str | None = None,
) -> None:
    """Recognise emotions from each representation alone and from all pairs, fused in three ways.

    The ways are concatenation, HYFuse's Möbius sum, and that sum with almost no curvature. A second
    call goes on where the first was stopped, and one with more representations adds to it.

    Args:
        manifest: Manifest of a corpus; its split is not used.
        representations: Stored features and their kinds, NAME=KIND: RLR (representation learning),
            CBR (compression: a codec), SUP (supervised: learned from emotions; stands apart) or SIG
            (statistics of the signal).
        out: Folder for tables, figure, JSON, and the finished trainings.
        protocol: Folds that share no speaker, random ones, or both.
        seeds: Repetitions, each with folds and networks of its own.
        folds: Number of folds.
        branch: Networks before the fusion: two convolutions, or two dense layers.
        epochs: Most passes over the training part.
        num_workers: Processes that train; 0 trains in this one.
        pair: The two representations, NAME+NAME, that stand for the paper's best pair.
    """
    if seeds < 1 or epochs < 1 or num_workers < 0:
        raise UserError("--seeds and --epochs: must be 1 or more, --num_workers 0 or more")
    kinds = parse_representations(representations)
    best = _parse_pair(pair, kinds)
    rows = read_manifest(manifest)
    labelled = [u for u in rows if u.emotion is not None]
    if len({u.emotion for u in labelled}) < 2:
        raise UserError(f"{manifest}: has fewer than two emotions; nothing can be recognised")
    parts, utterances, left_out = read_representations(manifest, kinds, labelled)
    if len(labelled) < len(rows):
        left_out.append(f"{len(rows) - len(labelled)} utterances without an emotion are left out")
    names = [e for e in EMOTIONS if any(u.emotion == e for u in utterances)]
    protocols: list[Protocol] = ["speaker", "random"] if protocol == "both" else [protocol]
    jobs, gaps = _plan(utterances, cells_of(parts), names, protocols, seeds, folds)
    _say([*left_out, *gaps])
    recipe = Recipe(branch, epochs)
    predictions = _train(jobs, parts, utterances, names, folds, recipe, out, num_workers)
    confusions = _confusions(jobs, predictions, utterances, names)
    rows_and_gains, compared = summarise(confusions, kinds), claims(confusions, kinds, best)
    settings = {
        "manifest": str(manifest),
        "utterances": len(utterances),
        "speakers": len({u.speaker for u in utterances}),
        "classes": dict(Counter(str(u.emotion) for u in utterances)),
        "representations": {r.name: {"kind": r.kind, "store": r.store} for r in parts},
        "seeds": seeds,
        "folds": folds,
        "pair": pair,
        **recipe._asdict(),
    }
    _write(out, settings, *rows_and_gains, compared, left_out, gaps)


def _parse_pair(pair: str | None, kinds: dict[str, str]) -> tuple[str, ...] | None:
    """Members of the pair that stands for the paper's best, in the order of the Möbius sum.

    Raises:
        UserError: It is no RLR with a CBR.
    """
    if pair is None:
        return None
    names = sorted(pair.split("+"), key=lambda name: kinds.get(name) == "CBR")
    if [kinds.get(name) for name in names] != ["RLR", "CBR"]:
        raise UserError(f"--pair {pair}: must be NAME+NAME, an RLR and a CBR of --representations")
    return tuple(names)


def _plan(
    utterances: list[Utterance],
    cells: list[Cell],
    names: list[str],
    protocols: list[Protocol],
    seeds: int,
    n_folds: int,
) -> tuple[list[Job], list[str]]:
    """All trainings, and what their folds lack."""
    labels = _labels(utterances, names)
    jobs, gaps = [], []
    for protocol in protocols:
        for seed in range(seeds):
            drawn = make_folds(utterances, protocol, n_folds, seed)
            lines = find_gaps(drawn, labels, names)
            gaps += [f"gap: {protocol} folds of seed {seed}, {line}" for line in lines]
            jobs += [
                Job(cell, protocol, seed, number, fold)
                for cell in cells
                for number, fold in enumerate(drawn)
            ]
    return jobs, gaps


def _train(
    jobs: list[Job],
    parts: list[Representation],
    utterances: list[Utterance],
    names: list[str],
    n_folds: int,
    recipe: Recipe,
    out: Path,
    num_workers: int,
) -> list[list[int]]:
    """Predictions of every job, those of an earlier call included."""
    path = out / "trainings.jsonl"
    data, stores = data_id(utterances), {r.name: r.store for r in parts}
    keys = [job_key(job, data, stores, n_folds, recipe) for job in jobs]
    finished = read_finished(path)
    todo = [i for i, key in enumerate(keys) if key not in finished]
    _say([f"{len(jobs)} trainings, {len(jobs) - len(todo)} of them finished before"])
    if todo:
        labels = torch.from_numpy(_labels(utterances, names))
        trainings = Trainings([jobs[i] for i in todo], parts, labels, len(names), recipe)
        run_trainings(trainings, [keys[i] for i in todo], path, num_workers)
        finished = read_finished(path)
    return [finished[key] for key in keys]


def _confusions(
    jobs: list[Job], predictions: list[list[int]], utterances: list[Utterance], names: list[str]
) -> list[Result]:
    """What each training took for what, by speaker."""
    labels = _labels(utterances, names)
    speakers = np.array([u.speaker for u in utterances])
    return [
        Result(
            job.protocol,
            job.cell,
            by_speaker(
                labels[job.fold.test], np.array(predicted), speakers[job.fold.test], len(names)
            ),
        )
        for job, predicted in zip(jobs, predictions, strict=True)
    ]


def _labels(utterances: list[Utterance], names: list[str]) -> np.ndarray:
    """Class of each utterance, (N,)."""
    return np.array([names.index(str(u.emotion)) for u in utterances])


def _write(
    out: Path,
    settings: dict[str, Any],
    rows: list[Row],
    gains: list[Gain],
    compared: list[Claim],
    left_out: list[str],
    gaps: list[str],
) -> None:
    """Write tables, figure and JSON, and show the tables."""
    record = {
        "notice": NOTICE,
        "settings": settings,
        "ordering": ordering(rows),
        "rows": [row._asdict() for row in rows],
        "gains": [gain._asdict() for gain in gains],
        "claims": [{**claim._asdict(), "verdict": claim.verdict} for claim in compared],
        "left_out": left_out,
        "gaps": gaps,
    }
    text = to_markdown(rows, gains, compared, settings, [*left_out, *gaps])
    write_json(out / "hyfuse.json", record)
    write_text(out / "hyfuse.csv", to_csv(rows))
    write_text(out / "hyfuse.md", text)
    save_figure(draw(rows), out / "hyfuse.png")
    _say([text, str(out)])


def _say(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
