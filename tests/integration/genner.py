"""Small trainings of Genner TTS."""

from pathlib import Path

from tests.integration.emoconv import QUIET
from tests.integration.runs import ROOT

from emovc.genner_tts.durations_file import durations_path

MODEL = "--model.init_args.model.init_args."
PLAIN = "--trainer.callbacks=[emovc.common.checkpoints.LastCheckpoint]"
SMALL = [
    f"{MODEL}acoustic.init_args={{n_phones: 128, emotion_dim: 256, dim: 16, n_layers: 1,"
    " hidden: 16, n_codes: 4, aligner_hidden: 16, flow_dim: 8, flow_blocks: 4, level_dropout: 0}",
    # With its class, as arguments of the config would stay otherwise.
    f"{MODEL}emotion={{class_path: emovc.genner_tts.EmotionHearing, init_args: {{feature: dvector,"
    " dim: 256, arguments: {}, encoder: emovc.common.features.networks.DvectorFeature}}",
    f"{MODEL}aligner.init_args.dim=8",
    "--data.init_args.features=[f0, dvector]",
    "--data.init_args.batch_size=4",
]


def words(name: str, manifest: Path, run: Path, steps: int, *more: str) -> list[str]:
    head = ["-c", str(ROOT / "configs" / f"{name}_toy.yaml"), "--run", str(run)]
    limits = [f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={steps}"]
    return [*head, f"--data.init_args.manifest={manifest}", *limits, *QUIET, PLAIN, *more]


def tts_words(manifest: Path, aligner: Path, run: Path, *more: str) -> list[str]:
    durations = f"--data.init_args.durations={durations_path(manifest)}"
    start = [f"--model.init_args.aligner={aligner}", "--model.init_args.attention_from=1"]
    return words("genner", manifest, run, 4, *SMALL, durations, *start, *more)
