"""Normalised weights of convolutions, under the names they have in official checkpoints."""

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

Conv = TypeVar("Conv", nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d)

# PyTorch's current parametrisations compute what the deprecated functions of the official code did
# and call the parameters otherwise.
WEIGHT_NORM = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
SPECTRAL_NORM = {
    "weight_orig": "parametrizations.weight.original",
    "weight_u": "parametrizations.weight.0._u",
    "weight_v": "parametrizations.weight.0._v",
}


def weight_norm(conv: Conv) -> Conv:
    """Learn length and direction of each filter apart (Salimans and Kingma, 2016).

    The state dict has ``weight_g`` and ``weight_v`` in place of ``weight``.
    """
    parametrizations.weight_norm(conv)
    return _renamed(conv, WEIGHT_NORM)


def spectral_norm(conv: Conv) -> Conv:
    """Divide the weight by its largest singular value (Miyato et al., 2018).

    The state dict has ``weight_orig``, ``weight_u`` and ``weight_v`` in place of ``weight``.
    """
    parametrizations.spectral_norm(conv)
    return _renamed(conv, SPECTRAL_NORM)


@torch.inference_mode(False)
def fold(modules: Iterable[nn.Module]) -> None:
    """Replace normalised weights by plain ones of the same value; plain ones stay as they are."""
    for module in modules:
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def split_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give folded convolutions of a state dict their ``weight_g`` and ``weight_v`` back."""
    split = {}
    for name, value in state.items():
        if name.endswith(".weight"):
            split[f"{name}_g"] = torch.norm_except_dim(value, 2, 0)
            split[f"{name}_v"] = value
        else:
            split[name] = value
    return split


def _renamed(conv: Conv, names: dict[str, str]) -> Conv:
    """Let a module's state dict use other names for parameters."""

    def save(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        for name, own in names.items():
            if prefix + own in state:
                state[prefix + name] = state.pop(prefix + own)

    def load(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        for name, own in names.items():
            if prefix + name in state:
                state[prefix + own] = state.pop(prefix + name)

    conv.register_state_dict_post_hook(save)
    conv.register_load_state_dict_pre_hook(load)
    return conv
