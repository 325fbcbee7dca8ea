"""Small networks of AINN, with sounds and batches for them."""

import math
from typing import Any

import torch
from torch import Tensor

from emovc.ainn import AINN, Encoders
from emovc.common.batch import Batch
from emovc.common.emotions import EMOTIONS
from emovc.common.pretrained import build

RATE, N_MELS, CODE_DIM, EMOTION_DIM, SPEAKER_DIM = 22_050, 20, 6, 10, 4
CATEGORIES = ("neutral", "happy", "angry", "sad", "surprise")


def encoders_description(selection: str = "cue") -> dict[str, Any]:
    """What a configuration says of small encoders."""
    content = {"in_dim": N_MELS, "dim": 16, "code_dim": CODE_DIM, "n_blocks": 2}
    emotion = {"n_mels": N_MELS, "dim": 16, "gru_dim": EMOTION_DIM // 2, "n_layers": 2}
    parts: dict[str, Any] = {
        "content": {"class_path": "emovc.ainn.ContentEncoder", "init_args": content},
        "emotion": {"class_path": "emovc.ainn.EmotionEncoder", "init_args": emotion},
        "emotions": list(CATEGORIES), "strength_dim": 8, "selection": selection,
    }  # fmt: skip
    return {"class_path": "emovc.ainn.Encoders", "init_args": parts}


def description(speaker: str | None = "dvector", selection: str = "cue") -> dict[str, Any]:
    """What a configuration says of a small AINN with d-vectors, a table, or no speakers."""
    voices: dict[str | None, Any] = {
        "dvector": {
            "class_path": "emovc.common.speaker.SpeakerEncoder",
            "init_args": {"sample_rate": RATE, "hidden": 8, "dim": SPEAKER_DIM, "layers": 1},
        },
        "table": {
            "class_path": "emovc.common.speaker.SpeakerTable",
            "init_args": {"n_speakers": 2, "dim": SPEAKER_DIM},
        },
        None: None,
    }
    sizes: dict[str, Any] = {
        "code_dim": CODE_DIM, "emotion_dim": EMOTION_DIM, "n_mels": N_MELS, "dim": 12,
        "speaker_dim": SPEAKER_DIM if speaker else 0, "speaker_width": 3, "dilations": [1, 2],
        "postnet_dim": 8,
    }  # fmt: skip
    parts: dict[str, Any] = {
        "encoders": encoders_description(selection),
        "generator": {"class_path": "emovc.ainn.Generator", "init_args": sizes},
        "frontend": {"class_path": "emovc.common.audio.LogMel", "init_args": {"n_mels": N_MELS}},
        "speaker": voices[speaker],
    }
    return {"class_path": "emovc.ainn.AINN", "init_args": parts}


def small_encoders(selection: str = "cue") -> Encoders:
    """Small encoders, the same at every call, in evaluation."""
    torch.manual_seed(0)
    encoders: Encoders = build(encoders_description(selection), "tests")
    return encoders.eval()


def small_ainn(speaker: str | None = "dvector", selection: str = "cue") -> AINN:
    """A small converter, the same at every call, in evaluation."""
    torch.manual_seed(0)
    model: AINN = build(description(speaker, selection), "tests")
    return model.eval()


def sound(seconds: float, pitch: float = 150.0) -> Tensor:
    """A harmonic sound whose level rises and falls, (N,)."""
    time = torch.arange(int(seconds * RATE)) / RATE
    parts = [torch.sin(2 * math.pi * pitch * k * time) / k for k in range(1, 16)]
    swell = 0.2 + 0.8 * torch.sin(math.pi * time / seconds) ** 2
    return 0.1 * swell * torch.stack(parts).sum(0)


def batch_of(emotions: list[str], pitch: float = 150.0, partners: tuple[Batch, ...] = ()) -> Batch:
    """Sounds of 0.3 and 0.35 s, with d-vectors."""
    wavs = [sound(0.3 + 0.05 * (i % 2), pitch + 20 * i) for i in range(len(emotions))]
    vectors = torch.randn(
        len(wavs), SPEAKER_DIM, generator=torch.Generator().manual_seed(int(pitch))
    )
    return Batch(
        ids=[f"{emotion}{i}" for i, emotion in enumerate(emotions)],
        wav=torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True),
        lengths=torch.tensor([len(wav) for wav in wavs]),
        speaker=torch.arange(len(wavs)) % 2,
        emotion=torch.tensor([EMOTIONS.index(emotion) for emotion in emotions]),
        features={"dvector": torch.nn.functional.normalize(vectors, dim=1)},
        partners=partners,
    )


def silenced(batch: Batch) -> Batch:
    """The batch in digital silence."""
    partners = tuple(silenced(partner) for partner in batch.partners)
    return batch._replace(wav=torch.zeros_like(batch.wav), partners=partners)


def mask_of(*frames: int) -> Tensor:
    """1 at the valid frames of utterances of so many, (B, T)."""
    return (torch.arange(max(frames)) < torch.tensor(frames)[:, None]).float()
