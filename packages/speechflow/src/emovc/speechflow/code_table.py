"""The codes of a whole corpus part, one row per code step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emovc.common.batch import Batch
from emovc.common.data import SpeechDataModule
from emovc.speechflow.converter import SpeechFlow
from emovc.speechflow.cycle import code_mask
from emovc.speechflow.losses import masked_mse


@dataclass(frozen=True)
class CodeTable:
    """Codes and what they are compared with; N code steps, all padding left out.

    Attributes:
        values: ``spectrogram`` (mean of the mel frames of a step), ``content``, ``rhythm`` and
            ``pitch``, each (N, C).
        energy_db: Mean energy of each step in dB, (N,).
        log_f0: Mean ln F0 of each step's voiced frames, NaN where it has none, (N,).
        utterance: Number of the utterance, (N,).
        emotion: Emotion of each utterance, (U,).
        speaker: Speaker of each utterance, (U,).
        mel_mse: Reconstruction error per cell of the scaled mel.
    """

    values: dict[str, np.ndarray]
    energy_db: np.ndarray
    log_f0: np.ndarray
    utterance: np.ndarray
    emotion: np.ndarray
    speaker: np.ndarray
    mel_mse: float

    @property
    def voiced(self) -> np.ndarray:
        """Whether a step has voiced frames, (N,)."""
        return np.isfinite(self.log_f0)


@torch.inference_mode()
def collect_codes(model: SpeechFlow, data: SpeechDataModule, splits: list[str]) -> CodeTable:
    """Encode whole utterances without resampling.

    Args:
        model: A model in eval mode.
        data: Data module, set up, with the features ``f0``, ``dvector`` and ``energy``.
        splits: Parts of the manifest.
    """
    columns: dict[str, list[np.ndarray]] = {}
    emotion: list[int] = []
    speaker: list[str] = []
    error = frames = 0.0
    names = {u.id: u.speaker for u in data.utterances}
    for split in splits:
        for batch in data.evaluation_loader(split):
            rows, squared, count = _encode(model, batch, len(emotion))
            for name, value in rows.items():
                columns.setdefault(name, []).append(value)
            emotion += batch.emotion.tolist()
            speaker += [names[i] for i in batch.ids]
            error, frames = error + squared, frames + count
    table: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    kinds = ("spectrogram", "content", "rhythm", "pitch")
    return CodeTable(
        values={kind: table[kind] for kind in kinds},
        energy_db=table["energy"],
        log_f0=table["log_f0"],
        utterance=table["utterance"],
        emotion=np.array(emotion),
        speaker=np.array(speaker),
        mel_mse=error / frames,
    )


def _encode(
    model: SpeechFlow, batch: Batch, first: int
) -> tuple[dict[str, np.ndarray], float, float]:
    """Rows of one batch, its summed squared error and its frames."""
    inputs = model.inputs(batch)
    codes, pred = model.reconstruct(inputs)
    count = float(inputs.mask.sum())
    mse = float(masked_mse(pred, inputs.mel, inputs.mask))
    n = codes.content.shape[1]
    valid = code_mask(inputs.mask, codes).bool()
    pad = inputs.mel.shape[2] - batch.features["energy"].shape[1]
    energy = torch.nn.functional.pad(batch.features["energy"], (0, max(pad, 0)))
    f0_hz = torch.nn.functional.pad(batch.features["f0"], (0, max(pad, 0)))
    total = n * model.net.factor
    energy, f0_hz = (x[:, :total].unflatten(1, (n, -1)) for x in (energy, f0_hz))
    log_f0 = torch.where(f0_hz > 0, f0_hz.clamp(min=1).log(), 0).sum(-1) / (f0_hz > 0).sum(-1)
    utterance = torch.arange(first, first + len(valid))[:, None].expand(-1, n)
    rows = {
        "spectrogram": inputs.mel.unflatten(2, (n, -1)).mean(-1).transpose(1, 2)[valid],
        **{name: code[valid] for name, code in codes._asdict().items()},
        "energy": energy.mean(-1)[valid],
        "log_f0": log_f0[valid],
        "utterance": utterance[valid],
    }
    return {name: value.numpy() for name, value in rows.items()}, mse * count, count
