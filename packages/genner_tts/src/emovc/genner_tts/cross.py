"""``emovc reproduce genner-cross``: speech through codebooks of one emotion each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from emovc.common.evaluate import require_same_settings
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.spoken_choice import Asked, choose_asked, lambdas_of, read_quantizer
from emovc.genner_tts.spoken_lines import CONDITIONS, Condition, Line, Stage
from emovc.genner_tts.spoken_report import Report, Rows, Table, mean_of, two, write_spoken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JOINT, SOME = "all emotions", "as many at random"


def genner_cross(
    run: Path,
    manifest: Path,
    quantizers: Path = Path("runs/quantization"),
    out: Path = Path("runs/genner_cross"),
    emotions: list[str] | None = None,
    speakers: int = 2,
    references: int = 1,
    condition: Condition = "centroid",
    judges: Path | None = None,
    vocoder: Path | None = None,
    noise_scale: float = 0.8,
    seed: int = 0,
) -> None:
    """Say test texts with emotion vectors that went through the codebook of another emotion.

    Each vector is quantised by the codebooks of all emotions, by one of as many recordings drawn
    at random, and by the joint one, at the least, a middle and the largest lambda. Lines that were
    said before are kept.

    Args:
        run: Run, checkpoint or exported folder of a Genner TTS.
        manifest: Manifest with texts, splits and the emotion vectors that the model takes.
        quantizers: Folder of ``emovc reproduce quantization``, with its ``only_EMOTION_0``.
        out: Folder for audio, table, figures and page.
        emotions: Emotions to use, neutral among them; by default all.
        speakers: How many speakers.
        references: Recordings of each emotion and speaker.
        condition: What the reference gives beside its emotion vector: ``full`` voice and local
            prosody, ``global`` voice only, ``centroid`` nothing, the voice is from neutral speech.
        judges: YAML file of judges; by default the quick panel.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        noise_scale: Standard deviation of the post-net's noise.
        seed: Of the choice.
    """
    stage = Stage(run, manifest, emotions, judges, vocoder, out, noise_scale)
    names, dim = stage.source.emotions, stage.model.emotion.dim
    books = {name: read_quantizer(quantizers, f"only_{name}_0", dim) for name in names}
    books[SOME] = read_quantizer(quantizers, "some_0", dim)
    books[JOINT] = read_quantizer(quantizers, "joint_0", dim)
    asked = choose_asked(stage, speakers, references, seed)
    settings = stage.settings | {
        "quantizers": str(quantizers), "speakers": speakers, "references": references,
        "condition": condition, "seed": seed,
    }  # fmt: skip
    require_same_settings(out, settings)
    low, _, middle, high = lambdas_of(books[JOINT], 4)
    rows = stage.say(cross_lines(stage, books, asked, condition, (low, middle, high)))
    write_spoken(out, "genner_cross", rows, report_of(stage, rows, condition), settings)


@torch.no_grad()
def cross_lines(
    stage: Stage,
    books: dict[str, EmotionQuantizer],
    asked: Sequence[Asked],
    condition: Condition,
    lams: Sequence[float],
) -> list[Line]:
    """What is said: each reference's vector through each codebook, per lambda."""
    lines = []
    vectors = [stage.vector(one.reference) for one in asked]
    for lam in lams:
        for one, vector in zip(asked, vectors, strict=True):
            for name, book in books.items():
                made = book(vector[None], lam)
                about: dict[str, str | float] = {"codebook": name, "lam": lam}
                about["bits"] = float(made.bits[0])
                grid, vector_made = f"lambda {lam:.2g}", made.quantized[0]
                lines.append(Line(grid, one.label, name, *one, vector_made, condition, about))
    return lines


