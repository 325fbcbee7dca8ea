"""The codes of a whole corpus part, beside what they are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from emovc.common.audio import LogMel
from emovc.common.codes import CodeModel, check_codes, speech_of
from emovc.common.conversion import Speech
from emovc.common.errors import UserError
from emovc.common.f0 import Dio
from emovc.common.manifest import Utterance
from emovc.common.phones import Phone, find_phones
from emovc.common.progress import progress

SILENT = "_"  # name of what is no phone


@dataclass(frozen=True)
class CodeTable:
    """Codes of U utterances and N code steps, and what they are compared with.

    Attributes:
        steps: Codes per step by name, (N, C); ``spectrogram`` is the step's mean log-mel.
        held: Codes per utterance by name, (U, C).
        utterance: Number of each step's utterance, (N,).
        log_f0: Mean ln F0 of each step's voiced frames, NaN where it has none, (N,).
        energy_db: Mean level of each step's mel in dB, (N,).
        phone: Phone in the middle of each step, ``None`` where it isn't known, (N,).
        rows: The utterances.
    """

    steps: dict[str, np.ndarray]
    held: dict[str, np.ndarray]
    utterance: np.ndarray
    log_f0: np.ndarray
    energy_db: np.ndarray
    phone: np.ndarray
    rows: list[Utterance]

    @property
    def names(self) -> list[str]:
        """All codes, the spectrogram first."""
        return [*self.steps, *self.held]

    def per_step(self, name: str) -> np.ndarray:
        """A code at each step, (N, C); those of utterances are held."""
        return self.steps[name] if name in self.steps else self.held[name][self.utterance]

    def per_utterance(self, name: str) -> np.ndarray:
        """A code of each utterance, (U, C): of codes per step their means and deviations."""
        if name in self.held:
            return self.held[name]
        own = [self.steps[name][self.utterance == i] for i in range(len(self.rows))]
        return np.stack([np.concatenate([x.mean(0), x.std(0)]) for x in own])


@torch.inference_mode()
def collect_codes(
    model: CodeModel, utterances: Sequence[Utterance], speakers: Mapping[str, Any]
) -> CodeTable:
    """Encode whole utterances; those shorter than a code step are left out.

    Args:
        model: A model in eval mode.
        utterances: What to encode.
        speakers: F0 statistics by speaker.

    Raises:
        UserError: A code holds NaN or is of a wrong shape, or there is no utterance left.
    """
    rows: list[Utterance] = []
    columns: dict[str, list[np.ndarray]] = {}
    steps: dict[str, list[np.ndarray]] = {}
    held: dict[str, list[np.ndarray]] = {}
    for utterance in progress(utterances, "encoding", len(utterances)):
        speech = speech_of(utterance, model.frontend.sample_rate, speakers)
        codes, n_steps = _encode(model, speech, utterance)
        if n_steps == 0:
            continue
        mel, known = _known(model, speech.wav.cpu().numpy(), utterance, n_steps)
        known["utterance"] = np.full(len(mel), len(rows))
        for name, value in known.items():
            columns.setdefault(name, []).append(value)
        for name, code in {"spectrogram": mel, **codes}.items():
            if code.ndim == 2:
                steps.setdefault(name, []).append(code[: len(mel)])
            else:
                held.setdefault(name, []).append(code)
        rows.append(utterance)
    if not rows:
        raise UserError("no utterance is as long as a code step; give longer recordings")
    return CodeTable(
        steps={name: np.concatenate(parts) for name, parts in steps.items()},
        held={name: np.stack(parts) for name, parts in held.items()},
        **{name: np.concatenate(parts) for name, parts in columns.items()},
        rows=rows,
    )


@torch.inference_mode()
def encode_again(model: CodeModel, table: CodeTable, speakers: Mapping[str, Any]) -> CodeTable:
    """The table of another model of the same code steps; what isn't a code is taken over.

    Args:
        model: A model in eval mode.
        table: Table of the first model.
        speakers: F0 statistics by speaker.

    Raises:
        UserError: A code holds NaN.
    """
    counts = np.bincount(table.utterance)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in table.names[1:]}
    for utterance, n in zip(progress(table.rows, "encoding", len(counts)), counts, strict=True):
        speech = speech_of(utterance, model.frontend.sample_rate, speakers)
        codes, _ = _encode(model, speech, utterance)
        for name, parts in columns.items():
            parts.append(codes[name][:n] if name in table.steps else codes[name])
    steps = {n: np.concatenate(columns[n]) for n in table.steps if n in columns}
    held = {n: np.stack(columns[n]) for n in table.held}
    return replace(table, steps={"spectrogram": table.steps["spectrogram"], **steps}, held=held)


def level_db(mel: np.ndarray, frontend: LogMel) -> np.ndarray:
    """Level of each frame in dB, (T,), of a log-mel (M, T)."""
    bands = np.exp(mel) if frontend.log == "ln" else 10.0**mel
    return 10 * np.log10(np.square(bands, dtype=np.float64).sum(0))


def f0_of(wav: np.ndarray, frontend: LogMel, n_frames: int) -> np.ndarray:
    """F0 in Hz of each mel frame, 0 = unvoiced, (T,), of a waveform (N,)."""
    return Dio(frontend.sample_rate, frontend.hop_length, frontend.frame_centre)(wav, n_frames)


def _encode(
    model: CodeModel, speech: Speech, utterance: Utterance
) -> tuple[dict[str, np.ndarray], int | None]:
    """Checked codes of an utterance, and their number of steps if any are per step."""
    codes = {name: code.cpu().numpy() for name, code in model.encode(speech).items()}
    return codes, check_codes(codes, utterance.id)


def _known(
    model: CodeModel, wav: np.ndarray, utterance: Utterance, n_steps: int | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Mean mel (N, M) of each code step of a recording, and what else is known of it."""
    frontend, hop = model.frontend, model.frontend.hop_length
    mel = frontend(torch.from_numpy(wav)[None])[0].cpu().numpy()
    total = -(-mel.shape[1] * hop // model.code_hop)
    steps = np.arange(total if n_steps is None else min(n_steps, total))
    starts = np.minimum(-(-steps * model.code_hop // hop), mel.shape[1] - 1)
    stops = np.maximum(-(-(steps + 1) * model.code_hop // hop), starts + 1)
    spans = [slice(a, b) for a, b in zip(starts, stops, strict=True)]
    f0_hz = f0_of(wav, frontend, mel.shape[1])
    voiced = [f0_hz[span][f0_hz[span] > 0] for span in spans]
    level = level_db(mel, frontend)
    middles = (steps + 0.5) * model.code_hop / frontend.sample_rate
    return np.stack([mel[:, span].mean(1) for span in spans]), {
        "log_f0": np.array([np.log(v).mean() if len(v) else np.nan for v in voiced]),
        "energy_db": np.array([level[span].mean() for span in spans]),
        "phone": _phones_at(read_phones(utterance), middles),
    }


def _phones_at(phones: Sequence[Phone], seconds: np.ndarray) -> np.ndarray:
    """Name of the phone at each time, ``None`` where there is none, (N,)."""
    names: list[str | None] = [None] * len(seconds)
    for name, start_s, end_s in phones:
        for k in np.flatnonzero((seconds >= start_s) & (seconds < end_s)):
            names[k] = name
    return np.array(names, dtype=object)


def read_phones(utterance: Utterance) -> list[Phone]:
    """Phones of an utterance, where a file beside the recording's folder tells them.

    Known are the toy corpus' ``annotations`` and EMO-DB's ``lablaut``, without stress, releases and
    marks of articulation. Copies of the audio have no such files beside them.
    """
    toy = find_phones(utterance, "toy")
    if toy is not None:
        return [p._replace(label=p.label.strip("ˈˌ")) for p in toy]
    hand = find_phones(utterance, "emodb") or []
    return [p._replace(label=_plain(p.label)) for p in hand]


def _plain(label: str) -> str:
    """Symbol of a hand label without release or aspiration; ends, pauses, closures are silent."""
    return SILENT if label.startswith((".", "(", SILENT)) else label.strip("!)").removesuffix("asp")
