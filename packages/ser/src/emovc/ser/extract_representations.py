"""``emovc represent``: fill the feature store with representations for recognisers of emotions."""

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from emovc.common.errors import UserError
from emovc.common.features.extraction import extract
from emovc.common.features.extractors import NetworkFeature, SignalFeature
from emovc.common.features.store import missing, store_folder
from emovc.common.manifest import read_manifest
from emovc.common.parsing import run_function
from emovc.common.pretrained import build

Feature = NetworkFeature | SignalFeature


def represent(
    manifest: Path,
    features: Path,
    sample_rate: int = 22_050,
    batch_size: int = 16,
    num_workers: int = 0,
    accelerator: str = "auto",
) -> None:
    """Extract representations of all utterances of a manifest to ``features`` beside it.

    What is there already is not extracted again, so a run that was stopped goes on.

    Args:
        manifest: Manifest.
        features: YAML list of what to extract: ``class_path`` and ``init_args`` of each, the
            arguments of the class' ``from_pretrained`` or, where it has none, of its constructor.
            ``sample_rate`` is filled in where it is not given.
        sample_rate: Rate in Hz at which the features hear the audio.
        batch_size: Utterances per batch.
        num_workers: Processes that read audio; 0 reads it between the batches.
        accelerator: Lightning's accelerator.
    """
    utterances = read_manifest(manifest)
    made = [make_feature(item, sample_rate, str(features)) for item in read_list(features)]
    _require_names(made, features)
    root = manifest.parent / "features"
    hashes = {u.sha256 for u in utterances}
    lacking = {f.name: len(missing(root, f.name, f.settings, hashes)) for f in made}
    networks: list[Any] = [f for f in made if isinstance(f, nn.Module)]
    signals: list[Any] = [f for f in made if not isinstance(f, nn.Module)]
    extract(
        utterances,
        root,
        sample_rate,
        signals,
        networks,
        min(num_workers, os.cpu_count() or 1),
        batch_size,
        accelerator,
    )
    for feature in made:
        folder = store_folder(root, feature.name, feature.settings)
        sys.stdout.write(f"{feature.name}: {lacking[feature.name]} extracted to {folder}\n")


def read_list(path: Path) -> list[dict[str, Any]]:
    """The descriptions in a YAML file.

    Raises:
        UserError: The file is absent or is no such list.
    """
    try:
        items = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{path}: no such file; configs/data/representations.yaml is one") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(items, list) or not all(_describes(item) for item in items) or not items:
        raise UserError(
            f"{path}: must be a list of class_path and init_args, as in"
            " configs/data/representations.yaml"
        )
    return items


def make_feature(item: dict[str, Any], sample_rate: int, where: str) -> Feature:
    """Load or build the feature that a ``class_path`` and its ``init_args`` describe.

    Args:
        item: The description.
        sample_rate: Rate in Hz that it hears, unless the description says otherwise.
        where: File it stands in, for messages.

    Raises:
        UserError: There is no such class or argument, or it can't be loaded.
    """
    path = str(item["class_path"])
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise UserError(f"{where}: there is no class {path}; correct class_path") from None
    call = getattr(kind, "from_pretrained", kind)
    parameters = inspect.signature(call).parameters
    arguments = build(item.get("init_args") or {}, where)
    if "sample_rate" in parameters:
        arguments.setdefault("sample_rate", sample_rate)
    unknown = sorted(arguments.keys() - parameters.keys())
    if unknown:
        raise UserError(
            f"{where}: {path} has no setting {unknown[0]!r}; it has {', '.join(parameters)}"
        )
    needed = [n for n, p in parameters.items() if p.default is p.empty and n not in arguments]
    if needed:
        raise UserError(f"{where}: {path} needs {needed[0]}; add it to its init_args")
    feature = call(**arguments)
    hears = feature.settings.get("sample_rate", sample_rate)
    if hears != sample_rate:
        raise UserError(
            f"{where}: {path} hears {hears} Hz, but the audio is read at {sample_rate} Hz; set its"
            " rate, or --sample_rate"
        )
    return feature


def _describes(item: Any) -> bool:
    """Whether a YAML value is a description."""
    if not isinstance(item, dict) or item.keys() - {"init_args"} != {"class_path"}:
        return False
    return isinstance(item.get("init_args") or {}, dict)


def _require_names(features: Sequence[Feature], where: Path) -> None:
    """Refuse two features of one name, which a batch couldn't hold."""
    names = [f.name for f in features]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UserError(f"{where}: two features are called {twice[0]}; give one another name")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc represent``."""
    run_function(represent, args, command)