def report_of(stage: Stage, rows: Rows, condition: Condition) -> Report:
    """Tables and figures of the rows."""
    names, judges = stage.source.emotions, [judge.name for judge in stage.readers]
    tables: dict[str, Table] = {"Summary": summary(rows, names, judges)}
    for lam in dict.fromkeys(row["lam"] for row in rows):
        own = [row for row in rows if row["lam"] == lam]
        for judge in judges:
            title = f"Rise of the codebook's emotion over the joint codebook, lambda {lam:.2g}"
            tables[f"{title}, by {judge}"] = pull_table(own, judge, names)
    notes = [f"The reference gives: {CONDITIONS[condition]}.", *stage.notes(rows)]
    figures = {"pull.png": draw(rows, judges, names)}
    caption = f"p_{judges[0]}_{names[0]}", ".2f"
    return Report("Genner TTS through codebooks of one emotion", notes, tables, figures, caption)


def pull_of(rows: Rows, judge: str, reference: str, codebook: str) -> float:
    """Rise of P(the codebook's emotion) over the joint codebook, mean over the references."""
    of = [row for row in rows if row["emotion"] == reference]
    column = f"p_{judge}_{codebook}"
    through = mean_of([row for row in of if row["codebook"] == codebook], column)
    return through - mean_of([row for row in of if row["codebook"] == JOINT], column)


def pull_table(rows: Rows, judge: str, names: Sequence[str]) -> Table:
    """A row per emotion of the reference, a column per codebook."""
    body = [[name, *(two(pull_of(rows, judge, name, book)) for book in names)] for name in names]
    return [("reference \\ codebook", *names), *body]


def summary(rows: Rows, names: Sequence[str], judges: Sequence[str]) -> Table:
    """What the codebooks do on the whole, per lambda."""
    quality = next((name for name in rows[0] if name.startswith("ovrl_")), None)
    lines: list[Sequence[object]] = [
        ("lambda", "judge", "pull off the diagonal", "own emotion: own codebook, others, random",
         "bits: own, others, random, joint", "DNSMOS: own, others, random, joint")
    ]  # fmt: skip
    for lam in dict.fromkeys(row["lam"] for row in rows):
        at = [row for row in rows if row["lam"] == lam]
        own = [row for row in at if row["codebook"] == row["emotion"]]
        some, joint = ([r for r in at if r["codebook"] == name] for name in (SOME, JOINT))
        others = [r for r in at if r["codebook"] not in (r["emotion"], SOME, JOINT)]
        kinds = own, others, some, joint
        bits = ", ".join(f"{mean_of(kind, 'bits'):.1f}" for kind in kinds)
        heard = ", ".join(two(mean_of(kind, quality)) for kind in kinds) if quality else "–"
        for judge in judges:
            off = [pull_of(at, judge, a, b) for a in names for b in names if a != b]
            kept = ", ".join(two(kept_of(kind, judge)) for kind in kinds[:3])
            lines.append((f"{lam:.2g}", judge, two(sum(off) / len(off)), kept, bits, heard))
    return lines


def kept_of(rows: Rows, judge: str) -> float:
    """Mean probability of the reference's emotion."""
    values = [{"own": row.get(f"p_{judge}_{row['emotion']}")} for row in rows]
    return mean_of(values, "own")


def draw(rows: Rows, judges: Sequence[str], names: Sequence[str]) -> "Figure":
    """Pull as pictures: a row per judge, a column per lambda."""
    from matplotlib.figure import Figure

    lams = list(dict.fromkeys(row["lam"] for row in rows))
    size = 3.6 * len(lams), 3.3 * len(judges)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(judges), len(lams), squeeze=False)
    for down, judge in enumerate(judges):
        for across, lam in enumerate(lams):
            at, axis = [row for row in rows if row["lam"] == lam], axes[down, across]
            values = [[pull_of(at, judge, a, b) for b in names] for a in names]
            image = axis.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
            axis.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize="small")
            axis.set_yticks(range(len(names)), names, fontsize="small")
            axis.set_title(f"lambda {lam:.2g}, {judge}", fontsize="small")
    axes[0, 0].set_ylabel("reference")
    axes[-1, 0].set_xlabel("codebook")
    figure.colorbar(image, ax=axes, shrink=0.7, label="rise of the codebook's emotion")
    return figure
