"""``emovc reproduce voice-encoder``: how well voices are told apart that were not learned."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emovc.common.audio import LogMel
from emovc.common.combine import combine
from emovc.common.csv_text import csv_of_records
from emovc.common.features.extraction import extract
from emovc.common.features.networks import DvectorFeature
from emovc.common.features.store import FeatureStore, store_folder
from emovc.common.files import (
    atomic_path,
    read_json,
    short_hash,
    without_nan,
    write_json,
    write_text,
)
from emovc.common.griffin_lim import GriffinLim
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.markdown import markdown_table
from emovc.common.progress import progress
from emovc.ser.degraded import CopySynthesis, DegradedFeature
from emovc.ser.train_voice import first_of_each, stored_recordings
from emovc.ser.train_whisper_emotion import RATE, is_degraded
from emovc.ser.voice_choice import choose_settings
from emovc.ser.voice_training import Margin, Recordings, Settings, fit_voice, voices
from emovc.ser.voice_trials import (
    KINDS,
    Kind,
    Trials,
    deal_groups,
    drawn_error_rates,
    equal_error_rate,
    make_trials,
)

VOCODED = "griffin_lim"
MEAN_LAYERS = (0, 3)  # of the plain means
MARGIN = Margin()  # what stands beside the voice encoder
Systems = dict[str, list[np.ndarray]]  # unit vectors of recordings and copies, of each seed (N, V)


def voice_encoder(
    manifests: list[Path],
    out: Path = Path("runs/voice-encoder"),
    seeds: int = 3,
    per_speaker: int = 0,
    whisper: str | None = None,
    num_workers: int = 0,
) -> None:
    """Equal error rates of speakers whom the voice encoder did not learn from.

    Beside it stand Resemblyzer's d-vector, plain means of layers of Whisper, and a head trained
    by a margin softmax on the same statistics. Trials are within corpus and gender and of different
    words; with ``speaker folds`` the encoder learned from other speakers of all corpora, with
    ``other corpora`` it never met the corpus.

    Args:
        manifests: Manifests of emovc prepare, one per corpus.
        out: Folder for tables, combined manifest and features.
        seeds: Trainings of what is not in closed form, the margin softmax.
        per_speaker: Recordings of each speaker that take part, drawn by the hash of their files; 0:
            all.
        whisper: Folder or name on Hugging Face of Whisper; EMOVC_WHISPER or openai/whisper-base
            where none is given.
        num_workers: Processes that read audio.
    """
    manifest = out / "manifest.jsonl"
    combine(manifests, manifest)
    rows = first_of_each(read_manifest(manifest), per_speaker)
    root = manifest.parent / "features"
    recordings = stored_recordings(root, rows, whisper, num_workers)
    systems: Systems = {"d-vector": [dvectors(root, recordings, num_workers)]}
    for layer in MEAN_LAYERS:
        systems[f"mean of layer {layer}"] = [mean_vectors(recordings, layer)]
    groups = deal_groups(rows)
    apart = {name: i for i, name in enumerate(sorted({u.corpus for u in rows}))}
    corpora = {u.speaker: apart[u.corpus] for u in rows}
    chosen: dict[str, Any] = {}
    plans: list[tuple[str, dict[str, int], Settings | None, int]] = [
        ("voice encoder, speaker folds", groups, None, 1),
        ("voice encoder, other corpora", corpora, None, 1),
        ("margin softmax, speaker folds", groups, MARGIN, seeds),
    ]
    for name, held, settings, n_seeds in plans:
        if len(set(held.values())) > 1:
            folder = out / "vectors" / name.replace(", ", "-").replace(" ", "_")
            systems[name], chosen[name] = crossed(recordings, held, settings, n_seeds, folder)
    records = score_systems(recordings, systems, groups)
    write_json(out / "voice-encoder.json", without_nan({"chosen": chosen, "rates": records}))
    write_text(out / "voice-encoder.csv", csv_of_records(records))
    table = to_markdown(records)
    write_text(out / "voice-encoder.md", table + "\n")
    sys.stdout.write(f"{table}\n{out}\n")


def crossed(
    recordings: Recordings,
    held: Mapping[str, int],
    settings: Settings | None,
    seeds: int,
    folder: Path,
) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Vectors of all recordings by encoders that did not learn from their speakers.

    Args:
        recordings: Recordings and degraded copies.
        held: Round in which each speaker is held out.
        settings: Of the encoders; ``None``: each round chooses by speakers of its own.
        seeds: Trainings of each.
        folder: Where finished rounds are kept, so that a run that was stopped goes on.

    Returns:
        Vectors (N, V) of each seed, and the settings that each round chose among.
    """
    numbers = sorted(set(held.values()))
    found, chosen, order = [], [], []
    for number in progress(numbers, "training", len(numbers)):
        test = {name for name, of in held.items() if of == number}
        learn, places = set(held) - test, recordings.where(test).numpy()
        key = short_hash([recordings.ids, sorted(test), settings and settings._asdict(), seeds])
        path, record = folder / f"{key}.npy", folder / f"{key}.json"
        if not record.exists():
            best, compared = (settings, []) if settings else choose_settings(recordings, learn)
            made = [
                voices(fit_voice(recordings, recordings.where(learn), best, seed), recordings, best)
                for seed in range(seeds)
            ]
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, np.stack([vectors[places] for vectors in made]))
            own = {"held_out": sorted(test), **best._asdict(), "compared": compared}
            write_json(record, without_nan(own))
        found.append(np.load(path))
        chosen.append(read_json(record))
        order.append(places)
    back = np.argsort(np.concatenate(order))
    return list(np.concatenate(found, axis=1)[:, back]), chosen


