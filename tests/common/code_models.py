"""A synthetic corpus, and a model whose codes are exactly known."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.conversion import Speech
from emovc.common.f0 import Dio
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.wav import write_wav

RATE, HOP = 22_050, 256
STEP = 8  # frames per code step and per phone
PHONES = {"a": 900.0, "i": 2400.0, "u": 5000.0}  # Hz, where each is loud


def voice(f0_hz: np.ndarray, phones: list[str]) -> np.ndarray:
    """Harmonics of an F0 contour (T,), loud around each phone's frequency; (T * hop,)."""
    f0 = np.interp(np.arange(len(f0_hz) * HOP), np.arange(len(f0_hz)) * HOP + HOP // 2, f0_hz)
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    centre = np.repeat([PHONES[p] for p in phones], STEP * HOP)[: len(f0)]
    wav = np.zeros(len(f0))
    for k in range(1, 40):
        gain = 0.25 + np.exp(-np.square((k * f0 - centre) / 600))
        wav += np.where(k * f0 < 8000, gain / math.sqrt(k), 0) * np.sin(k * phase)
    return (0.05 * wav).astype(np.float32)


def make_corpus(folder: Path, n_steps: int = 14) -> Path:
    """Manifest of 3 speakers x 2 emotions x 4 sentences; F0 has nothing to do with any of them.

    The sentence decides the phones, and ``annotations`` tells them as the toy corpus does.
    """
    rng = np.random.default_rng(0)
    said = {f"s{i}": [str(p) for p in rng.choice(list(PHONES), n_steps)] for i in range(4)}
    rows = []
    for speaker in ("ann", "bob", "eve"):
        for emotion in ("neutral", "angry"):
            for sentence, phones in said.items():
                name = f"{speaker}_{emotion}_{sentence}"
                knots = rng.uniform(math.log(110), math.log(280), n_steps // 2 + 1)
                times = np.linspace(0, n_steps * STEP - 1, len(knots))
                contour = np.exp(np.interp(np.arange(n_steps * STEP), times, knots))
                path = folder / "audio" / f"{name}.wav"
                write_wav(path, voice(contour, phones), RATE)
                _annotate(folder / "annotations" / f"{name}.json", phones)
                rows.append(
                    Utterance(
                        name, path, sha256_of(path), RATE, n_steps * STEP * HOP, speaker, "tones",
                        emotion=emotion, sentence=sentence, split="test",
                    )
                )  # fmt: skip
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


def _annotate(path: Path, phones: list[str]) -> None:
    seconds = STEP * HOP / RATE
    marks = [
        {"name": p, "start_s": i * seconds, "end_s": (i + 1) * seconds}
        for i, p in enumerate(phones)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"phones": marks}))


@dataclass
class KnownCodes:
    """A model with a code that is ln F0, one that is the phone, and one that is nothing."""

    frontend: LogMel

    @property
    def code_hop(self) -> int:
        """Samples per code step."""
        return STEP * HOP

    def encode(self, speech: Speech) -> dict[str, Tensor]:
        """Measure F0 by the tracker, and find the phone by its loud band."""
        mel = self.frontend(speech.wav[None])[0]
        n = mel.shape[1] // STEP
        f0 = Dio(RATE, HOP, self.frontend.frame_centre)(speech.wav.numpy(), n * STEP)
        steps = [f[f > 0] for f in f0.reshape(n, STEP)]
        pitch = [float(np.log(f).mean()) if len(f) else 5.2 for f in steps]
        hz = torch.linspace(0, RATE / 2, self.frontend.filters.shape[1])
        bands = self.frontend.filters @ hz / self.frontend.filters.sum(1)
        power = mel[:, : n * STEP].exp().square().unflatten(1, (n, STEP)).sum(-1)
        near = [power[(bands - f).abs() < 600].sum(0) / (f / 900) ** -1 for f in PHONES.values()]
        phone = torch.nn.functional.one_hot(torch.stack(near).argmax(0), len(PHONES)).float()
        return {"pitch": torch.tensor(pitch)[:, None], "phone": phone, "fixed": torch.ones(n, 2)}

    def decode_codes(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Say the codes again."""
        middles = (np.arange(len(codes["pitch"])) + 0.5) * STEP - 0.5
        frames = np.arange(len(middles) * STEP)
        contour = np.exp(np.interp(frames, middles, codes["pitch"][:, 0].numpy()))
        phones = [list(PHONES)[i] for i in codes["phone"].argmax(1)]
        return self.frontend(torch.from_numpy(voice(contour, phones))[None])[0]
