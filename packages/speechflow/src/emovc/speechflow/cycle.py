"""The random-embedding-replacement cycle: replace a factor, decode, encode again, compare."""

from typing import Literal

import torch
from torch import Tensor

from emovc.speechflow.converter import Inputs
from emovc.speechflow.losses import (
    Balance,
    F0Loss,
    Normalise,
    Pairing,
    code_distance,
    draw_partners,
    linear_warmup,
    replace_factor,
    variance_hinge,
)
from emovc.speechflow.model import Codes, SpeechFlowNet
from emovc.speechflow.pitch import f0_input
from emovc.speechflow.resampling import RandomResampling

Gradient = Literal["full", "stop_target", "decoder_only", "encoder_only"]


class CycleLoss:
    """Cycle loss with random factor replacement.

    One factor is drawn per step; its whole code sequence is taken from another sample of the
    batch; the decoders make a mel and an F0 of the mixture; the encoders read these again, and the
    loss is the distance of the new codes from the mixture. The defaults are the authors' (Sun et
    al., CycleFlow, arXiv 2110.09928, official code, first commit).

    Args:
        weight: Weight of the distance.
        gradient: ``full`` is the authors'; ``stop_target`` doesn't move the codes towards what is
            easy to recover; ``decoder_only`` trains the decoders to honour the codes;
            ``encoder_only`` trains the encoders to recover them.
        balance: See :func:`~emovc.speechflow.losses.code_distance`.
        normalise: See :func:`~emovc.speechflow.losses.code_distance`.
        resample: Warp time between the convolutions when encoding again, as the authors do.
            Without it the codes of the mixture come from an extra pass without any warp, so that
            both sides of the distance share one timeline.
        pairing: See :func:`~emovc.speechflow.losses.draw_partners`.
        swap_speaker: Draw the speaker vector as a fourth factor (the authors' later commit).
        warmup_start: Step at which the weight begins to rise from 0.
        warmup_stop: Step at which it is reached.
        variance_weight: Weight of a hinge on the codes' standard deviation.
        variance_floor: Standard deviation below which the hinge acts.
    """

    def __init__(
        self,
        weight: float = 1.0,
        gradient: Gradient = "full",
        balance: Balance = "elements",
        normalise: Normalise = "none",
        resample: bool = True,
        pairing: Pairing = "permutation",
        swap_speaker: bool = False,
        warmup_start: int = 0,
        warmup_stop: int = 0,
        variance_weight: float = 0.0,
        variance_floor: float = 0.05,
    ) -> None:
        self.weight = weight
        self.gradient = gradient
        self.balance: Balance = balance
        self.normalise: Normalise = normalise
        self.resample = resample
        self.pairing: Pairing = pairing
        self.swap_speaker = swap_speaker
        self.warmup_start = warmup_start
        self.warmup_stop = warmup_stop
        self.variance_weight = variance_weight
        self.variance_floor = variance_floor

    def __call__(
        self,
        net: SpeechFlowNet,
        inputs: Inputs,
        speaker_index: Tensor,
        codes: Codes,
        resampling: RandomResampling | None,
        f0_kind: F0Loss,
        step: int,
    ) -> dict[str, Tensor]:
        """Weighted terms of one step by name; the distance without its weight is ``cycle_raw``.

        Args:
            net: The autoencoder, with an F0 head.
            inputs: The batch.
            speaker_index: Speaker of each sample, for the pairing, (B,).
            codes: Codes of the batch from the warped input.
            resampling: The warps of the run.
            f0_kind: How the F0 head is trained: its raw output is fed back with ``mse_onehot``
                (authors), its softmax with ``ce``.
            step: Optimiser steps done.
        """
        terms = self._variance(codes, inputs.mask)
        scale = self.weight * linear_warmup(step, self.warmup_start, self.warmup_stop)
        if scale == 0:
            return terms
        if not self.resample:
            f0 = f0_input(inputs.f0, net.n_f0_bins)
            codes = net.encode(inputs.mel, f0, inputs.mel, inputs.mask)
        mixture, speaker, mask = self._replace(codes, inputs, speaker_index)
        again = self._encode_again(net, mixture, speaker, resampling, f0_kind)
        stopped = self.gradient in ("stop_target", "decoder_only")
        target = Codes(*(c.detach() for c in mixture)) if stopped else mixture
        distance = code_distance(again, target, mask, self.balance, self.normalise)
        return {**terms, "cycle": scale * distance, "cycle_raw": distance.detach()}

    def _variance(self, codes: Codes, mask: Tensor) -> dict[str, Tensor]:
        """The hinge, if it is used."""
        if self.variance_weight == 0:
            return {}
        valid = code_mask(mask, codes)
        hinges = [variance_hinge(code, valid, self.variance_floor) for code in codes]
        return {"variance": self.variance_weight * torch.stack(hinges).mean()}

    def _replace(
        self, codes: Codes, inputs: Inputs, speaker_index: Tensor
    ) -> tuple[Codes, Tensor, Tensor]:
        """Mixture codes, speaker vectors, and a mask (B, N) of what is valid in both parts."""
        factor = int(torch.randint(3 + self.swap_speaker, ()))
        partner = draw_partners(speaker_index, self.pairing)
        mask = code_mask(inputs.mask, codes)
        if self.pairing == "none":
            return codes, inputs.speaker, mask
        if factor == 3:
            return codes, inputs.speaker[partner], mask
        n = codes.content.shape[1]
        shift = int(torch.randint(1, max(n, 2), ())) if self.pairing == "time_shift" else 0
        both = mask * mask[partner].roll(shift, dims=1)
        return replace_factor(codes, factor, partner, shift), inputs.speaker, both

    def _encode_again(
        self,
        net: SpeechFlowNet,
        mixture: Codes,
        speaker: Tensor,
        resampling: RandomResampling | None,
        f0_kind: F0Loss,
    ) -> Codes:
        """Decode the mixture and encode the result."""
        frozen = self.gradient == "decoder_only"
        if frozen:
            mixture = Codes(*(c.detach() for c in mixture))
        mel, f0 = net.decode(mixture, speaker), net.decode_f0(mixture)
        if f0_kind == "ce":
            f0 = f0.softmax(1)
        if self.gradient == "encoder_only":
            mel, f0 = mel.detach(), f0.detach()
        encoders = [net.content_encoder, net.rhythm_encoder, net.pitch_encoder]
        weights = [p for encoder in encoders for p in encoder.parameters() if p.requires_grad]
        for weight in weights if frozen else []:
            weight.requires_grad_(False)
        again = net.encode(mel, f0, mel, resampling=resampling if self.resample else None)
        for weight in weights if frozen else []:
            weight.requires_grad_(True)
        return again


def code_mask(mask: Tensor, codes: Codes) -> Tensor:
    """1 where all frames of a code are valid, (B, N), from a frame mask (B, T)."""
    return mask.unflatten(1, (codes.content.shape[1], -1)).amin(-1)
