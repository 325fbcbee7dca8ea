"""What every judge does before it listens: refuse what nobody can judge, and resample."""

from typing import Any

import numpy as np
from torch import nn

from emovc.common.errors import UserError
from emovc.common.wav import SILENCE, resample

SHORTEST_S = 0.1  # shorter recordings hold no word


def require_speech(wav: np.ndarray, sample_rate: int, shortest_s: float = SHORTEST_S) -> None:
    """Refuse a recording without speech.

    The messages name no numbers of the recording, so that equal reasons can be counted.

    Args:
        wav: Waveform, (N,).
        sample_rate: Rate in Hz.
        shortest_s: Shortest recording that can be judged, in seconds.

    Raises:
        UserError: It holds NaN or infinity, is too short, or is silent.
    """
    if not np.isfinite(wav).all():
        raise UserError("the recording holds NaN or infinite samples; make it again")
    if len(wav) < shortest_s * sample_rate:
        raise UserError(f"the recording is shorter than {shortest_s} s; leave it out")
    if np.abs(wav).max() < SILENCE:
        raise UserError("the recording is silent; make it again")


def hear_at(
    wav: np.ndarray, sample_rate: int, to_rate: int, shortest_s: float = SHORTEST_S
) -> np.ndarray:
    """A recording (N,) at the rate a judge listens at, in Hz, as float32 (N',).

    Raises:
        UserError: It holds no speech, see :func:`require_speech`.
    """
    require_speech(wav, sample_rate, shortest_s)
    return resample(np.asarray(wav, dtype=np.float32), sample_rate, to_rate)


def ready(network: nn.Module, judge: str, device: str) -> nn.Module:
    """A judge's network in evaluation mode on its device.

    Raises:
        UserError: Its weights are random.
    """
    if not getattr(network, "pretrained", False):
        raise UserError(
            f"judge {judge}: the {type(network).__name__} is random; build it with from_pretrained,"
            " or set pretrained = True after loading its weights"
        )
    return network.to(device).eval()


def attribute(network: nn.Module, name: str, judge: str) -> Any:
    """What a judge must know of its network, such as the rate at which it listens.

    Raises:
        UserError: The network doesn't say.
    """
    value = getattr(network, name, None)
    if value is None:
        raise UserError(
            f"judge {judge}: {type(network).__name__} does not say its {name}; "
            "give the class this attribute"
        )
    return value
