"""``emovc quickstart``: the whole way on the toy corpus, as a new user would go it."""

import shutil
import sys
import time
from pathlib import Path

from emovc.common.corpora.toy import DEFAULT_SENTENCES, make_toy
from emovc.common.errors import UserError
from emovc.common.evaluate import evaluate
from emovc.common.fit import cli
from emovc.common.parsing import run_function
from emovc.common.prepare import prepare


def quickstart(
    experiment: Path = Path("configs/speechflow_toy.yaml"),
    out: Path = Path("runs/quickstart"),
    steps: int | None = None,
    sentences: int = DEFAULT_SENTENCES,
    pairs: int = 12,
) -> None:
    """Make the toy corpus, train, convert, evaluate, and write a page to listen to.

    A second call uses the corpus of the first and trains anew.

    Args:
        experiment: Config of what is trained.
        out: Folder for everything.
        steps: Training steps; by default the config's.
        sentences: Sentences of the toy corpus.
        pairs: Conversions to score.
    """
    if not experiment.is_file():
        raise UserError(
            f"{experiment}: no such config; run emovc quickstart in the checkout of emovc"
        )
    start = time.perf_counter()
    corpus, run, report = out / "toy", out / "run", out / "report"
    _say("1/3 making and preparing the toy corpus", start)
    make_toy(out / "audio", sentences)
    prepare("toy", out / "audio", corpus, dvector=True)
    for folder in (run, report):
        shutil.rmtree(folder, ignore_errors=True)
    _say("2/3 training", start)
    manifest = corpus / "manifest.jsonl"
    args = ["fit", "-c", str(experiment), "--run", str(run), f"--data.manifest={manifest}"]
    cli(args + ([f"--trainer.max_steps={steps}"] if steps else []))
    _say("3/3 converting and scoring", start)
    evaluate(run, manifest, report, pairs=pairs)
    _say(f"done: open {(report / 'index.html').resolve()}", start)


def _say(what: str, start: float) -> None:
    sys.stdout.write(f"[{time.perf_counter() - start:4.0f} s] {what}\n")
    sys.stdout.flush()


def main(command: str, args: list[str]) -> None:
    """Run ``emovc quickstart``."""
    run_function(quickstart, args, command)
