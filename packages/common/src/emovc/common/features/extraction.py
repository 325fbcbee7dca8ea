"""Extraction through Lightning's predict loop: resumable, on all cores, devices and machines."""

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from emovc.common.features.extractors import NetworkFeature, SignalFeature
from emovc.common.features.store import missing
from emovc.common.features.writing import Extracted, LitExtraction, StoreWriter
from emovc.common.files import remove_leftovers
from emovc.common.manifest import Utterance
from emovc.common.quiet import quieten
from emovc.common.signals import end_with_parent
from emovc.common.unchanged import read_utterance, require_hash
from emovc.common.worker_files import CurrentFiles


class _Audio(Dataset[Extracted]):
    """Reads audio and computes the signal features, in the loader's processes."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        sample_rate: int,
        signals: Sequence[SignalFeature],
        pass_audio: bool,
    ) -> None:
        self.utterances = utterances
        self.sample_rate = sample_rate
        self.signals = signals
        self.pass_audio = pass_audio
        self._at = CurrentFiles()

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Extracted:
        utterance = self.utterances[index]
        with self._at.reading(utterance.path):
            require_hash(utterance)  # under which the values are stored
            wav = read_utterance(utterance, self.sample_rate)
            values = {signal.name: signal(wav) for signal in self.signals}
        audio = torch.from_numpy(wav) if self.pass_audio else None
        return Extracted(str(utterance.path), utterance.sha256, audio, values)


class NamedBar(RichProgressBar):
    """Says what is done.

    Args:
        what: Words before the bar.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    @property
    def predict_description(self) -> str:
        """Words before the bar."""
        return self.what


def extract(
    utterances: Sequence[Utterance],
    root: Path,
    sample_rate: int,
    signals: Sequence[SignalFeature] = (),
    networks: Sequence[NetworkFeature] = (),
    num_workers: int = 0,
    batch_size: int = 16,
    accelerator: str = "auto",
    devices: int | str = "auto",
) -> int:
    """Extract what the store lacks; a run that was stopped goes on where it was.

    Args:
        utterances: Utterances of the corpus.
        root: Root of the store.
        sample_rate: Rate the features hear, in Hz.
        signals: Features computed in the loader's processes.
        networks: Features computed on the device.
        num_workers: Loader processes.
        batch_size: Utterances per batch of the networks.
        accelerator: Lightning's accelerator.
        devices: Lightning's number of devices.

    Returns:
        Number of files that lacked something.
    """
    quieten()
    remove_leftovers(root)
    features: list[SignalFeature | NetworkFeature] = [*signals, *networks]
    hashes = {u.sha256 for u in utterances}
    wanted = {f.name: missing(root, f.name, f.settings, hashes) for f in features}
    lacking = set().union(*wanted.values())
    todo = sorted({u.sha256: u for u in utterances if u.sha256 in lacking}.values(), key=_seconds)
    if not todo:
        return 0
    bar = NamedBar(f"extracting {', '.join(wanted)}")
    trainer = predictor(accelerator, devices, [StoreWriter(root, features, wanted), bar])
    dataset = _Audio(todo, sample_rate, signals, pass_audio=bool(networks))
    share: DistributedSampler[Extracted] = DistributedSampler(
        dataset, trainer.world_size, trainer.global_rank, shuffle=False, drop_last=False
    )
    loader = DataLoader(
        dataset,
        batch_size,
        sampler=share,
        num_workers=num_workers,
        collate_fn=list,
        worker_init_fn=_watch_parent,
    )
    trainer.predict(LitExtraction(networks), loader, return_predictions=False)
    return len(todo)


def predictor(
    accelerator: str, devices: int | str, callbacks: list[L.Callback], strategy: str = "auto"
) -> L.Trainer:
    """A trainer for predictions only.

    Args:
        accelerator: Lightning's accelerator.
        devices: Lightning's number of devices.
        callbacks: What writes the predictions and shows the progress.
        strategy: Lightning's strategy.
    """
    with _silent_about_devices(accelerator):
        return L.Trainer(
            accelerator=accelerator,
            devices=devices,
            strategy=strategy,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=callbacks,
        )


def _watch_parent(worker: int) -> None:
    """Start of a loader process; Ctrl-C, which reaches it too, is its parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


@contextmanager
def _silent_about_devices(accelerator: str) -> Iterator[None]:
    """Keep Lightning from recommending a GPU to those who chose the CPU."""
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = log.level
    with warnings.catch_warnings():
        if accelerator == "cpu":
            log.setLevel(logging.WARNING)
            warnings.filterwarnings("ignore", "GPU available but not used")
        try:
            yield
        finally:
            log.setLevel(level)


def _seconds(utterance: Utterance) -> float:
    """Duration in s: sorting by it leaves little padding in a batch."""
    return utterance.seconds
