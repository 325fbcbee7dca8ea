"""Speed of the evaluation: two processes beside one, the cost of a pair's metrics, no work twice.

    python benchmarks/bench_evaluate.py [RUN MANIFEST [PAIRS]]

Without arguments a small untrained SpeechFlow is evaluated on a toy corpus.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from emovc.common import evaluator as evaluator_module
from emovc.common.evaluate import choose_pairs
from emovc.common.evaluating import Setup, evaluate_pairs
from emovc.common.manifest import read_manifest
from emovc.common.metrics import analyse, compare
from emovc.common.pairs import Pair
from emovc.common.wav import read_wav

JUDGES = "- class_path: emovc.common.judges.speaker_similarity.DvectorSimilarity\n"


def seconds(setup: Setup, pairs: list[Pair], devices: int) -> float:
    """Wall time of an evaluation, the start of its processes included."""
    start = time.perf_counter()
    evaluate_pairs(setup, pairs, setup.open(), "cpu", devices)
    return time.perf_counter() - start


def metric_cost(pairs: list[Pair], n: int = 40) -> tuple[float, float]:
    """Milliseconds of CPU to align and compare a pair, and to analyse one recording."""
    waves = [read_wav(p.path, 22_050)[0] for pair in pairs[:n] for p in (pair.source, pair.target)]
    start = time.process_time()
    analyses = [analyse(wav, 22_050) for wav in waves]
    between = time.process_time()
    for source, target in zip(analyses[::2], analyses[1::2], strict=True):
        compare(source, target)
    end = time.process_time()
    return 2000 * (end - between) / len(waves), 1000 * (between - start) / len(waves)


def analysed_twice(setup: Setup, pairs: list[Pair]) -> int:
    """How many waveforms of an evaluation are analysed more than once."""
    seen: Counter[bytes] = Counter()
    original = evaluator_module.analyse

    def counting(wav: np.ndarray, sample_rate: int) -> object:
        seen[wav.tobytes()] += 1
        return original(wav, sample_rate)

    evaluator_module.analyse = counting  # type: ignore[assignment]
    try:
        evaluator = setup.open()
        for pair in pairs:
            evaluator.evaluate(pair)
    finally:
        evaluator_module.analyse = original
    return sum(count > 1 for count in seen.values())


def untrained(folder: Path) -> tuple[Path, Path]:
    """A toy corpus, and a run of a single step on it."""
    from emovc.common.corpora.toy import make_toy
    from emovc.common.fit import cli
    from emovc.common.prepare import prepare

    make_toy(folder / "audio", n_sentences=10)
    prepare("toy", folder / "audio", folder / "toy", dvector=True)
    manifest = folder / "toy" / "manifest.jsonl"
    words = ["fit", "-c", "configs/speechflow_toy.yaml", "--run", str(folder / "run")]
    cli([*words, f"--data.manifest={manifest}", "--trainer.max_steps=1"])
    return folder / "run", manifest


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = [Path(word) for word in sys.argv[1:3]]
        run, manifest = given if len(given) == 2 else untrained(folder)
        n = int(sys.argv[3]) if len(sys.argv) > 3 else 200
        splits = {str(u.split) for u in read_manifest(manifest)}
        split = "test" if len(given) == 2 or "train" not in splits else "train"
        pairs = choose_pairs(manifest, split, n, "neutral", None, 0)
        (folder / "judges.yaml").write_text(JUDGES)

        def setup(out: str) -> Setup:
            where = folder / out
            where.mkdir()
            judges = folder / "judges.yaml"
            return Setup(run, {}, None, judges, manifest, (), (), where, 0, frozenset())

        align, analysis = metric_cost(pairs)
        print(f"alignment and metrics {align:.0f} ms of CPU per pair (asked: below 50)")
        print(f"analysis (WORLD) {analysis:.0f} ms of CPU per recording")
        print(f"waveforms analysed twice in 20 pairs: {analysed_twice(setup('count'), pairs[:20])}")
        one, two = seconds(setup("one"), pairs, 1), seconds(setup("two"), pairs, 2)
        print(f"{len(pairs)} pairs: {one:.0f} s with one process, {two:.0f} s with two")
        print(f"two processes x{one / two:.2f} (asked: 1.7)")


if __name__ == "__main__":
    main()
