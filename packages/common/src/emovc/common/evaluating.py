"""Evaluation through Lightning's predict loop: resumable per pair, on several processes or GPUs."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Sampler

from emovc.common.audio import LogMel
from emovc.common.conversion import Converter
from emovc.common.convert import load_vocoder
from emovc.common.converted import ConvertedFiles, holds_audio
from emovc.common.errors import UserError
from emovc.common.evaluator import PairEvaluator, Result
from emovc.common.features.extraction import NamedBar, predictor
from emovc.common.files import write_json
from emovc.common.pair_conversion import PairConverter, Reference, draw_pair
from emovc.common.pairs import Pair
from emovc.common.panel import Panel, read_judges
from emovc.common.pretrained import load_converter
from emovc.common.quiet import quieten
from emovc.common.speakers_file import known_speakers
from emovc.common.wav import write_wav


@dataclass(frozen=True)
class Setup:
    """What an evaluation needs, so that every process can build it for itself.

    Attributes:
        run: Run, checkpoint, exported folder, or folder of converted audio.
        settings: Constructor arguments of the model to override.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; ``None``: the shipped vocoder.
        judges: File that lists the judges, or nothing for the default ones.
        manifest: Manifest; ``speakers.json`` beside it tells F0 statistics, if it is there.
        among: Emotions of the evaluation.
        languages: Languages of the evaluation, where they are known.
        out: Folder of the results.
        seed: Seed of the conversions.
        drawn: Pairs that get pictures.
        reference: Who speaks the references.
    """

    run: Path
    settings: Mapping[str, Any]
    vocoder: Path | None
    judges: Path | None
    manifest: Path
    among: tuple[str, ...]
    languages: tuple[str, ...]
    out: Path
    seed: int
    drawn: frozenset[str]
    reference: Reference = "same_speaker"

    def open(self, device: str | torch.device = "cpu") -> PairEvaluator:
        """Load model, vocoder and judges."""
        converter: Converter | ConvertedFiles
        if holds_audio(self.run):
            converter = ConvertedFiles(self.run, LogMel().to(device))
        else:
            converter = load_converter(self.run, dict(self.settings)).to(device)
        voice = load_vocoder(self.vocoder, converter.frontend, str(device))
        judges, left_out = read_judges(self.judges, self.languages)
        panel = Panel(judges, converter.frontend.sample_rate, left_out)
        speakers = known_speakers(self.manifest)
        pairs = PairConverter(converter, voice, speakers, self.seed, device, self.reference)
        return PairEvaluator(pairs, panel, self.among)


class LitEvaluation(L.LightningModule):
    """Evaluates pairs on its device and writes each as soon as it is done.

    Args:
        setup: What to build on the device.
        pairs: Pairs to do.
        evaluator: What ``setup`` builds, if it is built already and one process does all.
    """

    def __init__(
        self, setup: Setup, pairs: Sequence[Pair], evaluator: PairEvaluator | None = None
    ) -> None:
        super().__init__()
        self.plan = setup
        self.pairs = pairs
        self._evaluator = evaluator

    def predict_step(self, batch: int, batch_idx: int) -> str:
        """Evaluate one pair and give its name."""
        if self._evaluator is None:
            quieten()
            self._evaluator = self.plan.open(self.device)
        pair = self.pairs[batch]
        result = self._evaluator.evaluate(pair)
        out, converter = self.plan.out, self._evaluator.converter
        for row, clip in result.clips.items():
            write_wav(out / "audio" / row / f"{pair.id}.wav", clip.wav, converter.rate)
        if pair.id in self.plan.drawn:
            draw_pair(pair, result.clips, converter.frontend, out / "pictures")
        write_part(out, pair, result)
        return pair.id


class Shares(Sampler[int]):
    """Each process gets a run of neighbours: pairs of one source are evaluated where it was heard.

    Args:
        total: Number of pairs.
        rank: This process.
        n_ranks: All processes.
    """

    def __init__(self, total: int, rank: int, n_ranks: int) -> None:
        self.range = range(total * rank // n_ranks, total * (rank + 1) // n_ranks)

    def __iter__(self) -> Iterator[int]:
        """Indices of this process."""
        return iter(self.range)

    def __len__(self) -> int:
        """How many they are."""
        return len(self.range)


class _PairsModule(L.LightningDataModule):
    """Hands out indices; made anew in each process, where its rank is known."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total

    def predict_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        shares = Shares(self.total, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(range(self.total), batch_size=None, sampler=shares)  # type: ignore[arg-type]


def evaluate_pairs(
    setup: Setup,
    pairs: Sequence[Pair],
    evaluator: PairEvaluator,
    accelerator: str,
    devices: int,
) -> None:
    """Evaluate the pairs that have no result yet.

    Args:
        setup: What to evaluate, and where to write it.
        pairs: All pairs.
        evaluator: What ``setup`` opens on the CPU, used if one process does all there.
        accelerator: Lightning's accelerator.
        devices: Processes, each with a GPU of its own where there are GPUs.

    Raises:
        UserError: A process met bad input.
    """
    todo = [p for p in pairs if not part_of(setup.out, p).exists()]
    todo.sort(key=lambda p: (p.source.id, p.id))
    if not todo:
        return
    devices = min(devices, len(todo))
    bar = NamedBar("converting and scoring")
    trainer = predictor(accelerator, devices, [bar], "ddp_spawn" if devices > 1 else "auto")
    here = devices == 1 and trainer.strategy.root_device.type == "cpu"
    own = evaluator if here else None
    threads = os.environ.get("OMP_NUM_THREADS")
    if devices > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // devices))
    try:
        trainer.predict(
            LitEvaluation(setup, todo, own), _PairsModule(len(todo)), return_predictions=False
        )
    except torch.multiprocessing.ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        if UserError.__qualname__ not in last:
            raise
        raise UserError(last.partition(": ")[2]) from None
    finally:
        os.environ.pop("OMP_NUM_THREADS", None)
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads


def part_of(out: Path, pair: Pair) -> Path:
    """File of a finished pair."""
    return out / "parts" / f"{pair.id}.json"


def write_part(out: Path, pair: Pair, result: Result) -> None:
    """Write a finished pair, atomically."""
    value = {
        "scores": [score._asdict() for score in result.scores],
        "gaps": [gap._asdict() for gap in result.gaps],
        "rtf": result.rtf,
    }
    write_json(part_of(out, pair), value)
