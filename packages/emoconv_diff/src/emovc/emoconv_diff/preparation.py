"""What the decoder's training needs before its first step: labels, vectors, the average voice."""

from pathlib import Path
from typing import Any, TypedDict

from emovc.common.audio import require_same_mel
from emovc.common.checked_values import read_checked
from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore
from emovc.common.weights import load_exactly
from emovc.emoconv_diff.converter import EmoConvDiff
from emovc.emoconv_diff.encoder import AverageVoiceEncoder


def emotion_store(data: Any, feature: str) -> FeatureStore:
    """The store of emotion vectors.

    Raises:
        UserError: The data doesn't carry what the model reads.
    """
    found: dict[str, FeatureStore] = data.stores
    for name in ("dvector", feature):
        if name not in found:
            raise UserError(
                f"data.features: lacks {name}; list it, and extract it with emovc represent"
                f" {data.manifest} configs/data/representations.yaml"
            )
    return found[feature]


class _Source(TypedDict):
    labels: str
    weights: str


def label_source(manifest: Path) -> dict[str, Any] | None:
    """What ``emovc label-arousal`` wrote of the labels of a manifest, nothing for real ones."""
    path = manifest.with_suffix(".arousal.json")
    if not path.exists():
        return None
    found: dict[str, Any] = read_checked(path, _Source, "label the manifest anew")
    return found


def load_average_voice(model: EmoConvDiff, source: str | None) -> None:
    """Take over a trained average-voice encoder.

    Args:
        model: The model to load.
        source: Run, checkpoint, or exported folder.

    Raises:
        UserError: There is none, or it is of another mel or size.
    """
    remedy = "train one with emovc fit -c configs/average_voice_cpu.yaml"
    if source is None:
        raise UserError(f"model.average_voice: is not set; {remedy} and name its run")
    try:
        encoder = AverageVoiceEncoder.from_pretrained(source)
    except UserError as error:
        raise UserError(f"model.average_voice: {error}; {remedy}") from None
    require_same_mel(model.frontend, encoder.frontend.settings, f"{source}: the encoder")
    wrong = [k for k, v in encoder.settings.items() if model.encoder.settings[k] != v]
    if wrong:
        raise UserError(
            f"{source}: its encoder has {wrong[0]} {encoder.settings[wrong[0]]}, the config has"
            f" {model.encoder.settings[wrong[0]]}; set model.encoder alike"
        )
    load_exactly(model.encoder, encoder.state_dict(), Path(source))
    model.encoder.pretrained = True
