"""Moving averages of weights."""

import copy

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from emovc.common.averaging import AveragedWeights
from emovc.common.weights import weights_hash


class Half(L.LightningModule):
    """A linear layer that learns, beside a frozen one and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(64, 64).requires_grad_(False)
        self.layer = nn.Linear(64, 1)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.seen: list[Tensor] = []

    def training_step(self, batch: Tensor) -> Tensor:
        self.count += 1
        return self.layer(self.frozen(batch)).square().mean()

    def on_train_batch_end(self, *_: object) -> None:
        self.seen.append(self.layer.weight.detach().clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.layer.parameters(), lr=0.1)


def test_learned_weights_are_averaged_and_frozen_ones_stay_exactly() -> None:
    torch.manual_seed(0)
    module, steps, decay = Half(), 40, 0.7
    before = weights_hash(module.frozen)
    start = copy.deepcopy(module.layer.weight.detach())
    trainer = L.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[AveragedWeights(decay)],
    )  # fmt: skip
    trainer.fit(module, DataLoader(torch.randn(4 * steps, 64), batch_size=4))
    assert weights_hash(module.frozen) == before
    assert int(module.count) == steps
    average = module.seen[0]
    for weight in module.seen[1:]:
        average = decay * average + (1 - decay) * weight
    assert not torch.equal(average, start)
    torch.testing.assert_close(module.layer.weight.detach(), average)


def test_with_a_ramp_the_first_weights_are_soon_forgotten() -> None:
    torch.manual_seed(0)
    module, steps, decay = Half(), 40, 0.999
    trainer = L.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[AveragedWeights(decay, ramp=True)],
    )  # fmt: skip
    trainer.fit(module, DataLoader(torch.randn(4 * steps, 64), batch_size=4))
    average = module.seen[0]
    for step, weight in enumerate(module.seen[1:], 1):
        kept = min(decay, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * weight
    torch.testing.assert_close(module.layer.weight.detach(), average)
