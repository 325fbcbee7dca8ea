"""Training of the emotion encoder on Whisper, from stored moments of its layers, in seconds."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
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
        penalty: Weight of the squared weights of the decisions.
        iterations: Of L-BFGS, for the decisions.
        dropout: Share of the values dropped before each layer, for the embedding.
        weight_decay: Of AdamW, for the embedding.
        lr: Largest rate of the one-cycle schedule, for the embedding.
        mixup: Parameter of the beta distribution by which two examples are mixed, likewise.
        smoothing: Label smoothing, likewise.
        batch: Examples per step, likewise.
        steps: Steps, likewise.
    """

    layers: tuple[int, ...]
    penalty: float = 0.02
    iterations: int = 40
    dropout: float = 0.5
    weight_decay: float = 0.1
    lr: float = 3e-3
    mixup: float = 0.4
    smoothing: float = 0.1
    batch: int = 64
    steps: int = 300


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


def allowed_emotions(utterances: Sequence[Utterance], emotions: Sequence[str] = EMOTIONS) -> Tensor:
    """True at the emotions that each utterance's corpus has, (N, E)."""
    present = {(u.corpus, u.emotion) for u in utterances}
    rows = {c: [(c, e) in present for e in emotions] for c in {u.corpus for u in utterances}}
    return torch.tensor([rows[u.corpus] for u in utterances])


def fit_head(
    examples: Examples,
    chosen: Tensor,
    settings: HeadSettings,
    emotions: Sequence[str] = EMOTIONS,
    dim: int = 128,
) -> WhisperHead:
    """Fit the decisions: penalized logistic regression by L-BFGS.

    Each recording is decided among the emotions of its corpus, with and without its speaker's
    statistics. It starts from zero, so there is nothing random in it. A
    degraded copy counts as a recording does. The embedding is left as it is.

    Args:
        examples: Recordings and degraded copies.
        chosen: Those to learn from, (K,).
        settings: Network and training.
        emotions: Emotions to tell apart.
        dim: Size of the embedding.
    """
    n_layers, _, n_features = examples.statistics.shape[1:]
    head = WhisperHead(n_layers, n_features, len(emotions), dim)
    clean = torch.tensor([not examples.kinds[int(i)] for i in chosen])
    head.fit_scale(examples.statistics[chosen[clean]])
    rows = [examples.utterances[int(i)] for i in chosen]
    own = describe_speakers(head, examples, chosen).of([u.speaker for u in rows])
    values = examples.statistics[chosen]
    inputs = (head.normalize(values), head.normalize(values, own))
    classes = torch.tensor([emotions.index(str(u.emotion)) for u in rows])
    forbidden = ~allowed_emotions(rows, emotions)
    weights = sampling_weights(rows)
    weights = weights / weights.sum()
    layers = (head.decide_without, head.decide_with)
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    parameters = [*layers[0].parameters(), *layers[1].parameters()]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=settings.iterations, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros(())
        for normalized, layer in zip(inputs, layers, strict=True):
            scores = layer(normalized).masked_fill(forbidden, -1e4)
            loss = weights @ F.cross_entropy(scores, classes, reduction="none")
            total = total + loss + settings.penalty * layer.weight.square().sum()
        total.backward()
        return total

    optimizer.step(closure)
    return head.eval()


def fit_embedding(
    head: WhisperHead, examples: Examples, chosen: Tensor, settings: HeadSettings, seed: int
) -> None:
    """Train the embedding of a head before a classifier that is dropped afterwards.

    Cross-entropy after a ReLU, mixup, label smoothing, AdamW, one cycle.

    Args:
        head: Head.
        examples: Recordings and degraded copies.
        chosen: Those to learn from, (K,).
        settings: Network and training.
        seed: Seed of weights and order.
    """
    rows = [examples.utterances[int(i)] for i in chosen]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        values = head.normalize(examples.statistics[chosen])
        head.embed.reset_parameters()
        layers: list[nn.Module] = [nn.Dropout(settings.dropout), head.embed, nn.ReLU()]
        classify = nn.Linear(head.embed.out_features, len(EMOTIONS))
        network = nn.Sequential(*layers, nn.Dropout(settings.dropout), classify)
        classes = torch.tensor([EMOTIONS.index(str(u.emotion)) for u in rows])
        targets = F.one_hot(classes, len(EMOTIONS)).float()
        weights = sampling_weights(rows)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.lr, settings.steps, pct_start=0.1
        )
        mixture = torch.distributions.Beta(settings.mixup, settings.mixup)
        for _ in range(settings.steps):
            drawn = torch.multinomial(weights, settings.batch, replacement=True)
            partner, share = drawn[torch.randperm(settings.batch)], mixture.sample()
            mixed = torch.lerp(values[partner], values[drawn], share)
            wanted = torch.lerp(targets[partner], targets[drawn], share)
            loss = F.cross_entropy(network(mixed), wanted, label_smoothing=settings.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.requires_grad_(True).eval()


@torch.no_grad()
def log_posteriors(
    head: WhisperHead, examples: Examples, chosen: Tensor, speakers: Speakers | None
) -> Tensor:
    """Log-probabilities (K, E) of examples ``chosen`` (K,), with or without their speakers'."""
    names = [examples.utterances[int(i)].speaker for i in chosen]
    known = None if speakers is None else speakers.of(names)
    return head(examples.statistics[chosen], known)[1]
