"""``emovc reproduce emotion-encoder``: what trained emotion encoders recognise, per corpus."""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from emovc.common.combine import by_fold, combine
from emovc.common.csv_text import csv_of_records
from emovc.common.files import write_json, write_text
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.markdown import markdown_table
from emovc.common.progress import progress
from emovc.ser.emotion_encoder import EmotionEncoder
from emovc.ser.emotion_network import EmotionNetwork
from emovc.ser.recall import confusion_matrix, recalls
from emovc.ser.recognition import bootstrap, by_speaker, measures
from emovc.ser.train_emotion import fit_network, stored_statistics
from emovc.ser.whisper_experiment import compare_encoders, whisper_table

EPOCHS = 80
Decision = tuple[Utterance, str]  # an utterance and the emotion recognised


def emotion_encoder(
    manifests: list[Path],
    out: Path = Path("runs/emotion-encoder"),
    kind: Literal["images", "whisper"] = "images",
    folds: int = 5,
    seeds: int = 3,
    whisper: str | None = None,
    vocoder: Path | None = None,
    num_workers: int = 0,
) -> None:
    """Recall of the emotion encoders per corpus: own splits, held-out speakers, unheard corpora.

    An encoder decides among the emotions that the corpus has. With ``own split`` the corpora are
    parted as emovc prepare did it; with ``speaker folds`` every speaker is recognised by an encoder
    that learned from others; with ``other corpora`` by one that never met the corpus.

    With ``--kind whisper`` both encoders on Whisper are tested, beside a logistic regression and
    the first generation in the same folds: EMO-DB 5, RAVDESS 6, nEMO one per speaker. What is done
    is kept, and a second call goes on where the first was stopped.

    Args:
        manifests: Manifests of emovc prepare, one per corpus.
        out: Folder for table, combined manifest and features.
        kind: The encoder on the log-mel and the pitch alone, or those on Whisper.
        folds: Speaker-disjoint folds of the encoder on the log-mel.
        seeds: Trainings of each encoder.
        whisper: Folder or name on Hugging Face of Whisper; EMOVC_WHISPER or openai/whisper-base
            where none is given.
        vocoder: Folder of a HiFi-GAN for copy-synthesis.
        num_workers: Processes that read audio.
    """
    manifest = out / "manifest.jsonl"
    combine(manifests, manifest)
    rows = [u for u in read_manifest(manifest) if u.emotion is not None]
    if kind == "whisper":
        records = compare_encoders(manifest, rows, out, whisper, vocoder, seeds, num_workers)
        write_json(out / "emotion-encoder.json", records)
        write_text(out / "emotion-encoder.csv", csv_of_records(records))
        table = whisper_table(records)
        write_text(out / "emotion-encoder.md", table + "\n")
        sys.stdout.write(f"{table}\n{out}\n")
        return
    values = stored_statistics(manifest, rows, num_workers)
    results = []
    for seed in range(seeds):
        own = _decide(rows, values, [u.split == "train" for u in rows], seed)
        results += _rows("own split", seed, rows, own, [u.split == "test" for u in rows])
        dealt = [by_fold(rows, folds, fold) for fold in range(folds)]
        tested = [[u.split == "test" for u in fold] for fold in dealt]
        results += _rows("speaker folds", seed, rows, _crossed(rows, values, tested, seed))
        names = sorted({u.corpus for u in rows})
        if len(names) > 1:
            apart = [[u.corpus == name for u in rows] for name in names]
            results += _rows("other corpora", seed, rows, _crossed(rows, values, apart, seed))
    write_json(out / "emotion-encoder.json", results)
    write_text(out / "emotion-encoder.csv", _csv(results))
    sys.stdout.write(to_markdown(results) + f"\n{out}\n")


