"""Gradients that are not finite, and the count of what was heard."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from emovc.common.callbacks import GradientGuard, Progress
from emovc.common.errors import UserError


class Line(L.LightningModule):
    """Fits a line; the third batch is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return (self.slope * batch.wav).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def batches() -> DataLoader[Any]:
    values = [1.0, 1.0, float("inf"), 1.0]
    items = [
        SimpleNamespace(
            wav=torch.full((2, 10), v), ids=[f"a{i}", f"b{i}"], lengths=torch.full((2,), 10)
        )
        for i, v in enumerate(values)
    ]
    return DataLoader(items, batch_size=None)  # type: ignore[arg-type]


def fit(
    folder: Path, on_nonfinite: Literal["stop", "skip"]
) -> tuple[Line, GradientGuard, Progress]:
    model, guard, progress = Line(), GradientGuard(on_nonfinite), Progress()
    trainer = L.Trainer(
        default_root_dir=folder, accelerator="cpu", max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[progress, guard],
    )  # fmt: skip
    data = L.LightningDataModule.from_datasets()
    data.train_dataloader = batches  # type: ignore[method-assign]
    data.sample_rate = 5  # type: ignore[attr-defined]
    trainer.fit(model, datamodule=data)
    return model, guard, progress


def test_an_infinite_gradient_stops_the_run_and_names_the_batch(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step 2: the gradient is (inf|nan) for the batch a2, b2"):
        fit(tmp_path, "stop")


def test_or_is_left_out_and_counted(tmp_path: Path) -> None:
    model, guard, _ = fit(tmp_path, "skip")
    assert guard.skipped == 1
    assert float(model.slope.detach()) == pytest.approx(0.8**3)  # three steps of 1 - 2 * 0.1


def test_speech_is_counted(tmp_path: Path) -> None:
    _, _, progress = fit(tmp_path, "skip")
    assert progress.samples == 8
    assert progress.seconds_of_speech == pytest.approx(4 * 2 * 10 / 5)
