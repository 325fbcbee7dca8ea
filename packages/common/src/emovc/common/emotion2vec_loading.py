"""Where the weights of emotion2vec come from: FunASR's folders, the hubs, and our own folders."""

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from torch import Tensor, nn

from emovc.common.checked_values import read_checked
from emovc.common.emotion2vec_layers import KERNELS, STRIDES
from emovc.common.errors import UserError
from emovc.common.files import write_json
from emovc.common.hub import fetch_model
from emovc.common.weights import read_settings, read_weights, save_weights
from emovc.common.yaml_files import read_yaml

LABELS = (  # of the plus models, in this order
    "angry", "disgusted", "fearful", "happy", "neutral", "other", "sad", "surprised", "<unk>",
)  # fmt: skip
UNUSED = "unuse"  # beginning of the label of a class that an early revision left untrained
SIZES = {  # our name: FunASR's
    "dim": "embed_dim",
    "heads": "num_heads",
    "depth": "depth",
    "mlp_ratio": "mlp_ratio",
    "dropout": "encoder_dropout",
    "prenet_depth": "modalities.audio.prenet_depth",
    "extra_tokens": "modalities.audio.num_extra_tokens",
    "pos_width": "modalities.audio.conv_pos_width",
    "pos_depth": "modalities.audio.conv_pos_depth",
    "pos_groups": "modalities.audio.conv_pos_groups",
}
FIXED: dict[str, bool | float | str] = {  # what the network takes for granted
    "layer_norm_first": False,
    "norm_affine": True,
    "norm_eps": 1e-5,
    "normalize": True,
    "modalities.audio.conv_pos_pre_ln": False,
    "modalities.audio.extractor_mode": "layer_norm",
    "modalities.audio.learned_alibi": False,
    "modalities.audio.learned_alibi_scale_per_layer": False,
    "modalities.audio.use_alibi_encoder": True,
}
ALIBI_SCALE = "modality_encoders.AUDIO.alibi_scale"

log = logging.getLogger(__name__)

AGAIN = "download it again"


class Stored(NamedTuple):
    """What a folder holds.

    Attributes:
        settings: Constructor arguments of the network.
        weights: Tensors by name.
        labels: Name of each class of the head, empty where unknown or without a head.
        path: File of the weights.
    """

    settings: dict[str, Any]
    weights: dict[str, Tensor]
    labels: tuple[str, ...]
    path: Path


def find_folder(source: str | Path, offline: bool) -> Path:
    """The local folder of a model, downloaded first if it is a name on a hub.

    Raises:
        UserError: There is no such folder or name, or it can't be downloaded.
    """
    name = str(source)
    if Path(source).is_dir():
        return Path(source)
    if not re.fullmatch(r"(emotion2vec|iic)/[\w.-]+", name):
        raise UserError(
            f"{name}: no such folder; give one that holds config.yaml and model.pt, "
            "or a name such as emotion2vec/emotion2vec_base or iic/emotion2vec_plus_base"
        )
    return fetch_model(
        "modelscope" if name.startswith("iic/") else "huggingface",
        name,
        needed=("config.yaml", "model.pt"),
        optional=("configuration.json", "tokens.txt"),
        offline=offline,
        extra="emotion2vec",
    )


def read_folder(folder: Path, kind: type[nn.Module]) -> Stored:
    """Read a folder of :func:`write_folder` or of FunASR for a network of class ``kind``.

    Raises:
        UserError: Files are missing, damaged, or of another architecture.
    """
    if (folder / "model.safetensors").exists() and (folder / "config.json").exists():
        settings = read_settings(folder / "config.json", kind)
        labels = tuple(read_checked(folder / "config.json", _Labels, AGAIN).get("labels", ()))
        path = folder / "model.safetensors"
        return Stored(settings, read_weights(path), labels, path)
    config_path, weights_path, tokens_path = _funasr_files(folder)
    config = _read_yaml(config_path)
    weights = _plain_names(read_weights(weights_path))
    settings = _settings(config, config_path)
    head = weights.get("proj.weight")
    if head is None:
        return Stored(settings, weights, (), weights_path)
    settings["n_classes"] = len(head)
    return Stored(settings, weights, _labels(config, tokens_path, len(head)), weights_path)


class _Labels(TypedDict, total=False):
    labels: list[str]


class _Tokens(TypedDict, total=False):
    token_list: str


class _Configuration(TypedDict, total=False):
    """FunASR's names of its own files."""

    file_path_metas: "_Names"


class _Names(TypedDict, total=False):
    config: str
    init_param: str
    tokenizer_conf: _Tokens


