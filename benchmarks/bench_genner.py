"""Genner TTS: the share of a training step that waits for data, and synthesis in real time.

Of a trained run, on its own corpus: means over steps that go on from its last checkpoint (wanted:
waits under 5 %), and seconds of computing per second of speech.

    python benchmarks/bench_genner.py --run RUN [--steps 20 --vocoder FOLDER]
"""

import argparse
import time
from pathlib import Path

import lightning as L
import torch
import yaml
from lightning.pytorch.profilers import SimpleProfiler

from emovc.common.convert import load_vocoder, read_speech, vocode
from emovc.common.manifest import read_manifest
from emovc.common.pretrained import build, manifest_of
from emovc.genner_tts.style_request import StyleRequest
from emovc.genner_tts.synthesizer import GennerTTS
from emovc.genner_tts.training import LitGennerTTS

NEXT, STEP = "[_TrainingEpochLoop].train_dataloader_next", "run_training_batch"


class Stopwatch(SimpleProfiler):
    """Keeps times without printing them all."""

    def describe(self) -> None:
        """Print nothing."""


def measure_steps(run: Path, steps: int, batch_size: int | None) -> None:
    """Print how long steps take, and wait."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    arguments = config["data"]["init_args"]
    arguments["batch_size"] = batch_size or arguments["batch_size"]
    data = build(config["data"], str(run), ours=False)
    lit = LitGennerTTS.load_from_checkpoint(run / "checkpoints" / "last.ckpt")
    profiler = Stopwatch()
    trainer = L.Trainer(
        max_steps=steps + 2, profiler=profiler, logger=False, enable_checkpointing=False,
        limit_val_batches=0, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(lit, datamodule=data)
    means = {n: sum(profiler.recorded_durations[n][2:]) / steps for n in (NEXT, STEP)}
    share = means[NEXT] / (means[NEXT] + means[STEP])
    size = f"batches of {arguments['batch_size']}"
    print(f"{size}: {means[STEP]:.3f} s a step, {means[NEXT]:.4f} s waiting: {share:.1%}")


def measure_synthesis(run: Path, vocoder: Path | None, utterances: int) -> None:
    """Print the real-time factor of mel and waveform."""
    model = GennerTTS.from_pretrained(run)
    rate = model.frontend.sample_rate
    voice = load_vocoder(vocoder, model.frontend, "cpu")
    rows = [u for u in read_manifest(manifest_of(run)) if u.split == "train" and u.text]
    spent = {"mel": 0.0, "waveform": 0.0}
    seconds = 0.0
    for i, row in enumerate(rows[: utterances + 1]):
        style = StyleRequest([read_speech(row.path, rate)], levels=())
        start = time.perf_counter()
        spoken = model.synthesise(str(row.text), str(row.language), style)
        done = time.perf_counter()
        wav = vocode(voice, spoken.mel)
        if i:  # the first warms up
            spent["mel"] += done - start
            spent["waveform"] += time.perf_counter() - done
            seconds += len(wav) / rate
    factors = ", ".join(f"{name} {value / seconds:.3f}" for name, value in spent.items())
    print(f"real-time factor over {seconds:.1f} s of speech, reference heard anew: {factors}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="trained Genner TTS")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, help="utterances per batch; by default the run's")
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--vocoder", type=Path, help="folder of a HiFi-GAN")
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    if args.run is None:
        print("Genner TTS is measured on a trained run: --run RUN")
        return
    measure_steps(args.run, args.steps, args.batch)
    measure_synthesis(args.run, args.vocoder, args.utterances)


if __name__ == "__main__":
    main()
