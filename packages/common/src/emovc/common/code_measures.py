"""Everything that is measured of the codes themselves: what they share, and what they hold."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from emovc.common.code_table import SILENT, CodeTable, collect_codes, encode_again
from emovc.common.codes import CodeModel, untrained
from emovc.common.manifest import Utterance
from emovc.common.mutual_information import (
    cluster,
    compare_labels,
    entropy,
    mean_and_deviation,
)
from emovc.common.probes import READERS, Reader, Reading, Target, choose_rows, read
from emovc.common.progress import progress

TRAINED, UNTRAINED = "trained", "untrained"
ABSENT = {"phone": "no phone labels beside the recordings", "log_f0": "no voiced speech"}


class Found(NamedTuple):
    """What one probe found.

    Attributes:
        network: :data:`TRAINED` or :data:`UNTRAINED`.
        code: Name of the code.
        target: What was read.
        held_out: What no reader had met.
        reader: Kind of reader.
        reading: Score and controls.
    """

    network: str
    code: str
    target: str
    held_out: str
    reader: Reader
    reading: Reading


class Examination(NamedTuple):
    """Measures of codes.

    Attributes:
        settings: How they came about.
        gaps: What could not be measured, and why.
        information: By network, see :func:`shared_by_codes`.
        probes: All probes.
    """

    settings: dict[str, Any]
    gaps: list[str]
    information: dict[str, dict[str, Any]]
    probes: list[Found]


def examine(
    model: CodeModel,
    utterances: Sequence[Utterance],
    speakers: Mapping[str, Any],
    n_clusters: int = 10,
    seeds: int = 3,
    steps: int = 2000,
    seed: int = 0,
) -> Examination:
    """Mutual information and probes of a model and of its untrained architecture.

    Args:
        model: A model in eval mode; one that is no ``nn.Module`` has no untrained architecture.
        utterances: What to encode.
        speakers: F0 statistics by speaker.
        n_clusters: Clusters K.
        seeds: K-means seeds.
        steps: Most code steps that a probe reads.
        seed: Seed of the draws and of the untrained network.
    """
    tables = {TRAINED: collect_codes(model, utterances, speakers)}
    targets, gaps = find_targets(tables[TRAINED])
    left_out = len(utterances) - len(tables[TRAINED].rows)
    if left_out:
        gaps.append(f"{left_out} utterances are shorter than a code step and were left out")
    if isinstance(model, nn.Module):
        torch.manual_seed(seed)
        tables[UNTRAINED] = fresh = encode_again(untrained(model), tables[TRAINED], speakers)
        same = [n for n in fresh.names[1:] if same_code(tables[TRAINED], fresh, n)]
        gaps += [f"{n}: the untrained network gives the same code, it is not learned" for n in same]
    else:
        gaps.append("no untrained network: the model is no torch.nn.Module")
    probes = probe_codes(tables, targets, steps, seed)
    settings = {
        "utterances": len(tables[TRAINED].rows),
        "code_steps": len(tables[TRAINED].utterance),
        "probe_steps": steps,
        "code_hop_s": model.code_hop / model.frontend.sample_rate,
        "clusters": n_clusters,
        "kmeans_seeds": seeds,
        "seed": seed,
        "unit": "nats",
    }
    information = {n: shared_by_codes(t, n_clusters, seeds, seed) for n, t in tables.items()}
    return Examination(settings, gaps, information, probes)


def shared_by_codes(table: CodeTable, n_clusters: int, seeds: int, seed: int = 0) -> dict[str, Any]:
    """Clustered mutual information of all pairs of codes, their entropies and deviations.

    Codes are labelled per step, or per utterance where they are of utterances; a pair of two of
    these is compared per utterance, and the shuffled control keeps an utterance's label together.
    """
    first = np.unique(table.utterance, return_index=True)[1]
    raw = {**table.steps, **table.held}
    labels = {n: [cluster(v, n_clusters, s) for s in range(seeds)] for n, v in raw.items()}
    rng = np.random.default_rng(seed)

    def held(label: np.ndarray) -> np.ndarray:
        return label[table.utterance]

    def shuffle_utterances(label: np.ndarray) -> np.ndarray:
        return held(rng.permutation(label[first]))

    pairs = {}
    for a, b in combinations(table.names, 2):  # codes of utterances come last
        one, other = labels[a], labels[b]
        if a in table.held:
            pairs[f"{a}-{b}"] = compare_labels(one, other, rng.permutation)
        elif b in table.held:
            pairs[f"{a}-{b}"] = compare_labels(one, [held(x) for x in other], shuffle_utterances)
        else:
            pairs[f"{a}-{b}"] = compare_labels(one, other, rng.permutation)
    return {
        "pairs": pairs,
        "entropy": {n: mean_and_deviation([entropy(x) for x in own]) for n, own in labels.items()},
        "code_sd": {n: float(v.std(0).mean()) for n, v in raw.items()},
    }


def find_targets(table: CodeTable) -> tuple[list[Target], list[str]]:
    """What can be probed for in a corpus part, and what can't.

    Emotion and sentence are held out by speaker, the speaker by sentence: what is found must hold
    for voices or words that the reader didn't meet. Values of steps are held out by utterance.
    """
    gaps: list[str] = []
    targets = [
        _of_utterances(table.rows, name, by, gaps)
        for name, by in (("emotion", "speaker"), ("sentence", "speaker"), ("speaker", "sentence"))
    ]
    phone = np.array([None if p == SILENT else p for p in table.phone], dtype=object)
    values = {"phone": phone, "log_f0": table.log_f0, "energy_db": table.energy_db}
    targets += [Target(n, True, v, table.utterance, "utterance") for n, v in values.items()]
    usable = []
    for target in targets:
        if len(choose_rows(target, len(target.values))):
            usable.append(target)
        else:
            why = ABSENT.get(target.name, "fewer than two classes that recur")
            gaps.append(f"{target.name} is not probed: {why}")
    return usable, gaps


def probe_codes(
    tables: Mapping[str, CodeTable], targets: Sequence[Target], steps: int, seed: int = 0
) -> list[Found]:
    """Probe all codes for all targets with all readers.

    The spectrogram, and codes that training doesn't touch, are read once.

    Args:
        tables: Codes by network, the trained one first.
        targets: What is to be read.
        steps: Most rows of a target per step.
        seed: Seed of the draws.
    """
    first = next(iter(tables.values()))
    jobs = [
        (network, code, target)
        for network, table in tables.items()
        for code in table.names
        if table is first or not same_code(first, table, code)
        for target in targets
    ]
    rows = {t.name: choose_rows(t, steps if t.per_step else len(t.values), seed) for t in targets}
    found = []
    for network, code, target in progress(jobs, "probing", len(jobs)):
        table = tables[network]
        codes = table.per_step(code) if target.per_step else table.per_utterance(code)
        for reader in READERS:
            reading = read(codes, target, rows[target.name], reader, seed)
            found.append(Found(network, code, target.name, target.held_out, reader, reading))
    return found


def same_code(first: CodeTable, table: CodeTable, code: str) -> bool:
    """Whether a code is the same in both tables."""
    return np.array_equal(first.per_step(code), table.per_step(code))


def _of_utterances(rows: Sequence[Utterance], name: str, by: str, gaps: list[str]) -> Target:
    """A target that each utterance has one value of, held out by another column if it varies."""
    values = np.array([getattr(u, name) for u in rows], dtype=object)
    if len({getattr(u, by) for u in rows}) < 2 <= len(set(values)):
        gaps.append(f"{name} is held out by utterance: there is only one {by}")
        by = "utterance"
    column = "id" if by == "utterance" else by
    _, groups = np.unique([str(getattr(u, column)) for u in rows], return_inverse=True)
    return Target(name, False, values, groups, by)
