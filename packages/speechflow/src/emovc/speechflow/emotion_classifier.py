"""Training of the classifiers of the emotion experiment.

A classifier is any network of emovc that has ``n_bands`` and ``n_classes``, maps windows of mel
(B, M, T) to logits (B, C), and learns its normalisation in ``fit_normalisation(mels)``. It arrives
as a ``class_path``, since models don't import recognisers.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import recall_score
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.pretrained import build

AT_ONCE = 64  # windows without gradients


@dataclass(frozen=True)
class Recipe:
    """How every classifier is trained.

    Attributes:
        classifier: Its ``class_path`` and ``init_args``.
        iterations: Optimiser steps.
        batch_size: Windows per step.
        lr: Learning rate of Adam.
        validate_every: Steps between validations; the best of them is kept.
    """

    classifier: dict[str, Any]
    iterations: int
    batch_size: int
    lr: float
    validate_every: int

    @property
    def settings(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


class Labelled(NamedTuple):
    """Windows of some utterances and what these are.

    Attributes:
        mel: Windows, (W, M, T).
        owner: Utterance of each window, 0 to U - 1, (W,).
        labels: Class of each utterance, (U,).
    """

    mel: Tensor
    owner: Tensor
    labels: Tensor


def train_classifier(
    recipe: Recipe, train: Labelled, val: Labelled, n_classes: int, seed: int
) -> nn.Module:
    """Train one classifier and keep its weights of the best validation recall.

    Args:
        recipe: How.
        train: What on; as many windows of each class are drawn as the rarest has.
        val: What the best step is chosen by.
        n_classes: Number of classes.
        seed: Seed of weights, draws and order.

    Returns:
        The classifier, in eval mode.

    Raises:
        UserError: The class isn't a classifier of emovc.
    """
    rng = np.random.default_rng(seed)
    classes = train.labels[train.owner]
    chosen = balanced_windows(classes, rng)
    best, kept = -1.0, {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _build(recipe.classifier, train.mel.shape[1], n_classes)
        network.fit_normalisation(train.mel[i] for i in chosen.split(AT_ONCE))
        learned = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(learned, recipe.lr)
        for step, rows in enumerate(_batches(chosen, recipe, rng), 1):
            logits = network.train()(train.mel[rows].to(_device(network)))
            loss = F.cross_entropy(logits, classes[rows].to(logits.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % recipe.validate_every == 0 or step == recipe.iterations:
                recall = average_recall(val.labels, decide(network, val.mel, val.owner))
                if recall > best:
                    best = recall
                    kept = {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(kept)
    return network.eval()


def _batches(chosen: Tensor, recipe: Recipe, rng: np.random.Generator) -> Iterator[Tensor]:
    """Windows of each step, every epoch in a new order; batches may span two epochs."""
    order = chosen[:0]
    for _ in range(recipe.iterations):
        while len(order) < recipe.batch_size:
            order = torch.cat([order, chosen[torch.from_numpy(rng.permutation(len(chosen)))]])
        rows, order = order[: recipe.batch_size], order[recipe.batch_size :]
        yield rows


@torch.inference_mode()
def decide(network: nn.Module, mel: Tensor, owner: Tensor) -> Tensor:
    """Class of each utterance: the largest logit over its windows, (U,).

    Args:
        network: A classifier.
        mel: Windows, (W, M, T).
        owner: Utterance of each window, 0 to U - 1, (W,).
    """
    network.eval()
    logits = torch.cat([network(m.to(_device(network))).cpu() for m in mel.split(AT_ONCE)])
    lowest = logits.new_full((int(owner.max()) + 1, logits.shape[1]), -torch.inf)
    index = owner[:, None].expand_as(logits)
    return lowest.scatter_reduce(0, index, logits, reduce="amax").argmax(1)


def average_recall(labels: Tensor, predictions: Tensor) -> float:
    """Unweighted average recall (UAR), 0 to 1, over the classes that occur."""
    return float(recall_score(labels, predictions, labels=labels.unique(), average="macro"))


def balanced_windows(classes: Tensor, rng: np.random.Generator) -> Tensor:
    """Indices of equally many windows of each class, as many as the rarest has."""
    values, counts = classes.unique(return_counts=True)
    rows = [(classes == value).nonzero()[:, 0].numpy() for value in values]
    drawn = [rng.permutation(r)[: int(counts.min())] for r in rows]
    return torch.from_numpy(np.sort(np.concatenate(drawn)))


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _build(classifier: dict[str, Any], n_bands: int, n_classes: int) -> Any:
    """The network that a description names, for so many bands and classes."""
    arguments = {**(classifier.get("init_args") or {}), "n_bands": n_bands, "n_classes": n_classes}
    network = build({**classifier, "init_args": arguments}, "classifier")
    if not (isinstance(network, nn.Module) and hasattr(network, "fit_normalisation")):
        raise UserError(
            f"classifier: {classifier.get('class_path')} is no classifier of mel windows; use one"
            " like emovc.ser.acrnn.ACRNN"
        )
    return network.to("cuda" if torch.cuda.is_available() else "cpu")
