"""What the encoders on Whisper recognise: speakers and corpora they never met, copies, calibration.

Log-probabilities are kept in the experiment's folder, so that a run that was stopped goes on.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emovc.common.emotions import EMOTIONS
from emovc.common.files import atomic_path, short_hash
from emovc.common.manifest import Utterance
from emovc.common.markdown import markdown_table
from emovc.ser.emotion_encoder import EmotionEncoder
from emovc.ser.recognition import bootstrap, by_speaker, measures
from emovc.ser.train_emotion import fit_network, stored_statistics
from emovc.ser.train_whisper_emotion import SETTINGS, extract_moments
from emovc.ser.whisper_folds import (
    among,
    calibration_error,
    cross,
    cross_temperatures,
    make_rounds,
)
from emovc.ser.whisper_training import Examples, allowed_emotions, read_examples

FIRST_EPOCHS = 80
TRIAL_LAYER, TRIAL_C = 2, 0.003  # of the plain logistic regression
FOLDS, CORPORA = "speaker folds", "other corpora"


def compare_encoders(
    manifest: Path,
    rows: Sequence[Utterance],
    out: Path,
    whisper: str | None,
    vocoder: Path | None,
    seeds: int,
    num_workers: int,
) -> list[dict[str, Any]]:
    """Recalls of both encoders on Whisper, of a plain regression and of the first generation.

    Args:
        manifest: Combined manifest, with the feature store beside it.
        rows: Its labelled utterances.
        out: Folder for the log-probabilities.
        whisper: Folder or name of Whisper; ``None``: the default.
        vocoder: Folder of a HiFi-GAN, or none.
        seeds: Deals of the speakers to folds.
        num_workers: Processes that read audio.

    Returns:
        A record per encoder, protocol, kind of recording, corpus, and use of the speakers'
        statistics.
    """
    stores = extract_moments(rows, manifest.parent / "features", whisper, vocoder, num_workers)
    deals = [make_rounds(rows, seed) for seed in range(seeds)]
    corpora = sorted({u.corpus for u in rows})
    apart = [{u.speaker for u in rows if u.corpus == corpus} for corpus in corpora]
    records: list[dict[str, Any]] = []
    for purpose, settings in SETTINGS.items():
        examples = read_examples(stores, rows, settings.layers)
        for protocol, dealt in ((FOLDS, deals), (CORPORA, [apart] if len(apart) > 1 else [])):
            found = []
            for seed, held in enumerate(dealt):
                name = f"{purpose}-{short_hash(settings)}-{protocol.split()[1]}-{seed}"
                scores = _kept(out / f"{name}.npy", partial(cross, examples, held, settings))
                temperatures = _kept(
                    out / f"{name}-temperatures.npy",
                    partial(cross_temperatures, examples, held, settings),
                )
                found.append(scores / temperatures[..., None])
            records += score_examples(purpose, protocol, examples, found)
    plain = read_examples({"": stores[""]}, rows, (TRIAL_LAYER,))
    found = [_kept(out / "regression-0.npy", partial(regression, plain, deals[0]))]
    records += score_examples(f"regression, layer {TRIAL_LAYER}", FOLDS, plain, found)
    values = stored_statistics(manifest, rows, num_workers)
    found = [
        _kept(out / f"first-{seed}.npy", partial(first_generation, rows, values, held, seed))
        for seed, held in enumerate(deals)
    ]
    return records + score_examples("first generation", FOLDS, plain, found)


def _kept(path: Path, compute: Callable[[], Tensor]) -> Tensor:
    """What a file holds, computed and written first where it is not there yet."""
    if not path.exists():
        sys.stderr.write(f"{path.name}\n")
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, compute().numpy())
    return torch.from_numpy(np.load(path))


def regression(examples: Examples, rounds: Sequence[set[str]]) -> Tensor:
    """Log-probabilities of a logistic regression on one layer's mean and deviation, per corpus.

    Balanced, C = .003, on standardized statistics; the trial that the encoders must beat.

    Returns:
        Without and with the speakers' normalization, (2, N, E).
    """
    from sklearn.linear_model import LogisticRegression

    rows = examples.utterances
    plain = examples.statistics.flatten(1).numpy()
    speakers = np.array([u.speaker for u in rows])
    corpora = np.array([u.corpus for u in rows])
    labels = np.array([EMOTIONS.index(str(u.emotion)) for u in rows])
    own = plain.copy()
    for name in np.unique(speakers):
        mine = speakers == name
        own[mine] = (plain[mine] - plain[mine].mean(0)) / (plain[mine].std(0) + 1e-6)
    found = torch.full((2, len(rows), len(EMOTIONS)), -torch.inf)
    for held in rounds:
        for corpus in np.unique(corpora):
            test = (corpora == corpus) & np.isin(speakers, list(held))
            learn = (corpora == corpus) & ~test
            if not test.any():
                continue
            for mode, values in enumerate((plain, own)):
                mean, deviation = values[learn].mean(0), values[learn].std(0) + 1e-6
                model = LogisticRegression(C=TRIAL_C, class_weight="balanced", max_iter=300)
                model.fit((values[learn] - mean) / deviation, labels[learn])
                scores = model.predict_log_proba((values[test] - mean) / deviation)
                block = torch.full((int(test.sum()), len(EMOTIONS)), -torch.inf)
                block[:, model.classes_] = torch.from_numpy(scores).float()
                found[mode, test] = block
    return found


def first_generation(
    rows: Sequence[Utterance], values: Tensor, rounds: Sequence[set[str]], seed: int
) -> Tensor:
    """Log-probabilities of the first encoder in the same rounds, (2, N, E); both modes are one."""
    encoder = EmotionEncoder()
    found = torch.full((2, len(rows), len(EMOTIONS)), torch.nan)
    for held in rounds:
        test = torch.tensor([u.speaker in held for u in rows])
        own = [u for u in rows if u.speaker not in held]
        network = fit_network(encoder, values[~test], own, FIRST_EPOCHS, seed)
        with torch.inference_mode():
            found[:, test] = network(values[test])[1].log_softmax(-1)
    return found


def score_examples(
    system: str, protocol: str, examples: Examples, found: Sequence[Tensor]
) -> list[dict[str, Any]]:
    """Records of one system: per kind of recording, corpus and mode, over all deals.

    Degraded copies are scored beside the recordings that they are of.

    Args:
        system: Name.
        protocol: How it was tested.
        examples: Recordings and degraded copies, N.
        found: Log-probabilities of each deal, (2, N, E).
    """
    allowed = allowed_emotions(examples.utterances)
    posteriors = [among(one, allowed).exp().numpy() for one in found]
    rows = examples.utterances
    labels = np.array([EMOTIONS.index(str(u.emotion)) for u in rows])
    kinds, corpora = np.array(examples.kinds), np.array([u.corpus for u in rows])
    hashes = np.array([u.sha256 for u in rows])
    records = []
    for kind in dict.fromkeys(examples.kinds):
        for corpus in sorted(set(corpora)):
            copies = (corpora == corpus) & (kinds == kind)
            parts = [(kind or "recordings", copies)]
            if kind:
                same = (kinds == "") & np.isin(hashes, hashes[copies])
                parts.append((f"recordings of {kind}", same))
            for (name, chosen), mode in ((p, m) for p in parts for m in (0, 1)):
                mine = [one[mode][chosen] for one in posteriors]
                speakers = [u.speaker for u, c in zip(rows, chosen, strict=True) if c]
                score = score_decisions(labels[chosen], mine, speakers)
                head = {"encoder": system, "protocol": protocol, "recordings": name}
                where = {"corpus": corpus, "speaker_statistics": bool(mode)}
                records.append({**head, **where, **score})
    return records


def score_decisions(
    labels: np.ndarray, posteriors: Sequence[np.ndarray], speakers: Sequence[str]
) -> Mapping[str, Any]:
    """Unweighted average recall over the deals with its interval over speakers, and calibration.

    Args:
        labels: True emotions, (N,).
        posteriors: Of each deal, (N, E).
        speakers: Who speaks, N.
    """
    errors, accuracies, confusions = [], [], []
    for posterior in posteriors:
        decided = posterior.argmax(1)
        errors.append(calibration_error(posterior.max(1), decided == labels))
        accuracies.append(float((decided == labels).mean()))
        own = by_speaker(labels, decided, speakers, posterior.shape[1])
        confusions.append(np.stack([own[name] for name in sorted(own)]))  # (S, E, E)
    stacked = np.stack(confusions, axis=1)  # (S, deals, E, E)
    each = measures(stacked.sum(0))["uar"]
    low, high = bootstrap(list(stacked), lambda pooled: measures(pooled)["uar"].mean(-1))
    return {
        "utterances": len(labels),
        "speakers": len(set(speakers)),
        "deals": len(posteriors),
        "uar": float(each.mean()),
        "low": low,
        "high": high,
        "lowest_deal": float(each.min()),
        "highest_deal": float(each.max()),
        "accuracy": float(np.mean(accuracies)),
        "calibration_error": float(np.mean(errors)),
    }


def whisper_table(records: Sequence[Mapping[str, Any]]) -> str:
    """UAR in per cent with its interval, without and with the speakers' statistics, and ECE."""
    pairs: dict[tuple[Any, ...], dict[bool, Mapping[str, Any]]] = {}
    for record in records:
        names = ("encoder", "protocol", "recordings", "corpus", "utterances", "speakers", "deals")
        key = tuple(record[name] for name in names)
        pairs.setdefault(key, {})[record["speaker_statistics"]] = record
    head = ("encoder", "protocol", "recordings", "corpus", "utterances", "speakers", "deals")
    modes = ("UAR [95 %]", "UAR with speaker statistics [95 %]", "ECE without / with")
    lines: list[Sequence[object]] = [(*head, *modes)]
    for key, both in pairs.items():
        cells = []
        for mode in (False, True):
            r = both[mode]
            cells.append(f"{100 * r['uar']:.1f} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]")
        errors = " / ".join(
            f"{100 * both[mode]['calibration_error']:.1f}" for mode in (False, True)
        )
        lines.append((*key, *cells, errors))
    return markdown_table(lines)
