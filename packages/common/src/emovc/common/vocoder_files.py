"""HiFi-GAN generators on disk: the official folders, and ours, which are the same and more."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.normalisation import WEIGHT_NORM, split_weight_norm
from emovc.common.vocoder_layers import check_architecture
from emovc.common.weights import read_weights

# Keys of the official config.json that are the network's arguments, and what they must be.
NETWORK: dict[str, Any] = {
    "resblock": str,
    "upsample_rates": [int],
    "upsample_kernel_sizes": [int],
    "upsample_initial_channel": int,
    "resblock_kernel_sizes": [int],
    "resblock_dilation_sizes": [[int]],
}
# Those of the mel, and what LogMel calls them.
MEL = {
    "sampling_rate": "sample_rate",
    "n_fft": "n_fft",
    "hop_size": "hop_length",
    "num_mels": "n_mels",
    "fmin": "f_min",
    "fmax": "f_max",
}


class VocoderConfig(NamedTuple):
    """What a ``config.json`` says.

    Attributes:
        settings: Arguments of the network.
        frontend: Its mel.
    """

    settings: dict[str, Any]
    frontend: LogMel


def find_generator(path: Path) -> Path:
    """The file of weights that a path names: itself, or the one in a folder.

    In a folder these are ``model.safetensors``, else the official ``g_<steps>`` (the last of them)
    or ``generator_v<n>``.

    Raises:
        UserError: There is none.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: no such vocoder; name a folder with its weights and config.json")
    if (path / "model.safetensors").is_file():
        return path / "model.safetensors"
    found = sorted(path.glob("generator*")) + sorted(path.glob("g_*"), key=_steps)
    if not found:
        raise UserError(
            f"{path}: holds no vocoder; copy model.safetensors, or the official g_* or"
            " generator_v*, into it, with config.json"
        )
    return found[-1]


def _steps(path: Path) -> tuple[int, str]:
    """Sort key of ``g_<steps>``: 10000 is after 5000, however many zeros stand before."""
    digits = path.name.removeprefix("g_")
    return (int(digits) if digits.isascii() and digits.isdigit() else -1, path.name)


def read_generator(path: Path) -> dict[str, Tensor]:
    """Weights of a generator under the official names, with weight norm.

    Official checkpoints hold them under ``generator``. Folded weights, and those saved with
    PyTorch's newer names, are understood.

    Raises:
        UserError: The file is damaged or of something else.
    """
    state = read_weights(path)
    state = state.get("generator", state)
    own = isinstance(state, dict) and all(isinstance(v, Tensor) for v in state.values())
    if not own or not any(name.startswith("conv_pre.") for name in state):
        raise UserError(
            f"{path}: holds no HiFi-GAN generator (no weights conv_pre); official generators are"
            " called generator_v* or g_*, discriminators do_*"
        )
    for official, new in WEIGHT_NORM.items():
        state = {name.replace(new, official): value for name, value in state.items()}
    return split_weight_norm({name: value.float() for name, value in state.items()})


def read_config(path: Path) -> VocoderConfig:
    """Read the ``config.json`` of a generator.

    Raises:
        UserError: It is absent, lacks a key, or describes a mel that :class:`LogMel` can't make
            or sizes that make no network.
    """
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: is not the config.json of a HiFi-GAN; take the generator's own")
    for key in [*NETWORK, *MEL, "win_size"]:
        if key not in config:
            raise UserError(f"{path}: lacks {key}; take the config.json that came with the weights")
    for key, kind in NETWORK.items():
        if not _is(config[key], kind):
            raise UserError(f"{path}: {key} {config[key]!r} is malformed; take the original file")
    if config["win_size"] != config["n_fft"]:
        raise UserError(
            f"{path}: win_size {config['win_size']} differs from n_fft {config['n_fft']}, which"
            " emovc's mel can't have; use a vocoder for which they are the same"
        )
    settings = {key: config[key] for key in NETWORK}
    try:
        frontend = LogMel(**(config.get("mel") or _official_mel(config)))
        check_architecture(settings, frontend.hop_length)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: its mel is malformed ({error}); take the original file") from None
    return VocoderConfig(settings, frontend)


def make_config(settings: dict[str, Any], frontend: LogMel) -> dict[str, Any]:
    """A ``config.json``: the official keys, and the mel in full under ``mel`` and ``mel_id``."""
    mel = frontend.settings
    return {
        **settings,
        **{official: mel[name] for official, name in MEL.items()},
        "win_size": frontend.n_fft,
        "mel": mel,
        "mel_id": frontend.mel_id,
    }


def _official_mel(config: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the mel of an official config; ``fmax`` null means all up to Nyquist."""
    mel = {name: config[official] for official, name in MEL.items()}
    if mel["f_max"] is None:
        mel["f_max"] = mel["sample_rate"] / 2
    return {**mel, "pad": (mel["n_fft"] - mel["hop_length"]) // 2}


def _is(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type, or a list of such."""
    if isinstance(kind, list):
        return isinstance(value, list) and bool(value) and all(_is(v, kind[0]) for v in value)
    return isinstance(value, kind) and not isinstance(value, bool)
