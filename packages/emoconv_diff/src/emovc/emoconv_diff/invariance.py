"""``emovc reproduce emoconv-average-voice``: what average voices leave of speaker and emotion."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from emovc.common.audio import require_same_mel
from emovc.common.convert import read_speech
from emovc.common.dtw import warping_path
from emovc.common.errors import UserError
from emovc.common.files import sha256_of, write_json, write_text
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.markdown import markdown_table
from emovc.common.pretrained import find_model
from emovc.common.probes import probe_recall
from emovc.common.progress import progress
from emovc.emoconv_diff.encoder import AverageVoiceEncoder
from emovc.emoconv_diff.experiments import choose

KINDS = {
    "emotion": "L1, same words and speaker, other emotion",
    "speaker": "L1, same words and emotion, other speaker",
    "words": "L1, same speaker and emotion, other words",
}
PROBES = {"emotion_recall": "recall of emotion", "speaker_recall": "recall of speaker"}
Mels = dict[str, np.ndarray]  # (T, M) by the id of the utterance
Pairs = dict[str, list[tuple[Utterance, Utterance]]]


class Found(NamedTuple):
    """What was measured of one kind of mel.

    Attributes:
        distances: Mean L1 along the alignment, by what differs in a pair.
        recalls: Recall of linear probes on mean and deviation over time.
    """

    distances: dict[str, float]
    recalls: dict[str, float]


def emoconv_average_voice(
    encoders: list[Path],
    manifest: Path,
    out: Path = Path("runs/emoconv_average_voice"),
    names: list[str] | None = None,
    split: str = "test",
    pairs: int = 40,
    seed: int = 0,
) -> None:
    """Distances of average voices beside those of the mels, and what probes read in both.

    Pairs are aligned once, by their mels. An average voice that only smooths brings all pairs
    together; one that keeps the words brings those of the same words nearer than those of others.

    Args:
        encoders: Runs, checkpoints or exported folders of average-voice encoders.
        manifest: Manifest with parallel sentences.
        out: Folder for table and JSON.
        names: Name of each row; by default the run's folder.
        split: Part of the manifest.
        pairs: Pairs of each kind.
        seed: Seed of the choice of pairs.
    """
    titles = names or [path.name for path in encoders]
    if len(titles) != len(encoders):
        raise UserError(f"names: {len(titles)} for {len(encoders)} encoders; give one for each")
    models = [AverageVoiceEncoder.from_pretrained(path) for path in encoders]
    for path, model in zip(encoders, models, strict=True):
        require_same_mel(models[0].frontend, model.frontend.settings, str(path))
    rows = choose(read_manifest(manifest), manifest, split, None, seed)
    drawn = draw_pairs(rows, pairs, seed)
    mels = _mels(models[0], rows)
    found = {"the mels": look_at(mels, mels, drawn, rows)}
    for title, model in zip(titles, models, strict=True):
        average = {k: _average(model, mel) for k, mel in progress(mels.items(), title, len(mels))}
        found[title] = look_at(average, mels, drawn, rows)
    settings = {
        "encoders": {t: sha256_of(find_model(p)) for t, p in zip(titles, encoders, strict=True)},
        "manifest": sha256_of(manifest),
        "split": split,
        "pairs": {kind: len(own) for kind, own in drawn.items()},
        "seed": seed,
    }
    _write(out, found, settings)


def draw_pairs(rows: Sequence[Utterance], count: int, seed: int) -> Pairs:
    """Pairs that differ in emotion, speaker or words alone.

    Args:
        rows: Utterances.
        count: Most pairs of each kind.
        seed: Seed of the draw.

    Raises:
        UserError: There are none of a kind.
    """
    alike: dict[str, Callable[[Utterance], tuple[str | None, ...]]] = {
        "emotion": lambda u: (u.corpus, u.speaker, u.sentence),
        "speaker": lambda u: (u.corpus, u.sentence, u.emotion),
        "words": lambda u: (u.corpus, u.speaker, u.emotion),
    }
    differ = {"emotion": "emotion", "speaker": "speaker", "words": "sentence"}
    found: Pairs = {}
    for kind, key in alike.items():
        groups: dict[tuple[str | None, ...], list[Utterance]] = {}
        for u in sorted(rows, key=lambda u: u.id):
            if u.sentence and u.emotion:
                groups.setdefault(key(u), []).append(u)
        every = [
            (a, b)
            for own in groups.values()
            for i, a in enumerate(own)
            for b in own[i + 1 :]
            if getattr(a, differ[kind]) != getattr(b, differ[kind])
        ]
        if not every:
            raise UserError(f"no two utterances differ in their {kind} alone; give another corpus")
        order = np.random.default_rng(seed).permutation(len(every))[:count]
        found[kind] = [every[i] for i in order]
    return found


def look_at(shown: Mels, mels: Mels, pairs: Pairs, rows: Sequence[Utterance]) -> Found:
    """Distances and probes of mels or average voices.

    Args:
        shown: What is looked at, (T, M) by id.
        mels: The mels that align it.
        pairs: Pairs by what differs in them.
        rows: Utterances, for the probes.
    """
    distances = {}
    for kind, own in pairs.items():
        values = []
        for a, b in own:
            i, j = warping_path(mels[a.id], mels[b.id])
            values.append(np.abs(shown[a.id][i] - shown[b.id][j]).mean())
        distances[kind] = float(np.mean(values))
    x = np.stack([np.concatenate([shown[u.id].mean(0), shown[u.id].std(0)]) for u in rows])
    words = np.array([f"{u.corpus} {u.sentence}" for u in rows])
    recalls = {
        "emotion_recall": probe_recall(x, np.array([str(u.emotion) for u in rows]), words),
        "speaker_recall": probe_recall(x, np.array([u.speaker for u in rows]), words),
    }
    return Found(distances, recalls)


def _mels(model: AverageVoiceEncoder, rows: Sequence[Utterance]) -> Mels:
    """Log-mels by id."""
    rate = model.frontend.sample_rate
    return {
        u.id: model.frontend(read_speech(u.path, rate).wav[None])[0].T.numpy()
        for u in progress(rows, "reading", len(rows))
    }


@torch.inference_mode()
def _average(model: AverageVoiceEncoder, mel: np.ndarray) -> np.ndarray:
    """Average voice (T, M) of a log-mel (T, M)."""
    x = torch.from_numpy(mel.T.copy())[None]
    return model(x, x.new_ones(1, x.shape[2]))[0].T.numpy()


def _write(out: Path, found: dict[str, Found], settings: dict[str, object]) -> None:
    """Write ``emoconv_average_voice.{md,json}`` and print the table."""
    lines = [["", *KINDS.values(), *PROBES.values()]]
    for name, own in found.items():
        cells = [f"{own.distances[k]:.3f}" for k in KINDS]
        lines.append([name, *cells, *(f"{own.recalls[k]:.2f}" for k in PROBES)])
    text = markdown_table(lines)
    rows = {name: own.distances | own.recalls for name, own in found.items()}
    write_json(out / "emoconv_average_voice.json", {"settings": settings, "rows": rows})
    write_text(out / "emoconv_average_voice.md", text + "\n")
    sys.stdout.write(f"\n{text}\n\n{out}\n")
