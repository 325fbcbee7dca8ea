"""Training on vectors that fit into memory: the recipe of HYFuse, without files or Lightning."""

import copy
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.ser.folds import Fold
from emovc.ser.hyfuse import HYFuse
from emovc.ser.recall import confusion_matrix
from emovc.ser.recognition import measures

CLIP = 1.0  # largest norm of the gradient


def recognition_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (B, C) and classes (B,)."""
    return F.cross_entropy(logits, labels)


def adamw(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.AdamW:
    """The optimiser: AdamW with a weight decay of 0.01."""
    own = list(parameters)
    fused = all(p.device.type == "cpu" for p in own)  # elsewhere float16 could not be clipped
    return torch.optim.AdamW(own, lr=lr, weight_decay=0.01, fused=fused)


def warmup_cosine(step: int, steps: int) -> float:
    """Share of the learning rate: rising over the first tenth, then falling to 0 by a cosine.

    Args:
        step: Steps done.
        steps: Steps in all.
    """
    warmup = max(1, round(0.1 * steps))
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.5 * (1 + math.cos(math.pi * done))


def train_on_vectors(
    network: HYFuse,
    vectors: Sequence[Tensor],
    labels: Tensor,
    fold: Fold,
    seed: int,
    epochs: int = 50,
    patience: int = 10,
    batch_size: int = 32,
    lr: float = 1e-3,
) -> None:
    """Train a network; it ends with the weights of the epoch of the best validation macro-F1.

    Training stops early when the validation loss has not fallen for ``patience`` epochs. Only
    ``fold.train`` and ``fold.val`` are looked at; means and deviations are of the former.

    Args:
        network: Network to train, in place.
        vectors: Representations, (N, dim) each.
        labels: Classes, (N,).
        fold: Indices of the parts.
        seed: Seed of order and dropout.
        epochs: Most passes over the training part.
        patience: Epochs to wait for a lower validation loss.
        batch_size: Utterances per step.
        lr: Highest learning rate.
    """
    train, val = torch.from_numpy(fold.train), torch.from_numpy(fold.val)
    network.fit_statistics([v[train] for v in vectors])
    optimizer = adamw(network.parameters(), lr)
    steps_per_epoch = math.ceil(len(train) / batch_size)
    best, kept, lowest, waited = (-1.0, -math.inf), network.state_dict(), math.inf, 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            network.train()
            for k, rows in enumerate(train[torch.randperm(len(train))].split(batch_size)):
                share = warmup_cosine(epoch * steps_per_epoch + k, epochs * steps_per_epoch)
                _step(network, optimizer, share * lr, [v[rows] for v in vectors], labels[rows])
            loss, f1 = _validate(network, [v[val] for v in vectors], labels[val])
            if (f1, -loss) > best:
                best, kept = (f1, -loss), copy.deepcopy(network.state_dict())
            lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
            if waited >= patience:
                break
    network.load_state_dict(kept)


@torch.no_grad()
def predict(network: HYFuse, vectors: Sequence[Tensor]) -> np.ndarray:
    """Most likely class of each row of representations (N, dim), (N,)."""
    network.eval()
    return network(vectors).argmax(1).numpy()


def _step(
    network: HYFuse, optimizer: torch.optim.AdamW, lr: float, vectors: list[Tensor], labels: Tensor
) -> None:
    """One step of the optimiser."""
    optimizer.param_groups[0]["lr"] = lr
    optimizer.zero_grad()
    recognition_loss(network(vectors), labels).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()


@torch.no_grad()
def _validate(network: HYFuse, vectors: list[Tensor], labels: Tensor) -> tuple[float, float]:
    """Loss and macro-F1 of the validation part."""
    network.eval()
    logits = network(vectors)
    confusion = confusion_matrix(labels.numpy(), logits.argmax(1).numpy(), logits.shape[1])
    return float(recognition_loss(logits, labels)), float(measures(confusion)["macro_f1"])
