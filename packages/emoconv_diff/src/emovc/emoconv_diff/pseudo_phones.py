"""Pseudo-phones: stretches of alike frames, for corpora without an aligner or transcripts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.files import write_json
from emovc.common.weights import load_exactly, read_settings, read_weights, save_weights
from emovc.emoconv_diff.average_mels import Segment

N_CEPSTRA = 20  # enough for the spectral envelope, too few for harmonics of the voice
CONTEXT = 2  # frames between a frame and what it is seen together with, on each side
MOST_FRAMES = 1_000_000  # that k-means sees


class PseudoPhones(nn.Module):
    """Clusters of frames, of which an utterance is cut into runs.

    Args:
        n_phones: Clusters K.
        dim: Size D of the frames.
        min_frames: Shortest run.

    Attributes:
        pretrained: Whether the centres were found in speech.

    Raises:
        UserError: A number is below 1.
    """

    def __init__(self, n_phones: int, dim: int, min_frames: int = 3) -> None:
        super().__init__()
        if min(n_phones, dim, min_frames) < 1:
            raise UserError(
                f"pseudo-phones: n_phones {n_phones} and min_frames {min_frames} must be 1 or more"
            )
        self.settings = {"n_phones": n_phones, "dim": dim, "min_frames": min_frames}
        self.min_frames = min_frames
        self.pretrained = False
        self.centres: Tensor
        self.register_buffer("centres", torch.zeros(n_phones, dim))

    @classmethod
    def fit(
        cls, frames: Sequence[np.ndarray], n_phones: int = 100, min_frames: int = 3, seed: int = 0
    ) -> "PseudoPhones":
        """Find the clusters with k-means; of a large corpus every n-th frame is seen.

        Args:
            frames: Frames (T, D) of each utterance.
            n_phones: Clusters.
            min_frames: Shortest run.
            seed: Seed of the k-means.

        Raises:
            UserError: There are fewer frames than clusters.
        """
        from sklearn.cluster import MiniBatchKMeans

        every = -(-sum(map(len, frames)) // MOST_FRAMES)
        seen = np.concatenate([part[::every] for part in frames]).astype(np.float32)
        if len(seen) < n_phones:
            raise UserError(f"pseudo-phones: {len(seen)} frames are too few for {n_phones}")
        kmeans = MiniBatchKMeans(n_phones, batch_size=4096, n_init=3, random_state=seed)
        phones = cls(n_phones, seen.shape[1], min_frames)
        phones.centres.copy_(torch.from_numpy(kmeans.fit(seen).cluster_centers_))
        phones.pretrained = True
        return phones

    @classmethod
    def from_pretrained(cls, folder: Path) -> "PseudoPhones":
        """Load what :meth:`save_pretrained` wrote.

        Raises:
            UserError: The folder doesn't hold it.
        """
        phones = cls(**read_settings(folder / "config.json", cls))
        path = folder / "model.safetensors"
        load_exactly(phones, read_weights(path), path)
        phones.pretrained = True
        return phones

    def save_pretrained(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``, each atomically.

        Raises:
            UserError: The centres were not found in speech.
        """
        if not self.pretrained:
            raise UserError(f"{folder}: not written, these pseudo-phones are empty; fit them first")
        save_weights(self, folder / "model.safetensors")
        write_json(folder / "config.json", {"settings": self.settings})

    def forward(self, frames: np.ndarray) -> list[Segment]:
        """Cut an utterance (T, D) into runs, which cover it without gaps.

        Raises:
            UserError: The frames have another size.
        """
        centres = self.centres.double().numpy()
        if frames.shape[1] != centres.shape[1]:
            raise UserError(
                f"pseudo-phones: were found in frames of size {centres.shape[1]}, these have"
                f" {frames.shape[1]}; use those features, or a new folder"
            )
        x = frames.astype(np.float64)
        # |x|^2 is the same for all centres.
        costs = np.square(centres).sum(1) - 2 * x @ centres.T
        return runs(best_labels(costs, self.min_frames))


def best_labels(costs: np.ndarray, min_frames: int) -> np.ndarray:
    """Labels (T,) of the least total cost whose runs are no shorter than ``min_frames``.

    Short runs thus go where they do the least harm. An utterance that is shorter has one label.

    Source: Kamper and van Niekerk, "Towards unsupervised phone and word segmentation using
    self-supervised vector-quantized neural networks", Interspeech 2021, whose dynamic programming
    has a penalty in place of the shortest run.

    Args:
        costs: Cost of each label at each frame, (T, K).
        min_frames: Shortest run.
    """
    n_frames, n_labels = costs.shape
    shortest = min(min_frames, n_frames)
    total = np.concatenate([np.zeros((1, n_labels)), np.cumsum(costs, axis=0)])
    best = np.full(n_frames + 1, np.inf)  # of the first t frames
    best[0] = 0.0
    last = np.zeros(n_frames + 1, int)  # label of the run that ends there
    begin = np.zeros(n_frames + 1, int)  # where it begins
    running = np.full(n_labels, np.inf)  # of the first t frames if the last run is of each label
    began = np.zeros(n_labels, int)
    for t in range(shortest, n_frames + 1):
        running = running + costs[t - 1]
        anew = best[t - shortest] + total[t] - total[t - shortest]
        began = np.where(anew < running, t - shortest, began)
        running = np.minimum(anew, running)
        last[t] = running.argmin()
        best[t], begin[t] = running[last[t]], began[last[t]]
    labels = np.zeros(n_frames, int)
    end = n_frames
    while end > 0:
        labels[begin[end] : end] = last[end]
        end = int(begin[end])
    return labels


def runs(labels: np.ndarray) -> list[Segment]:
    """Runs of equal labels (T,)."""
    starts = np.flatnonzero(np.diff(labels, prepend=labels[:1] - 1))
    stops = [*starts[1:], len(labels)]
    return [Segment(str(labels[a]), int(a), int(b)) for a, b in zip(starts, stops, strict=True)]


def cepstra(mel: np.ndarray) -> np.ndarray:
    """The first 20 cepstra, or as many as there are bands, of a log-mel (T, M)."""
    return dct(mel, norm="ortho", axis=1)[:, :N_CEPSTRA].astype(np.float32)


def speaker_scale(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, (D,) each, of all frames (T, D) of a speaker."""
    every = np.concatenate(list(frames))
    return every.mean(0), every.std(0).clip(1e-5)


def with_context(frames: np.ndarray) -> np.ndarray:
    """Frames (T, D) with those two before and two after, (T, 3 D); the ends are repeated."""
    padded = np.pad(frames, ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    n_frames = len(frames)
    return np.concatenate([padded[i : i + n_frames] for i in (0, CONTEXT, 2 * CONTEXT)], axis=1)
