"""Emotion vectors of recordings, by a frozen network that is named in the config."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.features.making import make_feature
from emovc.common.features.store import FeatureStore
from emovc.common.trust import class_of_file

HASH_DIGITS = 12
WHERE = "the model's emotion encoder"


class EmotionHearing(nn.Module):
    """What hears the emotion of an utterance, such as audEERING's network or emotion2vec.

    Training reads its stored vectors, so the network is loaded only when it must hear a reference.
    It is no part of the module tree: neither trained nor saved with the model. What is saved is
    the hash of its weights, by which another network is refused.

    Args:
        feature: Name of the vectors in the feature store.
        dim: Size E of a vector.
        encoder: Class of the feature, as ``emovc represent`` takes it.
        arguments: Arguments of its ``from_pretrained``.
        sample_rate: Rate of the waveforms in Hz.
    """

    def __init__(
        self,
        feature: str = "emotion",
        dim: int = 128,
        encoder: str = "emovc.ser.representations.EmotionFeature",
        arguments: dict[str, Any] | None = None,
        sample_rate: int = 22_050,
    ) -> None:
        super().__init__()
        self.feature = feature
        self.dim = dim
        self.encoder = encoder
        self.arguments = arguments or {}
        self.sample_rate = sample_rate
        self.weights_key: Tensor
        self.register_buffer("weights_key", torch.zeros(HASH_DIGITS))
        self._loaded: list[Any] = []  # a list hides the network from nn.Module

    @property
    def weights(self) -> str | None:
        """Hash of the weights that made the vectors the model learned from."""
        return hash_in(self.weights_key)

    def follow(self, store: FeatureStore) -> None:
        """Remember the network that made the vectors of a store.

        Raises:
            UserError: The store doesn't tell, or its vectors are of another size.
        """
        key = store.settings.get("weights")
        if not key:
            raise UserError(f"{store.folder}: does not tell the weights it was made with")
        some = store.any()
        if some.shape != (1, self.dim):
            raise UserError(
                f"{store.folder}: its vectors are of shape {some.shape}, but the model's"
                f" emotion.dim is {self.dim}; set it, and the net's emotion_dim, to one row's size"
            )
        put_hash(self.weights_key, str(key))

    def load(self) -> None:
        """Load the network, if it isn't yet.

        Raises:
            UserError: It can't be loaded, or is not the one of the training.
        """
        if self._loaded:
            return
        arguments = dict(self.arguments)
        if self.weights is not None and chooses_by_weights(self.encoder):
            arguments.setdefault("weights", self.weights)
        item = {"class_path": self.encoder, "init_args": arguments}
        feature: Any = make_feature(item, self.sample_rate, WHERE)
        found = feature.settings.get("weights")
        if self.weights is not None and found != self.weights:
            raise UserError(
                f"{self.encoder}: has weights {found}, the model was trained on vectors of"
                f" {self.weights}; install or name those in emotion.arguments"
            )
        feature.requires_grad_(False)
        self._loaded = [feature.eval()]

    @torch.no_grad()
    def forward(self, wav: Tensor) -> Tensor:
        """Emotion vector (E,) of a waveform (N,).

        Raises:
            UserError: The network can't be loaded, or gives a vector of another size.
        """
        self.load()
        network = self._loaded[0].to(wav.device)
        vector = network(wav[None], torch.tensor([len(wav)], device=wav.device))[0][0]
        if vector.shape != (self.dim,):
            raise UserError(
                f"{self.encoder}: gives vectors of {len(vector)} values, emotion.dim is {self.dim}"
            )
        return vector.float()


def chooses_by_weights(class_path: str) -> bool:
    """Whether a feature's ``from_pretrained`` finds its weights by their hash.

    Raises:
        UserError: A file may not name this class, or there is no such class.
    """
    kind = class_of_file(class_path, WHERE)
    call = getattr(kind, "from_pretrained", kind)
    return "weights" in inspect.signature(call).parameters


def put_hash(buffer: Tensor, text: str) -> None:
    """Write a hash of 12 hexadecimal digits into a buffer, one float per digit.

    Floats, as the moving average of weights takes buffers along, and digits, as it moves them a
    little by rounding.
    """
    buffer.copy_(torch.tensor([float(int(digit, 16)) for digit in text]))


def hash_in(buffer: Tensor) -> str | None:
    """The hash in a buffer, nothing where none was written."""
    digits = [round(value) for value in buffer.tolist()]
    return "".join(f"{digit:x}" for digit in digits) if any(digits) else None
