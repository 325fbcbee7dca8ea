"""The embedding of audEERING's network in the feature store."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emovc.common.weights import require_pretrained, weights_hash
from emovc.ser.msp_dim import NAME, MspDim


class MspDimFeature(nn.Module):
    """Mean of the last hidden states, (1, 1024) of the public network (CC BY-NC-SA 4.0).

    What EmoConv-Diff's paper takes for the emotion of an utterance.

    Args:
        network: The network, with its weights.
        name: Name in the store.

    Raises:
        UserError: The weights are random.
    """

    def __init__(self, network: MspDim, name: str = "msp_dim") -> None:
        super().__init__()
        require_pretrained(network)
        self.name = name
        self.network = network
        self.settings: dict[str, Any] = {
            "model": "msp-dim",
            "sample_rate": network.sample_rate,
            "weights": weights_hash(network),
        }

    @classmethod
    def from_pretrained(
        cls, sample_rate: int, source: str | Path = NAME, name: str = "msp_dim"
    ) -> "MspDimFeature":
        """From what :meth:`MspDim.from_pretrained` takes.

        Raises:
            UserError: There are no weights.
        """
        return cls(MspDim.from_pretrained(source, sample_rate), name)

    @torch.no_grad()
    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Embeddings of waveforms (B, N), which don't depend on the padding."""
        return list(self.network(wav, lengths).embedding[:, None])
