"""``emovc reproduce genner-drift``: what rising quantisation does to the emotion of speech."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from emovc.common.errors import UserError
from emovc.common.evaluate import require_same_settings
from emovc.common.files import sha256_of
from emovc.genner_tts.quantization_source import NEUTRAL
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.spoken_choice import Asked, choose_asked, lambdas_of, read_quantizer
from emovc.genner_tts.spoken_lines import CONDITIONS, Condition, Line, Stage
from emovc.genner_tts.spoken_report import Report, Rows, Table, mean_of, two, write_spoken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAIN = "as it is"
EXPECTED = {"up": 1.0, "down": -1.0}


class Trend(NamedTuple):
    """How a measure goes with lambda.

    Attributes:
        correlation: Mean over utterances of the rank correlation.
        as_expected: Utterances where it has the expected sign.
        utterances: All that it could be taken of.
        p_value: Of a sign test over them, one-sided.
    """

    correlation: float
    as_expected: int
    utterances: int
    p_value: float


def genner_drift(
    run: Path,
    manifest: Path,
    quantizers: Path = Path("runs/quantization"),
    out: Path = Path("runs/genner_drift"),
    emotions: list[str] | None = None,
    speakers: int = 2,
    references: int = 1,
    conditions: list[Condition] | None = None,
    points: int = 8,
    judges: Path | None = None,
    vocoder: Path | None = None,
    noise_scale: float = 0.8,
    seed: int = 0,
) -> None:
    """Say test texts with emotion vectors at rising lambda, and let the judges tell.

    Lines that were said before are kept, so a run that was stopped goes on.

    Args:
        run: Run, checkpoint or exported folder of a Genner TTS.
        manifest: Manifest with texts, splits and the emotion vectors that the model takes.
        quantizers: Folder of ``emovc reproduce quantization``; its ``joint_0`` quantises.
        out: Folder for audio, table, figures and page.
        emotions: Emotions to use, neutral among them; by default all.
        speakers: How many speakers.
        references: Recordings of each emotion and speaker.
        conditions: What the reference gives beside its emotion vector: ``full`` voice and local
            prosody, ``global`` voice only, ``centroid`` nothing, the voice is from neutral speech;
            by default ``full`` and ``centroid``.
        points: Lambdas, beside the vector as it is.
        judges: YAML file of judges; by default the quick panel.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        noise_scale: Standard deviation of the post-net's noise.
        seed: Of the choice.
    """
    if points < 3:
        raise UserError(f"points {points}: give 3 or more")
    chosen: list[Condition] = conditions or ["full", "centroid"]
    stage = Stage(run, manifest, emotions, judges, vocoder, out, noise_scale)
    quantizer = read_quantizer(quantizers, "joint_0", stage.model.emotion.dim)
    asked = choose_asked(stage, speakers, references, seed)
    settings = stage.settings | {
        "quantizer": sha256_of(quantizers / "models" / "joint_0" / "model.safetensors"),
        "speakers": speakers, "references": references, "conditions": chosen, "points": points,
        "seed": seed,
    }  # fmt: skip
    require_same_settings(out, settings)
    rows = stage.say(drift_lines(stage, quantizer, asked, chosen, points))
    write_spoken(out, "genner_drift", rows, report_of(stage, rows, chosen), settings)


@torch.no_grad()
def drift_lines(
    stage: Stage,
    quantizer: EmotionQuantizer,
    asked: Sequence[Asked],
    conditions: Sequence[Condition],
    points: int,
) -> list[Line]:
    """What is said: each reference's vector as it is, then at rising lambda, per condition."""
    lines = []
    for one in asked:
        vector = stage.vector(one.reference)
        ladder = [(PLAIN, vector, {"lam": 0.0, "kept": 1.0})]
        for lam in lambdas_of(quantizer, points):
            made = quantizer(vector[None], lam)
            kept = float(torch.cosine_similarity(made.quantized, vector[None])[0])
            about = {"lam": lam, "bits": float(made.bits[0]), "kept": kept}
            ladder.append((f"{lam:.2g}", made.quantized[0], about))
        for condition in conditions:
            lines += [
                Line(CONDITIONS[condition], one.label, column, *one, v, condition, about)
                for column, v, about in ladder
            ]
    return lines