def write_folder(
    folder: Path, module: nn.Module, settings: dict[str, Any], labels: tuple[str, ...]
) -> None:
    """Write ``model.safetensors`` and ``config.json``, each atomically."""
    save_weights(module, folder / "model.safetensors")
    write_json(folder / "config.json", {"settings": settings, "labels": labels})


def _funasr_files(folder: Path) -> tuple[Path, Path, Path]:
    """Configuration, weights and labels; ``configuration.json`` may rename them."""
    names: dict[str, Any] = {}
    if (folder / "configuration.json").exists():
        found = read_checked(folder / "configuration.json", _Configuration, AGAIN)
        names = found.get("file_path_metas", {})
    tokens = names.get("tokenizer_conf", {}).get("token_list", "tokens.txt")
    config = folder / names.get("config", "config.yaml")
    weights = folder / names.get("init_param", "model.pt")
    for path in (config, weights):
        if not path.exists():
            raise UserError(
                f"{folder}: holds no {path.name}; emotion2vec needs FunASR's config.yaml and "
                "model.pt (tokens.txt too for a head), or emovc's config.json and model.safetensors"
            )
    return config, weights, folder / tokens


def _read_yaml(path: Path) -> dict[str, Any]:
    """FunASR's configuration, whose ``model_conf`` describes the network."""
    config = read_yaml(path)
    if not isinstance(config, dict) or not isinstance(config.get("model_conf"), dict):
        raise UserError(f"{path}: not FunASR's configuration of emotion2vec; download it again")
    return config


def _plain_names(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Weights by official name: out of wrappers, without prefixes and pre-training parts."""
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
    weights = {}
    for name, value in checkpoint.items():
        plain = re.sub(r"^(module\.|d2v_model\.)+", "", name)
        parts = plain.split(".")
        if not isinstance(value, Tensor) or "decoder" in parts or plain.startswith("_ema"):
            continue
        weights[plain] = value
    scale = weights.get(ALIBI_SCALE)
    if scale is not None and scale.dim() == 4:  # early checkpoints lack the axis of layers
        weights[ALIBI_SCALE] = scale[None]
    return weights


def _settings(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Constructor arguments out of FunASR's ``model_conf``."""

    def value_of(key: str) -> Any:
        value: Any = config["model_conf"]
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    for key, wanted in FIXED.items():
        found = value_of(key)
        known = found == wanted if isinstance(wanted, str) else float(found or 0) == wanted
        if not known:
            raise UserError(f"{path}: {key} is {found}, emovc's emotion2vec knows only {wanted}")
    sizes = {name: value_of(key) for name, key in SIZES.items()}
    for name, size in sizes.items():
        if not isinstance(size, int | float):
            raise UserError(f"{path}: {SIZES[name]} is {size}, a number is needed")
    spec = str(value_of("modalities.audio.feature_encoder_spec"))
    found = re.findall(r"\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)\s*\]\s*(?:\*\s*(\d+))?", spec)
    convs = [tuple(map(int, conv[:3])) for conv in found for _ in range(int(conv[3] or 1))]
    channels = convs[0][0] if convs else 0
    if convs != [(channels, *shape) for shape in zip(KERNELS, STRIDES, strict=True)]:
        raise UserError(f"{path}: feature_encoder_spec {spec} isn't emotion2vec's")
    return {**sizes, "conv_channels": channels}


def _labels(config: dict[str, Any], path: Path, n_classes: int) -> tuple[str, ...]:
    """English names of the classes, checked against the order of the plus models."""
    tokens = (config.get("tokenizer_conf") or {}).get("token_list")
    if path.exists():
        tokens = path.read_text(encoding="utf-8").split()
    if not isinstance(tokens, list):
        return ()
    labels = tuple(str(token).split("/")[-1] for token in tokens)
    if len(labels) != n_classes:
        raise UserError(
            f"{path}: {len(labels)} labels for the {n_classes} classes of the weights; "
            "take all files from one revision of the model"
        )
    unused = [label.startswith(UNUSED) for label in labels]
    if n_classes == len(LABELS):
        for i, label in enumerate(labels):
            if not unused[i] and label != LABELS[i]:
                raise UserError(
                    f"{path}: class {i} is {label}, in emotion2vec's order it is {LABELS[i]}; "
                    "take tokens.txt from the revision of the weights"
                )
    if any(unused):
        log.warning(
            "%s is of an early revision: only %d of %d classes are in use; the revision of June "
            "2024 has all", path, n_classes - sum(unused), n_classes,
        )  # fmt: skip
    return labels
