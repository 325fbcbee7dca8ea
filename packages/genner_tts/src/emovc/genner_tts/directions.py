"""``emovc reproduce genner-directions``: neutral first, several references, mixed emotions."""

from pathlib import Path

import torch

from emovc.common.errors import UserError
from emovc.common.evaluate import require_same_settings
from emovc.genner_tts.direction_lines import Books, mixed_lines, several_lines, two_step_lines
from emovc.genner_tts.directions_report import report_of
from emovc.genner_tts.quantization_source import NEUTRAL, open_data, train_quantizer
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.spoken_choice import choose_asked, lambdas_of, read_quantizer
from emovc.genner_tts.spoken_lines import Condition, Stage
from emovc.genner_tts.spoken_report import write_spoken


def genner_directions(
    run: Path,
    manifest: Path,
    quantizers: Path = Path("runs/quantization"),
    out: Path = Path("runs/genner_directions"),
    emotions: list[str] | None = None,
    mixed: tuple[str, str] = ("sad", "happy"),
    speakers: int = 2,
    draws: int = 4,
    condition: Condition = "centroid",
    judges: Path | None = None,
    vocoder: Path | None = None,
    noise_scale: float = 0.8,
    union_steps: int = 400,
    seed: int = 0,
) -> None:
    """Three ways to steer the emotion of speech by codebooks, compared with simpler ones.

    An emotion vector goes to neutral before it goes to the target, or straight there; vectors of 1
    to 8 references are mixed; two emotions are mixed, by a codebook that knows both, by means or
    by codes. Lines that were said before are kept.

    Args:
        run: Run, checkpoint or exported folder of a Genner TTS.
        manifest: Manifest with texts, splits and the emotion vectors that the model takes.
        quantizers: Folder of ``emovc reproduce quantization``, with its ``only_EMOTION_0``.
        out: Folder for audio, table, page, and the codebook of both mixed emotions.
        emotions: Emotions to use, neutral among them; by default all.
        mixed: The two emotions to mix.
        speakers: How many speakers.
        draws: Sets of references for each number of them.
        condition: What the reference gives beside its emotion vector: ``full`` voice and local
            prosody, ``global`` voice only, ``centroid`` nothing, the voice is from neutral speech.
        judges: YAML file of judges; by default the quick panel.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        noise_scale: Standard deviation of the post-net's noise.
        union_steps: Training steps of the codebook of both mixed emotions.
        seed: Of the choice, and of that training.
    """
    stage = Stage(run, manifest, emotions, judges, vocoder, out, noise_scale)
    names = stage.source.emotions
    if len(set(mixed)) < 2 or not set(mixed) <= set(names) - {NEUTRAL}:
        raise UserError(
            f"mixed {' '.join(mixed)}: give two of {', '.join(n for n in names if n != NEUTRAL)}"
        )
    if draws < 2:
        raise UserError(f"draws {draws}: a spread needs 2 or more")
    asked = choose_asked(stage, speakers, 1, seed)
    settings = stage.settings | {
        "quantizers": str(quantizers), "mixed": list(mixed), "speakers": speakers, "draws": draws,
        "condition": condition, "union_steps": union_steps, "seed": seed,
    }  # fmt: skip
    require_same_settings(out, settings)
    books = read_books(stage, manifest, quantizers, out, mixed, union_steps, seed)
    with torch.no_grad():
        lines = two_step_lines(stage, books, asked, condition)
        lines += several_lines(stage, books, asked, mixed, draws, condition, seed)
        lines += mixed_lines(stage, books, asked, mixed, condition)
    rows = stage.say(lines)
    write_spoken(out, "genner_directions", rows, report_of(stage, rows, mixed), settings)


def read_books(
    stage: Stage,
    manifest: Path,
    quantizers: Path,
    out: Path,
    mixed: tuple[str, str],
    union_steps: int,
    seed: int,
) -> Books:
    """Codebooks of each emotion, of all, and of both mixed ones, which is trained here."""
    dim, feature = stage.model.emotion.dim, stage.model.emotion.feature
    only = {n: read_quantizer(quantizers, f"only_{n}_0", dim) for n in stage.source.emotions}
    joint = read_quantizer(quantizers, "joint_0", dim)
    data = open_data(manifest, feature, list(mixed), seed=seed)
    path = out / "models" / "_".join(mixed)
    union = train_quantizer(data, joint.settings, union_steps, seed, path)
    return Books(only, joint, union, strong_and_middle(joint))


def strong_and_middle(joint: EmotionQuantizer) -> tuple[float, float]:
    """Largest lambda that a quantiser was trained for, and the middle one of its range."""
    _, middle, high = lambdas_of(joint, 3)
    return high, middle
