"""``emovc reproduce f0``: F0 trackers against known F0, hand labels, and each other."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emovc.common.audio_copies import active_level
from emovc.common.csv_text import csv_of_records
from emovc.common.errors import UserError
from emovc.common.f0 import Dio, F0Tracker, Fcpe, Harvest, SwiftF0
from emovc.common.f0_tables import COPY, LABELS, OTHERS, TRUTH, Record, to_markdown
from emovc.common.files import sha256_of, without_nan, write_json, write_text
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.metrics import GROSS, f0_errors
from emovc.common.phones import label_files
from emovc.common.progress import progress
from emovc.common.voiced_phones import read_voicing, voicing_at
from emovc.common.wav import read_wav

RATE, HOP, CENTRE = 22_050, 256, 128  # the clock of LogMel's default, and of the toy corpus


class Speech(NamedTuple):
    """Recordings and what trackers find in them.

    Attributes:
        rows: Utterances of one corpus.
        loud: Whether each is in the louder third of them, (U,).
        tracks: F0 in Hz of each utterance by tracker, each (T,).
        cost: CPU seconds per second by tracker.
    """

    rows: list[Utterance]
    loud: np.ndarray
    tracks: dict[str, list[np.ndarray]]
    cost: dict[str, float]


def f0(
    manifests: list[Path],
    out: Path = Path("runs/f0"),
    split: str = "val",
    utterances: int = 60,
    thresholds: list[float] | None = None,
    noise_db: list[float] | None = None,
    copies: int = 12,
    seed: int = 0,
) -> None:
    """Errors and costs of F0 trackers, by the truth where there is one, and by each other.

    The toy corpus tells its F0, and is tracked in noise too. EMO-DB's hand labels tell what is
    voiced. Of every corpus but the toy the trackers are compared with each other, and with the
    median of those that are left.

    Args:
        manifests: Manifests, one corpus each.
        out: Folder for ``f0.csv``, ``f0.json`` and ``f0.md``.
        split: Part of the manifests.
        utterances: How many of each, drawn at random.
        thresholds: Confidences that SwiftF0 is also tried with; by default 0.3, 0.4 and 0.6.
        noise_db: Levels of speech above white noise in dB for the toy; by default 20 and 10.
        copies: How many real recordings are also tracked in a copy by Griffin-Lim, which has their
            F0 but rough phases: what a tracker for metrics must bear.
        seed: Seed of draw and noise.

    Raises:
        UserError: A manifest has no such part.
    """
    trackers = make_trackers([0.3, 0.4, 0.6] if thresholds is None else thresholds)
    levels = [np.inf, *([20.0, 10.0] if noise_db is None else noise_db)]
    records: list[Record] = []
    about = {}
    for manifest in manifests:
        rows = draw(manifest, split, utterances, seed)
        corpus = rows[0].corpus
        seconds = sum(u.seconds for u in rows)
        about[corpus] = {
            "manifest": sha256_of(manifest),
            "split": f"{split} of {rows[0].split_id}",
            "utterances": len(rows),
            "seconds": round(seconds, 1),
        }
        if corpus == "toy":
            for level in levels:
                speech = track(rows, trackers, with_noise(level, seed))
                records += toy_records(speech, level)
        else:
            speech = track(rows, trackers)
            records += real_records(speech)
            again = track(rows[:: max(1, len(rows) // copies)], trackers, copy_synthesis())
            records += copy_records(speech, again)
    settings = {"seed": seed, "trackers": {n: t.settings for n, t in trackers.items()}, **about}
    write_json(out / "f0.json", without_nan({"settings": settings, "records": records}))
    write_text(out / "f0.csv", csv_of_records(records))
    text = to_markdown(records, about, seed)
    write_text(out / "f0.md", text)
    sys.stdout.write(f"{text}\n{out}\n")


def make_trackers(thresholds: Sequence[float]) -> dict[str, F0Tracker]:
    """All trackers by name; SwiftF0 also with other thresholds."""
    found: dict[str, F0Tracker] = {
        "DIO": Dio(RATE, HOP, CENTRE),
        "Harvest": Harvest(RATE, HOP, CENTRE),
        "FCPE": Fcpe(RATE, HOP, CENTRE),
        "SwiftF0": SwiftF0(RATE, HOP, CENTRE),
    }
    more = {f"SwiftF0 {t:g}": SwiftF0(RATE, HOP, CENTRE, threshold=t) for t in thresholds}
    return found | more


def draw(manifest: Path, split: str, n: int, seed: int) -> list[Utterance]:
    """Draw ``n`` utterances of a part, or take all if there are no more."""
    rows = [u for u in read_manifest(manifest) if u.split == split]
    if not rows:
        raise UserError(f"{manifest}: split {split} is empty; give --split train, val or test")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:n]
    return [rows[i] for i in sorted(chosen)]


def with_noise(level_db: float, seed: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """Adds white noise to the n-th utterance.

    Args:
        level_db: Level of the speech above the noise in dB, infinite for none.
        seed: Seed of the noise.
    """

    def add(wav: np.ndarray, n: int) -> np.ndarray:
        level = active_level(wav, RATE).active_db - level_db
        noise = np.random.default_rng((seed, n)).standard_normal(len(wav))
        return (wav + 10 ** (level / 20) * noise).astype(np.float32)

    return add


def copy_synthesis() -> Callable[[np.ndarray, int], np.ndarray]:
    """Makes a waveform anew from its log-mel by Griffin-Lim."""
    import torch

    from emovc.common.audio import LogMel
    from emovc.common.griffin_lim import GriffinLim

    frontend = LogMel()
    vocoder = GriffinLim(frontend)

    def copy(wav: np.ndarray, n: int) -> np.ndarray:
        mel = frontend(torch.from_numpy(wav)[None])
        return np.asarray(vocoder(mel)[0].numpy())

    return copy


def track(
    rows: list[Utterance],
    trackers: Mapping[str, F0Tracker],
    change: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> Speech:
    """Track all utterances on one core.

    Args:
        rows: Utterances.
        trackers: Trackers by name.
        change: What is done to the waveform of the n-th utterance first.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tracks: dict[str, list[np.ndarray]] = {name: [] for name in trackers}
    cost, levels = dict.fromkeys(trackers, 0.0), []
    for tracker in trackers.values():
        tracker(read_wav(rows[0].path, RATE)[0])  # loads weights and code, which isn't counted
    for n, u in enumerate(progress(rows, "tracking F0", len(rows))):
        wav = read_wav(u.path, RATE)[0]
        levels.append(active_level(wav, RATE).active_db)
        frames = len(wav) // HOP
        wav = wav if change is None else change(wav, n)
        for name, tracker in trackers.items():
            start = time.process_time()
            tracks[name].append(tracker(wav, frames))
            cost[name] += time.process_time() - start
    torch.set_num_threads(threads)
    seconds = sum(u.seconds for u in rows)
    loud = np.array(levels) >= np.quantile(levels, 2 / 3)
    return Speech(rows, loud, tracks, {name: s / seconds for name, s in cost.items()})