def _crossed(
    rows: Sequence[Utterance], values: Tensor, tested: Sequence[Sequence[bool]], seed: int
) -> list[str]:
    """Decisions for all utterances, each by an encoder that did not learn from its part."""
    found = [""] * len(rows)
    for part in progress(tested, "training", len(tested)):
        decided = _decide(rows, values, [not held for held in part], seed)
        found = [new if held else old for old, new, held in zip(found, decided, part, strict=True)]
    return found


@torch.inference_mode()
def _heard(network: EmotionNetwork, values: Tensor) -> Tensor:
    return network(values)[1].log_softmax(-1)


def _decide(
    rows: Sequence[Utterance], values: Tensor, learned: Sequence[bool], seed: int
) -> list[str]:
    """Decisions of an encoder that learned from some of the utterances, among the corpus' own."""
    encoder = EmotionEncoder()
    chosen = torch.tensor(learned)
    own = [u for u, taken in zip(rows, learned, strict=True) if taken]
    scores = _heard(fit_network(encoder, values[chosen], own, EPOCHS, seed), values)
    present = {c: {u.emotion for u in rows if u.corpus == c} for c in {u.corpus for u in rows}}
    decisions = []
    for u, row in zip(rows, scores, strict=True):
        allowed = [i for i, e in enumerate(encoder.emotions) if e in present[u.corpus]]
        decisions.append(encoder.emotions[allowed[int(row[allowed].argmax())]])
    return decisions


def _rows(
    protocol: str,
    seed: int,
    rows: Sequence[Utterance],
    decided: Sequence[str],
    tested: Sequence[bool] | None = None,
) -> list[dict[str, Any]]:
    """Table rows of one protocol and seed."""
    by_corpus: dict[str, list[Decision]] = defaultdict(list)
    for u, label, taken in zip(rows, decided, tested or [True] * len(rows), strict=True):
        if taken:
            by_corpus[u.corpus].append((u, label))
    return [{"protocol": protocol, "seed": seed, **row} for row in score(by_corpus)]


def score(decisions: Mapping[str, Sequence[Decision]]) -> list[dict[str, Any]]:
    """Per corpus: recall averaged over emotions, its interval by speaker, accuracy, recalls."""
    rows = []
    for corpus, found in sorted(decisions.items()):
        names = sorted({str(u.emotion) for u, _ in found} | {label for _, label in found})
        wanted = [names.index(str(u.emotion)) for u, _ in found]
        heard = [names.index(label) for _, label in found]
        own = recalls(confusion_matrix(wanted, heard, len(names)))
        right = np.array(wanted) == np.array(heard)
        speakers = [u.speaker for u, _ in found]
        confusions = by_speaker(np.array(wanted), np.array(heard), speakers, len(names))
        low, high = bootstrap(list(confusions.values()), lambda pooled: measures(pooled)["uar"])
        rows.append(
            {
                "corpus": corpus,
                "utterances": len(found),
                "speakers": len({u.speaker for u, _ in found}),
                "emotions": len(set(wanted)),
                "uar": float(np.nanmean(own)),
                "low": low,
                "high": high,
                "accuracy": float(right.mean()),
                "recalls": {n: float(r) for n, r in zip(names, own, strict=True) if r == r},
            }
        )
    return rows


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table, all in per cent."""
    head = (
        "protocol",
        "seed",
        "corpus",
        "utterances",
        "speakers",
        "emotions",
        "UAR [95 %]",
        "accuracy",
    )
    lines: list[Sequence[object]] = [(*head, "recalls")]
    for r in rows:
        uar = f"{100 * r['uar']:.1f} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]"
        each = ", ".join(f"{n} {100 * v:.0f}" for n, v in r["recalls"].items())
        who = (r["protocol"], r["seed"], r["corpus"])
        cells = (*who, r["utterances"], r["speakers"], r["emotions"], uar)
        lines.append((*cells, f"{100 * r['accuracy']:.1f}", each))
    return markdown_table(lines)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per run and corpus."""
    return csv_of_records([{k: v for k, v in row.items() if k != "recalls"} for row in rows])
