"""Training of the emotion encoder on Whisper, from stored moments of its layers, in seconds."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore
from emovc.common.manifest import Utterance
from emovc.ser.whisper_head import FEWEST, SpeakerStatistics, WhisperHead
from emovc.ser.whisper_moments import Moments, statistics


class HeadSettings(NamedTuple):
    """Network and training of a head.

    Attributes:
        layers: Layers of Whisper.
        dropout: Share of the values dropped before each linear layer.
        weight_decay: Of AdamW.
        lr: Largest rate of the one-cycle schedule.
        mixup: Parameter of the beta distribution by which two examples are mixed.
        smoothing: Label smoothing.
        batch: Examples per step.
        steps: Steps.
    """

    layers: tuple[int, ...]
    dropout: float = 0.5
    weight_decay: float = 0.1
    lr: float = 3e-3
    mixup: float = 0.4
    smoothing: float = 0.1
    batch: int = 64
    steps: int = 200


class Examples(NamedTuple):
    """Statistics of recordings and of their degraded copies.

    Attributes:
        statistics: Mean and deviation over time of each, (N, L, 2, D).
        utterances: The recordings, N of them.
        kinds: Degradation of each; empty: the recording itself.
    """

    statistics: Tensor
    utterances: list[Utterance]
    kinds: list[str]


def read_examples(
    stores: dict[str, FeatureStore], utterances: Sequence[Utterance], layers: Sequence[int]
) -> Examples:
    """Recordings, then those of their degraded copies that there are.

    Args:
        stores: Stored moments by degradation; the empty name is the recordings'.
        utterances: Recordings, all of which must be stored.
        layers: Layers to read.

    Raises:
        UserError: The recordings' moments are not stored, or lack a layer.
    """
    stores[""].require(utterances, "extract them with emovc train-emotion --kind whisper")
    found, rows, kinds = [], [], []
    for kind, store in stores.items():
        stored = list(store.settings["layers"])
        absent = [layer for layer in layers if layer not in stored]
        if absent:
            raise UserError(f"{store.folder}: lacks layer {absent[0]}; it has {stored}")
        places = [stored.index(layer) for layer in layers]
        for u in utterances:
            if u.sha256 not in store:
                continue
            values = torch.tensor(store.get(u.sha256))
            moments = values[:, :-1].unflatten(1, (len(stored), 2, -1))[:, places]
            found.append(statistics(Moments(moments[None], values[None, :, -1]))[0])
            rows.append(u)
            kinds.append(kind)
    return Examples(torch.stack(found), rows, kinds)


class Speakers(NamedTuple):
    """Statistics of several speakers.

    Attributes:
        mean: (P, L, 2, D).
        deviation: (P, L, 2, D).
        names: Their names, P of them.
    """

    mean: Tensor
    deviation: Tensor
    names: list[str]

    def of(self, speakers: Sequence[str]) -> SpeakerStatistics:
        """Statistics of each of ``speakers``, (B, L, 2, D)."""
        places = torch.tensor([self.names.index(name) for name in speakers])
        return SpeakerStatistics(self.mean[places], self.deviation[places])


def describe_speakers(head: WhisperHead, examples: Examples, chosen: Tensor) -> Speakers:
    """Statistics of the speakers of the recordings ``chosen`` (K,), without labels.

    Speakers of fewer than three recordings get the training's.
    """
    own = [int(i) for i in chosen if not examples.kinds[int(i)]]
    names = sorted({examples.utterances[int(i)].speaker for i in chosen})
    means, deviations = [], []
    for name in names:
        rows = [i for i in own if examples.utterances[i].speaker == name]
        found = SpeakerStatistics(head.mean, head.deviation)
        if len(rows) >= FEWEST:
            found = head.describe_speaker(examples.statistics[rows])
        means.append(found.mean)
        deviations.append(found.deviation)
    return Speakers(torch.stack(means), torch.stack(deviations), names)


def sampling_weights(utterances: Sequence[Utterance]) -> Tensor:
    """Weight of each recording, (N,): emotions of a corpus alike, corpora by the root of size."""
    corpora = [u.corpus for u in utterances]
    pairs = [(u.corpus, u.emotion) for u in utterances]
    sizes = {corpus: corpora.count(corpus) for corpus in set(corpora)}
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    n_emotions = {corpus: sum(c == corpus for c, _ in counts) for corpus in sizes}
    return torch.tensor([sizes[c] ** 0.5 / n_emotions[c] / counts[(c, e)] for c, e in pairs])


def fit_head(
    examples: Examples,
    chosen: Tensor,
    settings: HeadSettings,
    seed: int,
    emotions: Sequence[str] = EMOTIONS,
    dim: int = 128,
) -> WhisperHead:
    """Train a head: cross-entropy, mixup of statistics, label smoothing, AdamW, one cycle.

    Half of every batch is normalized by its speakers' statistics, half by the training's, so that
    one head serves with and without them. A degraded copy counts as a recording does.

    Args:
        examples: Recordings and degraded copies.
        chosen: Those to learn from, (K,).
        settings: Network and training.
        seed: Seed of weights and order.
        emotions: Emotions to tell apart.
        dim: Size of the embedding.
    """
    n_layers, _, n_features = examples.statistics.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = WhisperHead(n_layers, n_features, len(emotions), dim, settings.dropout)
        clean = torch.tensor([not examples.kinds[int(i)] for i in chosen])
        head.fit_scale(examples.statistics[chosen[clean]])
        speakers = describe_speakers(head, examples, chosen)
        rows = [examples.utterances[int(i)] for i in chosen]
        own = speakers.of([u.speaker for u in rows])
        plain = head.normalize(examples.statistics[chosen])
        by_speaker = head.normalize(examples.statistics[chosen], own)
        classes = torch.tensor([emotions.index(str(u.emotion)) for u in rows])
        targets = F.one_hot(classes, len(emotions)).float()
        weights = sampling_weights(rows)
        optimizer = torch.optim.AdamW(
            head.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.lr, settings.steps, pct_start=0.1
        )
        mixture = torch.distributions.Beta(settings.mixup, settings.mixup)
        for _ in range(settings.steps):
            drawn = torch.multinomial(weights, settings.batch, replacement=True)
            known = torch.rand(settings.batch) < 0.5
            values = torch.where(known[:, None, None, None], by_speaker[drawn], plain[drawn])
            partner, share = torch.randperm(settings.batch), mixture.sample()
            mixed = torch.lerp(values[partner], values, share)
            wanted = torch.lerp(targets[drawn[partner]], targets[drawn], share)
            loss = F.cross_entropy(
                head.decide(mixed)[1], wanted, label_smoothing=settings.smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


@torch.no_grad()
def log_posteriors(
    head: WhisperHead, examples: Examples, chosen: Tensor, speakers: Speakers | None
) -> Tensor:
    """Log-probabilities (K, E) of examples ``chosen`` (K,), with or without their speakers'."""
    names = [examples.utterances[int(i)].speaker for i in chosen]
    known = None if speakers is None else speakers.of(names)
    return head(examples.statistics[chosen], known)[1]