def toy_records(speech: Speech, level_db: float) -> list[Record]:
    """Errors against the F0 that the toy corpus was synthesised with."""
    true = [
        np.array(json.loads(label_files(u, "toy", None)[0].read_text(encoding="utf-8"))["f0_hz"])
        for u in speech.rows
    ]
    noise = "none" if np.isinf(level_db) else f"{level_db:g} dB"
    return [
        {"corpus": "toy", "group": "all", "noise": noise, "tracker": name, "against": TRUTH}
        | _errors(np.concatenate(tracks), np.concatenate(true))
        | {"cpu_s_per_s": speech.cost[name]}
        for name, tracks in speech.tracks.items()
    ]


def real_records(speech: Speech) -> list[Record]:
    """Trackers against each other, and against hand labels where there are some."""
    found = []
    for group, chosen in {"all": np.ones(len(speech.rows), bool), "loud": speech.loud}.items():
        here = np.flatnonzero(chosen)
        tracks = {
            n: np.concatenate([found_hz[i] for i in here]) for n, found_hz in speech.tracks.items()
        }
        base = {"corpus": speech.rows[0].corpus, "group": group, "noise": "none"}
        for name, found_hz in tracks.items():
            head = base | {"tracker": name}
            cost = {"cpu_s_per_s": speech.cost[name]}
            others = [n for n in tracks if " " not in n and n != name.partition(" ")[0]]
            found += [head | {"against": n} | _errors(found_hz, tracks[n]) | cost for n in others]
            median_hz, sure = median_track([tracks[n] for n in others])
            found.append(
                head | {"against": OTHERS} | _errors(found_hz[sure], median_hz[sure]) | cost
            )
        found += label_records(speech, here, base)
    return found


