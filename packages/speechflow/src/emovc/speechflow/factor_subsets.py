"""Decoding with some of the three factors switched off.

Source: the authors' script (FantSun/Speechflow) sets the input of a factor's encoder to zero. Its
code then still isn't zero, but it is the same for every utterance: it depends on the weights alone.
"""

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor

from emovc.speechflow.model import Codes, SpeechFlowNet

Off = Literal["input", "code", "mean"]
FACTORS = Codes._fields


def off_codes(net: SpeechFlowNet, codes: Codes, off: Off = "input") -> Codes:
    """What stands for the codes of factors that are off, whatever the utterance.

    Args:
        net: The autoencoder, in eval mode.
        codes: Codes of a corpus, (B, N, C) each; they give the number of steps and the means.
        off: ``input`` encodes an input of zeros (for pitch all bins are zero, the unvoiced one
            too), ``code`` is zero itself, ``mean`` is the mean over utterances and steps.

    Returns:
        Codes, (1, N, C) each.
    """
    if off == "code":
        return Codes(*(torch.zeros_like(code[:1]) for code in codes))
    if off == "mean":
        means = (code.mean((0, 1), keepdim=True) for code in codes)
        return Codes(*(m.expand(1, codes.content.shape[1], -1) for m in means))
    n_mels = net.decoder.out.out_features
    mel = codes.content.new_zeros(1, n_mels, codes.content.shape[1] * net.factor)
    f0 = mel.new_zeros(1, net.n_f0_bins, mel.shape[2])
    return net.encode(mel, f0, mel)


def decode_factors(
    net: SpeechFlowNet,
    codes: Codes,
    speaker: Tensor,
    keep: Collection[str],
    off: Codes,
    mask: Tensor | None = None,
) -> Tensor:
    """Decode some of the factors; the speaker vector stays on.

    Args:
        net: The autoencoder, in eval mode.
        codes: Codes of the utterances, (B, N, C) each.
        speaker: Speaker vectors, (B, D).
        keep: Factors that stay on, out of :data:`FACTORS`.
        off: What stands for the others, see :func:`off_codes`.
        mask: 1 at valid frames, (B, T). It tells where an utterance ends even if all factors are
            off; without it the padding is decoded like speech.

    Returns:
        Decoded scaled mel, (B, M, T).

    Raises:
        ValueError: A factor is unknown.
    """
    unknown = sorted(set(keep) - set(FACTORS))
    if unknown:
        raise ValueError(f"unknown factor {unknown[0]}; there are {', '.join(FACTORS)}")
    chosen = [
        own if name in keep else instead.expand_as(own)
        for name, own, instead in zip(FACTORS, codes, off, strict=True)
    ]
    return net.decode(Codes(*chosen), speaker, mask)
