"""``emovc represent``: fill the feature store with representations for recognisers of emotions."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from emovc.common.errors import UserError
from emovc.common.features.extraction import extract
from emovc.common.features.making import Feature, make_feature
from emovc.common.features.store import missing, store_folder
from emovc.common.manifest import read_manifest
from emovc.common.parsing import run_function
from emovc.common.unchanged import require_unchanged
from emovc.common.yaml_files import read_yaml


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
    require_unchanged(utterances, manifest)
    items = read_list(features)
    made = [make_feature(item, sample_rate, str(features), ours=False) for item in items]
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
    if not path.exists():
        raise UserError(f"{path}: no such file; configs/data/representations.yaml is one")
    items = read_yaml(path)
    if not isinstance(items, list) or not all(_describes(item) for item in items) or not items:
        raise UserError(
            f"{path}: must be a list of class_path and init_args, as in"
            " configs/data/representations.yaml"
        )
    return items


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
