"""Models whose codes can be looked at."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.conversion import Speech
from emovc.common.convert import read_speech
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance

Network = TypeVar("Network", bound=nn.Module)


class CodeModel(Protocol):
    """A model that shows its codes.

    Attributes:
        frontend: The mel it works in.
    """

    frontend: LogMel

    @property
    def code_hop(self) -> int:
        """Samples per code step; step k begins with sample ``k * code_hop``."""
        ...

    def encode(self, speech: Speech) -> dict[str, Tensor]:
        """Codes by name: per step (N, C), all of the same N, or of the whole utterance (C,)."""
        ...

    def decode_codes(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Log-mel (M, T) of codes as :meth:`encode` gives them, also of several utterances."""
        ...


def untrained(model: Network) -> Network:
    """The same architecture with fresh weights.

    What training doesn't learn, modules with the attribute ``pretrained``, stays as it is. Weights
    that no ``reset_parameters`` makes anew are put in random order, which keeps their sizes.
    """
    fresh = copy.deepcopy(model)
    kept = {m for top in fresh.modules() if hasattr(top, "pretrained") for m in top.modules()}
    before = {name: weight.detach().clone() for name, weight in fresh.named_parameters()}
    loose = {w for m in fresh.modules() if m not in kept for w in m.parameters(recurse=False)}

    def reset(module: nn.Module) -> None:
        again = getattr(module, "reset_parameters", None)
        if module not in kept and callable(again):
            again()

    fresh.apply(reset)
    for name, weight in fresh.named_parameters():
        if weight in loose and torch.equal(weight, before[name]):
            mixed = weight.detach().flatten()[torch.randperm(weight.numel())]
            weight.data.copy_(mixed.view_as(weight))
    return fresh


def speech_of(utterance: Utterance, rate: int, speakers: Mapping[str, Any]) -> Speech:
    """An utterance with all that the corpus knows of it.

    Args:
        utterance: Row of the manifest.
        rate: Rate in Hz.
        speakers: F0 statistics by speaker, as in ``speakers.json``.
    """
    known = speakers.get(utterance.speaker)
    log_f0 = (known["log_f0_mean"], known["log_f0_std"]) if known else None
    speech = read_speech(utterance.path, rate, speaker=utterance.speaker)
    return replace(speech, text=utterance.text, log_f0=log_f0)


def check_codes(codes: Mapping[str, np.ndarray], where: str) -> int | None:
    """Number of code steps; ``None`` where all codes are of whole utterances.

    Raises:
        UserError: A code holds NaN, is of a wrong shape, or is called like the spectrogram.
    """
    for name, code in codes.items():
        if not np.isfinite(code).all():
            raise UserError(
                f"code {name!r} of {where} holds NaN; the model diverged, use an earlier checkpoint"
            )
        if code.ndim not in (1, 2) or name == "spectrogram":
            raise UserError(
                f"code {name!r} of {where} has shape {code.shape}; encode must give (steps,"
                " values) or (values,), under other names than spectrogram"
            )
    lengths = {len(code) for code in codes.values() if code.ndim == 2}
    if len(lengths) > 1:
        raise UserError(f"codes of {where} have {sorted(lengths)} steps; give all the same")
    return lengths.pop() if lengths else None
