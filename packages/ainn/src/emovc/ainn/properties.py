"""What a trained AINN is looked at for: its cue, its strengths, what its codes tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.ainn.converter import AINN
from emovc.ainn.cue import calibrate
from emovc.common.audio import frame_levels_db
from emovc.common.convert import read_speech
from emovc.common.manifest import Utterance
from emovc.common.probes import probe_recall
from emovc.common.progress import progress

QUIET_DB = 40.0  # below the loudest frame: silence
SHARES = (0.3, 0.7)  # of the emotional utterance in the mixtures
PAUSE_S = 0.5


@torch.inference_mode()
def look_at(model: AINN, utterances: Sequence[Utterance]) -> dict[str, float]:
    """Properties of a model on utterances that it wasn't trained on.

    Args:
        model: The model, in eval mode.
        utterances: Labelled utterances of the model's categories.

    Returns:
        ``cue_in_silence``: mean cue of silent frames over that of the others, where they have any;
        ``shift_by_pause``: cosine distance by which half a second of silence moves the emotion
        vector, and ``shift_by_pause_pooled`` the plain mean of the frames; ``strength_order``:
        share of parallel pairs whose strengths rise from neutral over two mixtures to emotional;
        ``emotion_in_content``, ``emotion_in_vector``: recall of linear probes.
    """
    rows: dict[str, list[Any]] = {}
    for u in progress(utterances, "listening", len(utterances)):
        speech = read_speech(u.path, model.frontend.sample_rate)
        mel = model.scale(model.frontend(speech.wav[None]))
        for name, value in _single(model, mel, str(u.emotion)).items():
            rows.setdefault(name, []).append(value)
    labels, numbers = np.array([u.emotion for u in utterances]), np.arange(len(utterances))
    order = _orders(model, utterances, rows.pop("mel"))
    found = {n: float(np.nanmean(v)) for n, v in rows.items() if np.ndim(v[0]) == 0}
    return {
        **found,
        "strength_order": float(np.mean(order)) if order else float("nan"),
        "emotion_in_content": probe_recall(np.stack(rows["content"]), labels, numbers),
        "emotion_in_vector": probe_recall(np.stack(rows["vector"]), labels, numbers),
    }


def _single(model: AINN, mel: Tensor, emotion: str) -> dict[str, Any]:
    """What is found in one utterance, a scaled log-mel (1, M, T)."""
    encoders = model.encoders
    category = torch.tensor([encoders.index(emotion)])
    pause = round(PAUSE_S * model.frontend.frame_rate)
    silence = float(model.scale(mel.new_tensor(model.frontend.log_floor)))
    longer = F.pad(mel, (0, pause), value=silence)
    heard = [encoders.hear(m, m.new_ones(1, m.shape[2]), category) for m in (mel, longer)]
    pooled = [calibrate(h.features, torch.ones_like(h.cue)) for h in heard]
    level_db = frame_levels_db(model.unscale(mel), model.frontend.log)[0]
    quiet = level_db < level_db.max() - QUIET_DB
    cue = heard[0].cue[0]
    loud = cue[~quiet].mean()
    ratio = cue[quiet].mean() / loud if quiet.any() and loud > 0 else torch.tensor(np.nan)
    content = encoders.content(mel, mel.new_ones(1, mel.shape[2]))[0]
    return {
        "mel": mel,
        "cue_in_silence": float(ratio),
        "shift_by_pause": _distance(heard[0].vector, heard[1].vector),
        "shift_by_pause_pooled": _distance(pooled[0], pooled[1]),
        "content": torch.cat([content.mean(1), content.std(1)]).numpy(),
        "vector": heard[0].vector[0].numpy(),
    }


def _orders(model: AINN, utterances: Sequence[Utterance], mels: Sequence[Tensor]) -> list[bool]:
    """Whether strengths rise from neutral to emotional, for each parallel pair."""
    neutral = {
        (u.speaker, u.sentence): mel
        for u, mel in zip(utterances, mels, strict=True)
        if u.emotion == "neutral" and u.sentence
    }
    orders = []
    for u, mel in zip(utterances, mels, strict=True):
        calm = neutral.get((u.speaker, u.sentence)) if u.sentence else None
        if u.emotion == "neutral" or calm is None:
            continue
        n = min(mel.shape[2], calm.shape[2])
        mixtures = [torch.lerp(calm[..., :n], mel[..., :n], share) for share in SHARES]
        category = torch.tensor([model.encoders.index(str(u.emotion))])
        strengths = [
            float(model.encoders.hear(m, m.new_ones(1, m.shape[2]), category).strength)
            for m in (calm, *mixtures, mel)
        ]
        orders.append(bool(np.all(np.diff(strengths) > 0)))
    return orders


def _distance(a: Tensor, b: Tensor) -> float:
    """Cosine distance of (1, D) and (1, D)."""
    return float(1 - F.cosine_similarity(a, b))
