"""Heads of the voice encoder from stored moments of Whisper's layers: whitened, or trained."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.features.store import FeatureStore
from emovc.common.manifest import Utterance
from emovc.ser.voice import VoiceHead
from emovc.ser.whisper_moments import Moments, statistics

LR, BATCH = 2e-3, 128


class Whitening(NamedTuple):
    """A head in closed form: what varies within speakers is divided out.

    Attributes:
        layers: Layers of Whisper.
        dim: Principal components that are kept at most, and size of the vector.
        shrinkage: Share of a round covariance in that within speakers.
    """

    layers: tuple[int, ...] = (0,)
    dim: int = 192
    shrinkage: float = 0.3


class Margin(NamedTuple):
    """A head that is trained to classify speakers with a margin.

    Attributes:
        layers: Layers of Whisper.
        hidden: Units before the vector; 0: none.
        dim: Size of the vector.
        dropout: Share of the values dropped before each layer.
        weight_decay: Of AdamW.
        margin: By which the cosine with one's own speaker must be the largest.
        scale: Factor of the cosines before the softmax.
        steps: Steps.
    """

    layers: tuple[int, ...] = (0, 1, 2, 3)
    hidden: int = 0
    dim: int = 192
    dropout: float = 0.2
    weight_decay: float = 0.1
    margin: float = 0.2
    scale: float = 30.0
    steps: int = 400


Settings = Whitening | Margin


class Recordings(NamedTuple):
    """Recordings and their degraded copies.

    Attributes:
        statistics: Mean and deviation over time of the stored layers, (N, L, 2, D).
        utterances: The recordings, N of them.
        kinds: Degradation of each; empty: the recording itself.
        layers: The layers L.
        whisper: Hash of the Whisper encoder.
    """

    statistics: Tensor
    utterances: list[Utterance]
    kinds: list[str]
    layers: tuple[int, ...]
    whisper: str

    @property
    def ids(self) -> list[str]:
        """What each row is: the hash of its recording, and its kind."""
        pairs = zip(self.utterances, self.kinds, strict=True)
        return [f"{u.sha256} {kind}" for u, kind in pairs]

    def where(self, speakers: set[str], kinds: Sequence[str] | None = None) -> Tensor:
        """Places of the recordings of some speakers, and of some kinds if given, (K,)."""
        pairs = zip(self.utterances, self.kinds, strict=True)
        kept = [u.speaker in speakers and (kinds is None or k in kinds) for u, k in pairs]
        return torch.tensor(kept).nonzero()[:, 0]

    def of_layers(self, layers: Sequence[int]) -> Tensor:
        """Statistics of some of the layers, (N, K, 2, D)."""
        return self.statistics[:, [self.layers.index(layer) for layer in layers]]


def read_recordings(stores: dict[str, FeatureStore], utterances: Sequence[Utterance]) -> Recordings:
    """Recordings, then those of their degraded copies that there are.

    Args:
        stores: Stored moments by degradation; the empty name is the recordings'.
        utterances: Recordings, all of which must be stored.

    Raises:
        UserError: A recording isn't stored.
    """
    stores[""].require(utterances, "extract them with emovc train-voice")
    layers = tuple(stores[""].settings["layers"])
    values, rows, kinds = [], [], []
    for kind, store in stores.items():
        for u in utterances:
            if u.sha256 not in store:
                continue
            found = torch.from_numpy(np.array(store.get(u.sha256)))[None]
            moments = found[..., :-1].unflatten(2, (len(layers), 2, -1))
            values.append(statistics(Moments(moments, found[..., -1]))[0])
            rows.append(u)
            kinds.append(kind)
    whisper = str(stores[""].settings["weights"])
    return Recordings(torch.stack(values), rows, kinds, layers, whisper)


def fit_voice(recordings: Recordings, chosen: Tensor, settings: Settings, seed: int) -> VoiceHead:
    """Train a head.

    Args:
        recordings: Recordings and degraded copies.
        chosen: Those to learn from, (K,).
        settings: What is trained, and how.
        seed: Seed of weights and order; nothing is drawn for :class:`Whitening`.
    """
    values = recordings.of_layers(settings.layers)[chosen]
    rows = [recordings.utterances[int(i)] for i in chosen]
    names = sorted({u.speaker for u in rows})
    speakers = torch.tensor([names.index(u.speaker) for u in rows])
    fit = _whiten if isinstance(settings, Whitening) else _train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fit(values, speakers, sampling_weights(rows), settings).eval()  # type: ignore[arg-type]


@torch.no_grad()
def _whiten(values: Tensor, speakers: Tensor, weights: Tensor, settings: Whitening) -> VoiceHead:
    """Principal components, then the inverse root of the covariance within speakers.

    Emotions and degradations of one speaker are what is divided out. Source: Hatch, Kajarekar and
    Stolcke, "Within-class covariance normalization for SVM-based speaker recognition", Interspeech
    2006, equation 4.

    Args:
        values: Statistics, (N, L, 2, D).
        speakers: Who speaks, (N,).
        weights: Weight of each recording, (N,).
        settings: Size and shrinkage.
    """
    n_layers, _, n_features = values.shape[1:]
    size = min(settings.dim, 2 * n_features)
    head = VoiceHead(n_layers, n_features, 0, size, 0.0)
    head.fit_scale(values)
    scaled = head.mix(values).double()
    share = (weights / weights.sum()).double()[:, None]
    centred = scaled - (share * scaled).sum(0)
    _, vectors = torch.linalg.eigh(centred.T @ (share * centred))
    components = vectors[:, -size:]  # (2 D, V), the largest last
    own = centred @ components
    members = F.one_hot(speakers).double()
    means = (members.T @ (share * own)) / (members.T @ share)
    within = own - means[speakers]
    covariance = within.T @ (share * within)
    round_one = torch.eye(len(covariance)).double() * covariance.diagonal().mean()
    spread, axes = torch.linalg.eigh(torch.lerp(covariance, round_one, settings.shrinkage))
    root = axes * spread.rsqrt() @ axes.T
    head.embed.weight.copy_((components @ root).T)
    head.embed.bias.copy_(-(share * scaled).sum(0) @ components @ root)
    return head


def _train(values: Tensor, speakers: Tensor, weights: Tensor, settings: Margin) -> VoiceHead:
    """Additive-margin softmax over speakers, AdamW, one cycle.

    Source: Wang, Cheng, Liu and Liu, "Additive margin softmax for face verification", IEEE SPL
    25(7), 2018, equation 6.

    Args:
        values: Statistics, (N, L, 2, D).
        speakers: Who speaks, (N,).
        weights: How often each recording is drawn, (N,).
        settings: Network and training.
    """
    n_layers, _, n_features = values.shape[1:]
    head = VoiceHead(n_layers, n_features, settings.hidden, settings.dim, settings.dropout)
    head.fit_scale(values)
    centres = nn.Parameter(torch.randn(int(speakers.max()) + 1, settings.dim))
    optimizer = torch.optim.AdamW(
        [*head.parameters(), centres], LR, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, settings.steps, pct_start=0.1)
    for _ in range(settings.steps):
        drawn = torch.multinomial(weights, BATCH, replacement=True)
        cosines = head(values[drawn]) @ F.normalize(centres, dim=1).T
        loss = margin_loss(cosines, speakers[drawn], settings.margin, settings.scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head


def margin_loss(cosines: Tensor, speakers: Tensor, margin: float, scale: float) -> Tensor:
    """Cross-entropy of cosines (B, C) where a margin is taken from that with one's own speaker.

    Args:
        cosines: Cosine of each vector with each speaker's.
        speakers: Who speaks, (B,).
        margin: The margin.
        scale: Factor of the cosines.
    """
    lowered = cosines - margin * F.one_hot(speakers, cosines.shape[1])
    return F.cross_entropy(scale * lowered, speakers)


def sampling_weights(rows: Sequence[Utterance]) -> Tensor:
    """Weight of each recording, (N,): speakers alike, and the emotions of each alike."""
    pairs = [(u.speaker, u.emotion) for u in rows]
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    emotions = {name: sum(s == name for s, _ in counts) for name in {u.speaker for u in rows}}
    return torch.tensor([1 / counts[pair] / emotions[pair[0]] for pair in pairs])


@torch.no_grad()
def voices(head: VoiceHead, recordings: Recordings, settings: Settings) -> np.ndarray:
    """Unit vectors (N, V) of all recordings and copies."""
    return head(recordings.of_layers(settings.layers)).numpy()
