"""Tables of word and character errors."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emovc.common.csv_text import csv_of_records
from emovc.common.files import without_nan, write_json, write_text
from emovc.common.judges.intelligibility import NORMALISER, error_rates
from emovc.common.markdown import markdown_table
from emovc.common.metrics import bootstrap_interval

RECORDING = "recording"


class Transcript(NamedTuple):
    """What a recogniser wrote of one recording or its copy.

    Attributes:
        corpus: Corpus.
        row: Kind of speech.
        judge: Name of the recogniser.
        id: Utterance.
        speaker: Its speaker.
        emotion: Its emotion.
        reference: Normalised text.
        transcript: Normalised transcript, or nothing where it could not be recognised.
        gap: Why it could not.
    """

    corpus: str
    row: str
    judge: str
    id: str
    speaker: str
    emotion: str | None
    reference: str
    transcript: str | None
    gap: str | None


def error_records(transcripts: Sequence[Transcript]) -> list[dict[str, Any]]:
    """A record per transcript: its columns, both rates, and what they are rates of."""
    records = []
    for t in transcripts:
        rates: dict[str, float | None] = {"wer": None, "cer": None}
        if t.transcript is not None:
            rates["wer"], rates["cer"] = error_rates(t.reference, t.transcript)
        size = {"words": len(t.reference.split()), "characters": len(t.reference)}
        records.append({**t._asdict(), **rates, **size})
    return records


def micro_interval(
    rates: np.ndarray, sizes: np.ndarray, speakers: Sequence[str], seed: int = 0, draws: int = 1000
) -> tuple[float, float, float]:
    """Errors of all utterances by the words of all, and its 95 % interval over speakers.

    Args:
        rates: Error rate of each utterance, (N,).
        sizes: Words or characters of each, (N,).
        speakers: Speaker of each.
        seed: Seed of the draws.
        draws: Number of draws.
    """
    names = sorted(set(speakers))
    rows = [np.array([s == name for s in speakers]) for name in names]
    errors = np.array([(rates * sizes)[own].sum() for own in rows])
    totals = np.array([sizes[own].sum() for own in rows])
    chosen = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    drawn = errors[chosen].sum(1) / totals[chosen].sum(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(errors.sum() / totals.sum()), float(low), float(high)


def summarise(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line per corpus, kind of speech and recogniser, in the order of the records.

    Rates are micro (all errors by all words) and means over utterances; ``_more`` is the mean
    difference to the recording of the same utterance. Intervals are of 95 %, over speakers.
    """
    lines = []
    of_recording = {(r["corpus"], r["judge"], r["id"]): r for r in records if r["row"] == RECORDING}
    for key in dict.fromkeys((r["corpus"], r["row"], r["judge"]) for r in records):
        every = [r for r in records if (r["corpus"], r["row"], r["judge"]) == key]
        own = [r for r in every if r["wer"] is not None]
        line: dict[str, Any] = dict(zip(("corpus", "row", "judge"), key, strict=True))
        line |= {"utterances": len(own), "gaps": len(every) - len(own)}
        line |= {"speakers": len({r["speaker"] for r in own})}
        for rate, size in (("wer", "words"), ("cer", "characters")):
            if own:
                line |= _rate(own, rate, size, of_recording)
        lines.append(line)
    return lines


def _rate(
    own: Sequence[dict[str, Any]], rate: str, size: str, real: dict[tuple[Any, ...], dict[str, Any]]
) -> dict[str, float]:
    """One rate of the utterances of a line."""
    rates = np.array([r[rate] for r in own])
    speakers = [str(r["speaker"]) for r in own]
    micro, low, high = micro_interval(rates, np.array([r[size] for r in own]), speakers)
    found = {f"{rate}_micro": micro, f"{rate}_micro_low": low, f"{rate}_micro_high": high}
    low, high = bootstrap_interval(rates, speakers)
    found |= {f"{rate}_mean": float(rates.mean()), f"{rate}_mean_low": low}
    found |= {f"{rate}_mean_high": high}
    pairs = [real.get((r["corpus"], r["judge"], r["id"])) for r in own]
    before = np.array([np.nan if p is None or p[rate] is None else p[rate] for p in pairs])
    if own[0]["row"] != RECORDING and np.isfinite(before).any():
        low, high = bootstrap_interval(rates - before, speakers)
        found |= {f"{rate}_more": float(np.nanmean(rates - before)), f"{rate}_more_low": low}
        found |= {f"{rate}_more_high": high}
    return found


def write_tables(out: Path, transcripts: Sequence[Transcript], settings: dict[str, Any]) -> str:
    """Write ``asr.{json,csv,md}`` and ``asr_utterances.csv``.

    Args:
        out: Folder to write to.
        transcripts: What was recognised.
        settings: What the numbers depend on.

    Returns:
        The text of ``asr.md``.
    """
    records = error_records(transcripts)
    lines = summarise(records)
    gaps = Counter(f"{t.corpus}, {t.row}, {t.judge}: {t.gap}" for t in transcripts if t.gap)
    text = "\n".join([to_markdown(lines), "", *_notes(settings), *(
        f"gap: {gap} ({count} utterances)" for gap, count in gaps.items())])  # fmt: skip
    record = {"settings": settings, "rows": lines, "gaps": gaps}
    write_json(out / "asr.json", without_nan(record))
    write_text(out / "asr.csv", csv_of_records(lines))
    write_text(out / "asr_utterances.csv", csv_of_records(records))
    write_text(out / "asr.md", text + "\n")
    return text


def to_markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The table, in percent."""
    head = ["corpus", "speech", "recogniser", "utterances", "speakers", "WER", "mean", "CER",
            "mean", "WER more than the recording", "CER more"]  # fmt: skip
    names = ("wer_micro", "wer_mean", "cer_micro", "cer_mean", "wer_more", "cer_more")
    body = [
        [line["corpus"], line["row"], line["judge"], line["utterances"], line["speakers"],
         *(_cell(line, name) for name in names)]
        for line in lines
    ]  # fmt: skip
    return markdown_table([head, *body])


def _cell(line: dict[str, Any], name: str) -> str:
    """Value and interval in percent."""
    if name not in line:
        return "-"
    if name.endswith("_mean"):  # its interval is in the CSV
        return f"{100 * line[name]:.1f}"
    low, high = line[f"{name}_low"], line[f"{name}_high"]
    return f"{100 * line[name]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _notes(settings: dict[str, Any]) -> list[str]:
    """Lines that belong below the table."""
    lines = [
        f"Up to {settings['utterances']} utterances ({settings['split']}) of each corpus, seed"
        f" {settings['seed']}; rates in percent of all words (characters) and as means over"
        f" utterances, 95 % intervals by bootstrap over speakers; texts as {NORMALISER}."
    ]
    for name, about in settings["recognisers"].items():
        kinds = [about[key] for key in ("size", "decoding", "level") if key in about]
        lines.append(f"{name}: {', '.join(kinds)}; weights {about.get('weights')}")
    return lines + [f"left out: {line}" for line in settings["left_out"]]