def mean_vectors(recordings: Recordings, layer: int) -> np.ndarray:
    """Mean over time of one layer of Whisper at unit length, (N, D); nothing is learned."""
    mean = recordings.of_layers([layer])[:, 0, 0].numpy()
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def dvectors(root: Path, recordings: Recordings, num_workers: int) -> np.ndarray:
    """Resemblyzer's d-vectors (N, 256), from the store; NaN for copies of other kinds.

    Args:
        root: Root of the store.
        recordings: Recordings and degraded copies.
        num_workers: Processes that read audio.
    """
    feature, frontend = DvectorFeature.from_pretrained(RATE), LogMel()
    copy = CopySynthesis(GriffinLim(frontend), frontend, VOCODED)
    own = recordings.utterances[: recordings.kinds.count("")]
    wanted: list[tuple[str, DvectorFeature | DegradedFeature, list[Utterance]]] = [
        ("", feature, own),
        (VOCODED, DegradedFeature(feature, copy), [u for u in own if is_degraded(u)]),
    ]
    found = np.full((len(recordings.kinds), 256), np.nan, np.float32)
    for kind, made, rows in wanted:
        extract(rows, root, RATE, (), [made], num_workers, accelerator="cpu")
        store = FeatureStore(store_folder(root, made.name, made.settings))
        for i, u in enumerate(recordings.utterances):
            if recordings.kinds[i] == kind and u.sha256 in store:
                found[i] = store.get(u.sha256)[0]
    return found


def score_systems(
    recordings: Recordings, systems: Systems, groups: dict[str, int]
) -> list[dict[str, Any]]:
    """A record per corpus, recordings or copies, kind of trials, and system."""
    places = {
        kind: [i for i, of in enumerate(recordings.kinds) if of == kind] for kind in ("", VOCODED)
    }
    records = []
    corpora = sorted({u.corpus for u in recordings.utterances})
    for corpus in corpora:
        own = {
            k: [i for i in p if recordings.utterances[i].corpus == corpus]
            for k, p in places.items()
        }
        for copies in ("", VOCODED):
            first = [recordings.utterances[i] for i in own[""]]
            second = first if not copies else [recordings.utterances[i] for i in own[copies]]
            for kind in KINDS:
                trials = make_trials(first, second, kind, groups)
                for name, vectors in systems.items():
                    scores = [
                        (v[own[""]] @ v[own[copies]].T)[trials.first, trials.second]
                        for v in vectors
                    ]
                    where = {"corpus": corpus, "second": copies or "recording", "trials": kind}
                    records.append({**where, "system": name, **rates(scores, trials)})
    return records


def rates(scores: Sequence[np.ndarray], trials: Trials) -> dict[str, Any]:
    """Equal error rate, mean over seeds, and its 95 % interval over speakers.

    Args:
        scores: Of each seed, (P,).
        trials: The trials.
    """
    each = [equal_error_rate(one, trials.same) for one in scores]
    drawn = np.mean([drawn_error_rates(one, trials) for one in scores], axis=0)
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return {
        "equal_error_rate": float(np.mean(each)),
        "low": float(low),
        "high": float(high),
        "seeds": " ".join(f"{rate:.4f}" for rate in each),
        "same": int(trials.same.sum()),
        "different": int((~trials.same).sum()),
        "speakers": trials.n_speakers,
    }


def to_markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """The tables in per cent: corpora and systems by kinds of trials, recordings then copies."""
    kinds: list[Kind] = list(KINDS)
    parts = []
    for second in dict.fromkeys(r["second"] for r in records):
        own = [r for r in records if r["second"] == second]
        lines: list[Sequence[object]] = [("corpus", "encoder", *kinds)]
        for corpus, system in dict.fromkeys((r["corpus"], r["system"]) for r in own):
            cells = {
                r["trials"]: _cell(r) for r in own if (r["corpus"], r["system"]) == (corpus, system)
            }
            lines.append((corpus, system, *(cells[kind] for kind in kinds)))
        words = "recording" if second == "recording" else f"copy by {second.replace('_', '-')}"
        parts.append(f"Recording against {words}, EER in % [95 %]:\n\n{markdown_table(lines)}")
    return "\n\n".join(parts)


def _cell(record: Mapping[str, Any]) -> str:
    rate, low, high = (100 * record[key] for key in ("equal_error_rate", "low", "high"))
    return f"{rate:.1f} [{low:.1f}, {high:.1f}]"
