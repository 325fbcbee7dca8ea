"""Extraction through Lightning's predict loop: resumable, on all cores, devices and machines."""

import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter, RichProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from emovc.common.errors import UserError
from emovc.common.features.extractors import NetworkFeature, SignalFeature
from emovc.common.features.store import ShardWriter, missing, store_folder
from emovc.common.manifest import Utterance
from emovc.common.quiet import quieten
from emovc.common.wav import read_wav

Values = dict[str, np.ndarray]


class Extracted(NamedTuple):
    """One file on its way to the store.

    Attributes:
        path: Audio file.
        sha256: Its hash.
        wav: Its samples, (N,), if a network is to hear them.
        values: Features by name.
    """

    path: str
    sha256: str
    wav: Tensor | None
    values: Values


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

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Extracted:
        utterance = self.utterances[index]
        wav, _ = read_wav(utterance.path, self.sample_rate)
        values = {signal.name: signal(wav) for signal in self.signals}
        audio = torch.from_numpy(wav) if self.pass_audio else None
        return Extracted(str(utterance.path), utterance.sha256, audio, values)


class LitExtraction(L.LightningModule):
    """Runs the networks on the device and passes the signal features through.

    Args:
        networks: Networks to run; none is fine.
    """

    def __init__(self, networks: Sequence[NetworkFeature]) -> None:
        super().__init__()
        self.networks = networks
        self.modules_of_networks = torch.nn.ModuleList(
            n for n in networks if isinstance(n, torch.nn.Module)
        )

    def predict_step(self, batch: list[Extracted], batch_idx: int) -> list[Values]:
        """Values of each utterance of the batch by feature name."""
        results = [dict(item.values) for item in batch]
        wavs = [item.wav for item in batch if item.wav is not None]
        if not wavs:
            return results
        lengths = torch.tensor([len(wav) for wav in wavs], device=self.device)
        wav = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
        for network in self.networks:
            values = network(wav.to(self.device), lengths)
            for result, value in zip(results, values, strict=True):
                result[network.name] = value.float().cpu().numpy()
        return results


class StoreWriter(BasePredictionWriter):
    """Writes predictions to the feature store, a shard at a time.

    Args:
        root: Root of the store.
        features: The features that are extracted.
        wanted: Hashes of the files that lack each feature, by feature name.
        shard_size: Files per shard.
    """

    def __init__(
        self,
        root: Path,
        features: Sequence[SignalFeature | NetworkFeature],
        wanted: dict[str, set[str]],
        shard_size: int = 500,
    ) -> None:
        super().__init__(write_interval="batch")
        self.wanted = wanted
        self.shard_size = shard_size
        self._writers = {
            f.name: ShardWriter(store_folder(root, f.name, f.settings), f.name, f.settings)
            for f in features
        }
        self._waiting = 0

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: list[Values],
        batch_indices: Sequence[int] | None,
        batch: list[Extracted],
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Add a batch."""
        for item, values in zip(batch, prediction, strict=True):
            for name, value in values.items():
                if not np.isfinite(value).all():
                    raise UserError(f"{item.path}: feature {name} is not finite; remove the file")
                if item.sha256 in self.wanted[name]:
                    self._writers[name].add(item.sha256, value)
        self._waiting += len(batch)
        if self._waiting >= self.shard_size:
            self._flush()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the last shard, and wait for the other processes to write theirs."""
        self._flush()
        trainer.strategy.barrier("features")

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Keep what was done before an error or Ctrl-C."""
        self._flush()

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()
        self._waiting = 0


class _NamedBar(RichProgressBar):
    """Says what is extracted."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    @property
    def predict_description(self) -> str:
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
    features: list[SignalFeature | NetworkFeature] = [*signals, *networks]
    hashes = {u.sha256 for u in utterances}
    wanted = {f.name: missing(root, f.name, f.settings, hashes) for f in features}
    lacking = set().union(*wanted.values())
    todo = sorted({u.sha256: u for u in utterances if u.sha256 in lacking}.values(), key=_seconds)
    if not todo:
        return 0
    bar = _NamedBar(f"extracting {', '.join(wanted)}")
    with _silent_about_devices(accelerator):
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=devices,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[StoreWriter(root, features, wanted), bar],
        )
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
        worker_init_fn=_end_with_parent,
    )
    trainer.predict(LitExtraction(networks), loader, return_predictions=False)
    return len(todo)


def _end_with_parent(worker: int) -> None:
    """End a loader process whose parent was killed; it would wait for ever to hand over values."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
