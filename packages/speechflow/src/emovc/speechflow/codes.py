"""SpeechFlow's codes, one utterance at a time: see ``emovc.common.codes.CodeModel``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from emovc.common.batch import Batch
from emovc.common.conversion import Speech
from emovc.common.emotions import UNLABELLED
from emovc.common.f0 import log_f0_statistics
from emovc.common.feature_set import F0_STATISTICS
from emovc.speechflow.model import Codes
from emovc.speechflow.pitch import f0_input

if TYPE_CHECKING:
    from emovc.speechflow.converter import SpeechFlow

TIMBRE = "timbre"


def encode_speech(model: "SpeechFlow", speech: Speech, voice: Tensor) -> dict[str, Tensor]:
    """Codes of all whole steps of an utterance.

    Args:
        model: The model.
        speech: The utterance; its F0 is normalised by the speaker's statistics where it tells them,
            else by its own.
        voice: Its speaker vector, (1, D).

    Returns:
        ``content``, ``rhythm`` and ``pitch`` per step, (N, C), and ``timbre``, (D,).
    """
    wav, lengths = speech.wav[None], torch.tensor([len(speech.wav)], device=speech.wav.device)
    f0_hz = model.f0(speech.wav.cpu().numpy(), int(model.frontend.frames(lengths)))
    statistics = wav.new_tensor([speech.log_f0 or log_f0_statistics(f0_hz)])
    nobody = torch.zeros_like(lengths)  # of a table, whose vector isn't used here
    features = {"f0": torch.from_numpy(f0_hz)[None].to(wav), F0_STATISTICS: statistics}
    features["dvector"] = voice
    emotion = torch.full_like(lengths, UNLABELLED)
    inputs = model.inputs(Batch(["speech"], wav, lengths, nobody, emotion, features))
    f0 = f0_input(inputs.f0, model.net.n_f0_bins)
    codes = model.net.encode(inputs.mel, f0, inputs.mel, inputs.mask)
    whole = int(inputs.frames) // model.net.factor
    return {**{name: c[0, :whole] for name, c in codes._asdict().items()}, TIMBRE: voice[0]}


def decode_codes(model: "SpeechFlow", codes: Mapping[str, Tensor]) -> Tensor:
    """Log-mel (M, T) of codes, which may be of several utterances but must be equally long."""
    parts = Codes(*(codes[name][None] for name in Codes._fields))
    return model.unscale(model.net.decode(parts, codes[TIMBRE][None])[0])