def copy_records(speech: Speech, again: Speech) -> list[Record]:
    """What each tracker finds in copies, against what it found in the recordings."""
    places = [speech.rows.index(u) for u in again.rows]
    base = {"corpus": speech.rows[0].corpus, "group": "Griffin-Lim", "noise": "none"}
    return [
        base
        | {"tracker": name, "against": COPY}
        | _errors(np.concatenate(again.tracks[name]), np.concatenate([found_hz[i] for i in places]))
        | {"cpu_s_per_s": again.cost[name]}
        for name, found_hz in speech.tracks.items()
    ]


def median_track(tracks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Median of some trackers, no truth: they may be wrong together.

    Args:
        tracks: F0 in Hz by three or more trackers, each (T,).

    Returns:
        F0 in Hz, (T,), voiced where most trackers say so: the median of these. And where it can be
        trusted, (T,): it is unvoiced, or at least two of them are within 20 % of it.
    """
    f0_hz = np.stack(tracks)
    voiced = (f0_hz > 0).sum(0) * 2 > len(tracks)
    logs = np.where(f0_hz > 0, np.log(np.maximum(f0_hz, 1.0)), np.nan)
    logs[:, ~voiced] = 0.0
    median_hz = np.where(voiced, np.exp(np.nanmedian(logs, axis=0)), 0.0)
    near = (np.abs(f0_hz - median_hz) <= GROSS * median_hz).sum(0)
    return median_hz, ~voiced | (near >= 2)


def label_records(speech: Speech, here: np.ndarray, base: Record) -> list[Record]:
    """Errors of voicing against EMO-DB's hand labels, of the utterances ``here``."""
    labels = {i: label_files(speech.rows[i], "emodb", None) for i in here}
    paths = {i: next((p for p in places if p.is_file()), None) for i, places in labels.items()}
    if speech.rows[0].corpus != "emodb" or not any(paths.values()):
        return []
    true: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for i, path in paths.items():
        if path is not None:
            frames = len(next(iter(speech.tracks.values()))[i])
            times_s = (np.arange(frames) * HOP + CENTRE) / RATE
            true[i] = voicing_at(read_voicing(path), times_s)
    voiced = np.concatenate([v[known] for v, known in true.values()])
    found = []
    for name, tracks in speech.tracks.items():
        called = np.concatenate([tracks[i][known] > 0 for i, (_, known) in true.items()])
        found.append(
            base
            | {"tracker": name, "against": LABELS, "frames": len(voiced)}
            | {"voicing": float(np.mean(called != voiced))}
            | _voicing(called, voiced)
            | {"cpu_s_per_s": speech.cost[name]}
        )
    return found


def _errors(found_hz: np.ndarray, true_hz: np.ndarray) -> Record:
    """Errors of a track as a record; missed are the voiced frames called unvoiced."""
    called, voiced = found_hz > 0, true_hz > 0
    return {
        "frames": len(true_hz),
        **f0_errors(found_hz, true_hz)._asdict(),
        **_voicing(called, voiced),
    }


def _voicing(called: np.ndarray, voiced: np.ndarray) -> Record:
    """Shares of the voiced frames that are missed, and of the others that are called voiced."""
    wrong = called != voiced
    return {
        "missed": float(wrong[voiced].mean()) if voiced.any() else float("nan"),
        "false": float(wrong[~voiced].mean()) if not voiced.all() else float("nan"),
    }
