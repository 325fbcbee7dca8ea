"""Where somebody speaks, by the WebRTC voice activity detector (needs webrtcvad)."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from emovc.common.errors import UserError

RATE = 16_000
BLOCK = 480  # samples that are judged together, 30 ms
SMOOTHING = 8  # blocks that vote on each
REACH = 3  # blocks kept before and after speech


def shorten_silences(wav: Tensor, counts: list[int]) -> tuple[Tensor, list[int]]:
    """Cut long silences out of waveforms (B, N) at 16 kHz of ``counts`` samples.

    Returns:
        What is left, padded with zeros on the right, and its samples.
    """
    parts = []
    for item, count in zip(wav, counts, strict=True):
        keep = near_speech(item[:count].detach().cpu().numpy())
        parts.append(item[:count][torch.from_numpy(keep).to(wav.device)])
    return pad_sequence(parts, batch_first=True), [len(part) for part in parts]


def near_speech(wav: np.ndarray) -> np.ndarray:
    """True at the samples that stay when long silences are shortened, (N,).

    Blocks of 30 ms are judged by the detector at its strictest; each then follows the majority of
    the 8 around it, and speech is extended by 3 blocks on each side. These are the steps and
    numbers of Resemblyzer's ``preprocess_wav``. Samples after the last whole block go. Where there
    is no speech at all everything stays.

    Args:
        wav: Waveform at 16 kHz, in [-1, 1], (N,).

    Raises:
        UserError: webrtcvad isn't installed.
    """
    try:
        from webrtcvad import Vad  # type: ignore[import-untyped]
    except ImportError:
        raise UserError(
            "voice activity detection needs webrtcvad: install the extra emovc-common[speaker]"
        ) from None
    keep = np.zeros(len(wav), dtype=bool)
    whole = len(wav) // BLOCK * BLOCK
    if whole:
        pcm = np.round(wav[:whole].clip(-1, 1) * 32767).astype("<i2").reshape(-1, BLOCK)
        detector = Vad(3)
        voiced = [detector.is_speech(block.tobytes(), RATE) for block in pcm]
        padded = np.pad(np.array(voiced, dtype=int), ((SMOOTHING - 1) // 2, SMOOTHING // 2))
        speech = np.convolve(padded, np.ones(SMOOTHING, dtype=int), "valid") > SMOOTHING // 2
        near = np.convolve(speech, np.ones(2 * REACH + 1, dtype=int))[REACH:-REACH] > 0
        keep[:whole] = np.repeat(near, BLOCK)
    return keep if keep.any() else ~keep
