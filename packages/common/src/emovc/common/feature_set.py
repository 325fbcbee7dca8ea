"""The stored features of a manifest, as a model asks for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore, open_store
from emovc.common.manifest import Utterance
from emovc.common.speakers_file import NAME, read_speakers
from emovc.common.splits import speaker_material

F0_STATISTICS = "f0_statistics"


@dataclass(frozen=True)
class Features:
    """What a sample carries beside its audio.

    Attributes:
        stores: Every store that was asked for, by name.
        per_frame: Stores of features with one row per mel frame, by name.
        per_utterance: Stores of features with one row per utterance, by name.
        constants: Features fixed in advance, by name and then by utterance id, each (D,).
    """

    stores: dict[str, FeatureStore]
    per_frame: dict[str, FeatureStore]
    per_utterance: dict[str, FeatureStore]
    constants: dict[str, dict[str, Tensor]]


def open_features(
    manifest: Path,
    utterances: Sequence[Utterance],
    names: Sequence[str],
    speaker_means: Sequence[str],
    sample_rate: int,
    hop_length: int,
) -> Features:
    """Open the stores beside a manifest and check that they fit.

    Args:
        manifest: The manifest; its folder holds ``features`` and ``speakers.json``.
        utterances: Utterances that need a value.
        names: Features to open.
        speaker_means: Those that are replaced by their mean per speaker.
        sample_rate: Rate in Hz at which features per frame must have been made.
        hop_length: Samples per frame with which they must have been made.

    Raises:
        UserError: A feature is absent, incomplete, or made with other settings.
    """
    opened = [open_store(manifest.parent / "features", name) for name in names]
    stores = {store.name: store for store in opened}
    for store in opened:
        _check(store, utterances, sample_rate, hop_length)
    per_frame = {n: s for n, s in stores.items() if "hop_length" in s.settings}
    constants = {n: _speaker_mean(stores[n], utterances) for n in speaker_means}
    if "f0" in stores:
        constants[F0_STATISTICS] = _f0_statistics(manifest.parent / NAME, utterances)
    rest = stores.keys() - per_frame.keys() - constants.keys()
    return Features(stores, per_frame, {name: stores[name] for name in rest}, constants)


def _check(
    store: FeatureStore, utterances: Sequence[Utterance], sample_rate: int, hop_length: int
) -> None:
    """Refuse a store that is incomplete or has other frames."""
    store.require(utterances, "run emovc prepare again to complete it")
    made = store.settings.get("sample_rate"), store.settings.get("hop_length")
    if made[1] is not None and made != (sample_rate, hop_length):
        raise UserError(
            f"{store.folder}: was made for {made[0]} Hz and hop {made[1]}, the model's mel has"
            f" {sample_rate} Hz and hop {hop_length}; prepare the corpus with these"
        )


def _speaker_mean(store: FeatureStore, utterances: Sequence[Utterance]) -> dict[str, Tensor]:
    """Unit-length mean of a feature over what describes each speaker, by utterance id."""
    means = {}
    for speaker, rows in speaker_material(utterances).items():
        mean = torch.stack([torch.tensor(store.get(u.sha256)[0]) for u in rows]).mean(0)
        means[speaker] = torch.nn.functional.normalize(mean, dim=0)
    return {u.id: means[u.speaker] for u in utterances}


def _f0_statistics(path: Path, utterances: Sequence[Utterance]) -> dict[str, Tensor]:
    """Mean and standard deviation of ln F0 of each utterance's speaker, (2,)."""
    speakers = read_speakers(path)
    unknown = sorted({u.speaker for u in utterances} - speakers.keys())
    if unknown:
        raise UserError(f"{path}: lacks speaker {unknown[0]}; run emovc prepare again")
    pairs = {k: torch.tensor([v["log_f0_mean"], v["log_f0_std"]]) for k, v in speakers.items()}
    return {u.id: pairs[u.speaker] for u in utterances}
