"""What happens to a batch in extraction: the networks run, and the store is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.features.extractors import NetworkFeature, SignalFeature
from emovc.common.features.store import ShardWriter, store_folder

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
