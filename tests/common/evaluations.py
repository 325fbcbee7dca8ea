"""Folders as ``emovc evaluate`` writes them, with scores that are known."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emovc.common.files import write_json, write_text
from emovc.common.scores import Score
from emovc.common.wav import write_wav

SPEAKERS = ("s0", "s1", "s2", "s3")
EMOTIONS = ("angry", "happy", "sad")
ROWS = ("source", "model", "copy-synthesis", "target")
RATE = 16_000


def judge(name: str, weights: str = "abc", marks: Sequence[str] = ()) -> dict[str, Any]:
    """Record of a judge of emotions."""
    metrics = {f"emotion_accuracy_{name}": f"emotion accuracy ({name})"}
    about = {"weights": weights, "trained_on": ["emodb"]}
    return {"name": name, "metrics": metrics, "about": about, "marks": list(marks)}


JUDGES = (judge("ear"), judge("other", marks=["saw toy in training"]))


def write_evaluation(
    folder: Path,
    model: str,
    mcd: float = 6.0,
    right: int = 2,
    judges: Sequence[dict[str, Any]] = JUDGES,
    n_pairs: int = 12,
    copy: float = 3.0,
    sound: bool = True,
    **settings: Any,
) -> Path:
    """An evaluation whose model's MCD is ``mcd`` plus a hundredth of the pair's number.

    The judges hear the first ``right`` emotions rightly and ``sad`` for all others.
    """
    told = {"model": model, "manifest": "f" * 64, "split": "test", "dialect": "d", "seed": 0}
    write_json(folder / "settings.json", told | settings)
    lines = []
    for i in range(n_pairs):
        speaker, emotion = SPEAKERS[i % 4], EMOTIONS[i % 3]
        level = {"source": 8.0, "model": mcd + 0.01 * i, "copy-synthesis": copy, "target": 0.0}
        scores = []
        for row in ROWS:
            metrics = {"mcd_db": level[row], "duration_error_s": 0.1 * (-1) ** i}
            metrics["speaker_similarity"] = 0.9 if row == "target" else 0.5 + 0.02 * i
            said = emotion if row == "target" or i % 3 < right else "sad"
            said = "neutral" if row == "source" else said
            labels = {f"emotion_{j['name']}": said for j in judges}
            metrics |= {f"emotion_accuracy_{j['name']}": float(said == emotion) for j in judges}
            scores.append(Score(pair(i), row, speaker, emotion, metrics, labels)._asdict())
        lines.append(json.dumps(scores) + "\n")
        if sound:
            _sounds(folder, i)
    write_text(folder / "scores.jsonl", "".join(lines))
    keys = {"eval/toy_test/mcd_db": mcd, "eval/toy_test/speaker_similarity": 0.6}
    keys |= {f"eval/toy_test/emotion_accuracy_{j['name']}": right / 3 for j in judges}
    keys["eval/toy_test/mcd_db/sad"] = mcd
    texts = {pair(i): f"Sentence {i} <says> & so on" for i in range(n_pairs)}
    summary = {"judges": list(judges), "gaps": [], "keys": keys, "texts": texts}
    write_json(folder / "summary.json", summary)
    return folder


def pair(number: int) -> str:
    """Id of a pair."""
    return f"toy_{SPEAKERS[number % 4]}_{number}--{EMOTIONS[number % 3]}"


def _sounds(folder: Path, number: int) -> None:
    """Half a second of tone for each row."""
    time = np.arange(RATE // 2) / RATE
    for i, row in enumerate(ROWS):
        wav = 0.2 * np.sin(2 * np.pi * (200 + 50 * i + 10 * number) * time)
        write_wav(folder / "audio" / row / f"{pair(number)}.wav", wav.astype(np.float32), RATE)
