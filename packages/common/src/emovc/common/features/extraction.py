"""Extraction through Lightning's predict loop: resumable, on all cores, devices and machines."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from emovc.common.errors import UserError
from emovc.common.features.extractors import NetworkFeature, SignalFeature
from emovc.common.features.store import FeatureStore, ShardWriter, store_folder
from emovc.common.manifest import Utterance
from emovc.common.quiet import quieten
from emovc.common.wav import read_wav

Values = dict[str, np.ndarray]


class Extracted(NamedTuple):
    """One file on its way to the store."""

    path: str
    sha256: str
    wav: Tensor
    values: Values


class _Audio(Dataset[Extracted]):
    """Reads audio and computes the signal features, in the loader's processes."""

    def __init__(
        self, utterances: Sequence[Utterance], sample_rate: int, signals: Sequence[SignalFeature]
    ) -> None:
        self.utterances = utterances
        self.sample_rate = sample_rate
        self.signals = signals

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Extracted:
        utterance = self.utterances[index]
        wav, _ = read_wav(utterance.path, self.sample_rate)
        values = {signal.name: signal(wav) for signal in self.signals}
        return Extracted(str(utterance.path), utterance.sha256, torch.from_numpy(wav), values)


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
        if not self.networks:
            return results
        lengths = torch.tensor([len(item.wav) for item in batch], device=self.device)
        wav = torch.nn.utils.rnn.pad_sequence([item.wav for item in batch], batch_first=True)
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
        """Write the last shard."""
        self._flush()

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()
        self._waiting = 0


def missing(
    root: Path, utterances: Sequence[Utterance], feature: SignalFeature | NetworkFeature
) -> set[str]:
    """Hashes of the files whose feature isn't in the store yet."""
    hashes = {u.sha256 for u in utterances}
    folder = store_folder(root, feature.name, feature.settings)
    if not (folder / "meta.json").exists():
        return hashes
    store = FeatureStore(folder)
    return {sha256 for sha256 in hashes if sha256 not in store}


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
    wanted = {f.name: missing(root, utterances, f) for f in features}
    lacking = set().union(*wanted.values())
    todo = sorted({u.sha256: u for u in utterances if u.sha256 in lacking}.values(), key=_seconds)
    if not todo:
        return 0
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=devices,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[StoreWriter(root, features, wanted)],
    )
    dataset = _Audio(todo, sample_rate, signals)
    share: DistributedSampler[Extracted] = DistributedSampler(
        dataset, trainer.world_size, trainer.global_rank, shuffle=False, drop_last=False
    )
    loader = DataLoader(
        dataset, batch_size, sampler=share, num_workers=num_workers, collate_fn=list
    )
    trainer.predict(LitExtraction(networks), loader, return_predictions=False)
    return len(todo)


def _seconds(utterance: Utterance) -> float:
    """Duration in s: sorting by it leaves little padding in a batch."""
    return utterance.seconds