def report_of(stage: Stage, rows: Rows, conditions: Sequence[Condition]) -> Report:
    """Tables and figures of the rows."""
    judges = [judge.name for judge in stage.readers]
    tables: dict[str, Table] = {}
    figures = {}
    for condition in conditions:
        own = [row for row in rows if row["condition"] == condition]
        tables[f"Trends with lambda ({CONDITIONS[condition]})"] = trend_table(own, judges)
        for judge in judges:
            title = f"Probability of the own emotion / of neutral by {judge} ({condition})"
            tables[title] = probability_table(own, judge, stage.source.emotions)
        figures[f"{condition}.png"] = draw(own, judges, stage.source.emotions)
    caption = f"p_{judges[0]}_{NEUTRAL}", ".2f"
    return Report("Genner TTS at rising lambda", stage.notes(rows), tables, figures, caption)


def trend_table(rows: Rows, judges: Sequence[str]) -> Table:
    """How measures go with lambda, over all utterances that aren't neutral."""
    measures = {"cosine_neutral": "up", "heard_cosine_neutral": "up"}
    measures |= {f"p_{judge}_{NEUTRAL}": "up" for judge in judges}
    measures |= {"f0_sd_st": "down", "energy_db": "down", "phones_per_s": "down"}
    lines: list[Sequence[object]] = [
        ("measure", "expected", "rank correlation", "as expected", "p")
    ]
    for name, way in measures.items():
        found = trend(rows, name, way)
        share = f"{found.as_expected} of {found.utterances}"
        lines.append((name, way, two(found.correlation), share, f"{found.p_value:.2g}"))
    return lines


def trend(rows: Rows, name: str, way: str) -> Trend:
    """Rank correlation of a measure with lambda in each utterance, and a sign test over them."""
    from scipy.stats import binomtest, spearmanr

    found = []
    for reference in dict.fromkeys(row["reference"] for row in rows if row["emotion"] != NEUTRAL):
        own = [r for r in rows if r["reference"] == reference and r.get(name) is not None]
        values = [r[name] for r in own]
        if len(set(values)) > 2:
            found.append(float(spearmanr([r["lam"] for r in own], values).statistic))
    signed = EXPECTED[way] * np.asarray(found)
    fine = int((signed > 0).sum())
    p_value = binomtest(fine, len(found), alternative="greater").pvalue if found else 1.0
    mean = float(np.mean(found)) if found else float("nan")
    return Trend(mean, fine, len(found), float(p_value))


def probability_table(rows: Rows, judge: str, emotions: Sequence[str]) -> Table:
    """Probabilities of the own emotion and of neutral, per emotion and lambda."""
    lines: list[Sequence[object]] = [("lambda", "bits", *emotions)]
    for lam in sorted({row["lam"] for row in rows}):
        own = [row for row in rows if row["lam"] == lam]
        cells = []
        for emotion in emotions:
            of = [row for row in own if row["emotion"] == emotion]
            both = mean_of(of, f"p_{judge}_{emotion}"), mean_of(of, f"p_{judge}_{NEUTRAL}")
            cells.append(two(both[0]) if emotion == NEUTRAL else f"{two(both[0])} / {two(both[1])}")
        bits = "all" if lam == 0 else f"{mean_of(own, 'bits'):.1f}"
        lines.append((PLAIN if lam == 0 else f"{lam:.2g}", bits, *cells))
    return lines


def draw(rows: Rows, judges: Sequence[str], emotions: Sequence[str]) -> "Figure":
    """Measures against lambda, a line per emotion; the vector as it is stands at the left edge."""
    from matplotlib.figure import Figure

    titles = {"cosine_neutral": "vector: cosine to neutral"}
    titles |= {"heard_cosine_neutral": "speech: cosine to neutral"}
    titles |= {f"p_{j}_{NEUTRAL}": f"probability of neutral, {j}" for j in judges}
    titles |= {
        "own": f"probability of the own emotion, {judges[0]}",
        "f0_sd_st": "F0 deviation (st)",
    }
    lams = sorted({row["lam"] for row in rows})
    places = [lams[1] / 3, *lams[1:]]
    figure = Figure(figsize=(12, 3.2 * -(-len(titles) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(titles) // 3), 3, squeeze=False).ravel()
    for axis, (name, title) in zip(axes, titles.items(), strict=False):
        for emotion in emotions:
            column = f"p_{judges[0]}_{emotion}" if name == "own" else name
            of = [[r for r in rows if r["lam"] == lam and r["emotion"] == emotion] for lam in lams]
            axis.plot(places, [mean_of(r, column) for r in of], "o-", markersize=3, label=emotion)
        axis.set_xscale("log")
        axis.set_title(title, fontsize="medium")
        axis.grid(color="#dddddd")
    axes[0].legend(fontsize="small")
    for axis in axes[len(titles) :]:
        axis.set_visible(False)
    return figure
