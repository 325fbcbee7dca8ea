"""``emovc check``: what is wrong with a manifest and its audio."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from emovc.common.errors import UserError, printable
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.signals import in_threads
from emovc.common.splits import find_leaks
from emovc.common.unchanged import require_hash, require_header
from emovc.common.wav import SILENCE, WavInfo, decode, missing_seconds, wav_info

LEAST_CUT_S = 0.005  # some programs miscount the last block
MOST_THREADS = 8  # each holds a whole file


@dataclass(frozen=True)
class Problem:
    """One line of the report.

    Attributes:
        level: An ``error`` makes the corpus unfit for training, a ``warning`` does not.
        where: File or manifest.
        what: The problem and its remedy.
    """

    level: Literal["error", "warning"]
    where: str
    what: str


def check_audio(
    utterance: Utterance, min_seconds: float = 0.3, max_seconds: float = 30.0
) -> Iterator[Problem]:
    """Problems of one utterance's audio file."""
    where = str(utterance.path)
    try:
        info = wav_info(utterance.path)
        wav, _ = decode(utterance.path)
    except UserError as error:
        yield Problem("error", where, str(error).removeprefix(f"{where}: "))
        return
    try:
        require_header(utterance, info)
        require_hash(utterance)
    except UserError as error:
        yield Problem("error", where, str(error).removeprefix(f"{where}: "))
    if (cut := missing_seconds(utterance.path)) > LEAST_CUT_S:
        yield Problem(
            "error", where, f"was cut off: its header says {cut:.2f} s more; copy it again"
        )
    peak = float(np.abs(wav).max())
    if peak < SILENCE:
        yield Problem("error", where, "is silent; remove it")
    elif np.mean(np.abs(wav) >= 0.999) > 1e-3:
        yield Problem("warning", where, "is clipped; leave it out if that can be heard")
    elif abs(float(wav.mean())) > 0.05 * peak:
        yield Problem("warning", where, "has a constant offset; filter it with a high-pass")
    if utterance.seconds < min_seconds:
        yield Problem("error", where, f"lasts {utterance.seconds:.2f} s, too short; remove it")
    elif utterance.seconds > max_seconds:
        yield Problem("warning", where, f"lasts {utterance.seconds:.1f} s; cut it into sentences")
    yield from _format_problems(where, info)


def _format_problems(where: str, info: WavInfo) -> Iterator[Problem]:
    """What is unusual about the file but read correctly all the same."""
    if info.channels > 1:
        yield Problem("warning", where, f"has {info.channels} channels; they are averaged")
    if info.encoding in ("PCM_U8", "PCM_S8", "ULAW", "ALAW"):
        yield Problem("warning", where, f"is {info.encoding}, 8 bits, and so noisy")
    if info.sample_rate < 16_000:
        yield Problem(
            "warning", where, f"has {info.sample_rate} Hz: nothing above {info.sample_rate // 2} Hz"
        )
    suffix = Path(where).suffix.lower().lstrip(".")
    kind = info.container.lower()
    if suffix == "wav" and not kind.startswith(("wav", "rf64")):
        yield Problem("warning", where, f"is {info.container} inside; rename or convert it")


def check_manifest(path: Path, utterances: Sequence[Utterance]) -> Iterator[Problem]:
    """Problems of the manifest as a whole."""
    where = str(path)
    for leak in find_leaks(utterances):
        yield Problem("error", where, f"{leak}; keep one, or make the splits with emovc prepare")
    ids_by_audio: dict[str, list[str]] = {}
    for u in utterances:
        ids_by_audio.setdefault(u.sha256, []).append(u.id)
    for ids in ids_by_audio.values():
        if len(ids) > 1:
            yield Problem("warning", where, f"identical audio: {', '.join(ids)}; keep one")
    if all(u.split is None for u in utterances):
        yield Problem("warning", where, "has no splits; training needs them, see emovc prepare")
    if all(u.emotion is None for u in utterances):
        yield Problem("warning", where, "has no emotion labels; emotions can't be learnt from it")


def summary(utterances: Sequence[Utterance]) -> str:
    """Counts of utterances, hours, speakers, emotions and splits, in a few lines."""
    hours = sum(u.seconds for u in utterances) / 3600
    emotions = Counter(u.emotion or "unlabelled" for u in utterances)
    splits = Counter(u.split or "no split" for u in utterances)
    return "\n".join(
        [
            f"{len(utterances)} utterances, {hours:.2f} h,"
            f" {len({u.speaker for u in utterances})} speakers,"
            f" {len({u.sentence for u in utterances if u.sentence})} sentences",
            "emotions: " + ", ".join(f"{k} {n}" for k, n in emotions.most_common()),
            "splits: " + ", ".join(f"{k} {n}" for k, n in splits.most_common()),
        ]
    )


def find_bad_audio(utterances: Sequence[Utterance]) -> list[Problem]:
    """Problems of all audio files, read in threads."""
    found = in_threads(lambda u: list(check_audio(u)), utterances, MOST_THREADS, "checking audio")
    return list(chain.from_iterable(found))


def check(manifest: Path) -> None:
    """Look for bad files, labels and leaks in a manifest; exit with code 1 if there are errors.

    Args:
        manifest: Manifest made by ``emovc prepare``.
    """
    utterances = read_manifest(manifest)
    problems = [*check_manifest(manifest, utterances), *find_bad_audio(utterances)]
    for problem in sorted(problems, key=lambda p: p.level):
        sys.stdout.write(printable(f"{problem.level}: {problem.where}: {problem.what}") + "\n")
    errors = sum(p.level == "error" for p in problems)
    sys.stdout.write(summary(utterances) + "\n")
    sys.stdout.write(f"{errors} errors, {len(problems) - errors} warnings\n")
    if errors:
        sys.exit(1)


def main(command: str, args: list[str]) -> None:
    """Run ``emovc check``."""
    from emovc.common.parsing import run_function

    run_function(check, args, command)
