"""Numbers that the authors' code gives for the same weights and inputs, in float64.

The inputs are computed in float32, as those of the printed figures were. The last bits of float32
sines differ between CPUs, which shows in two of the figures' 8 decimals.
"""

from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from emovc.genner_tts.local_style import LocalStyleEncoder
from emovc.genner_tts.losses import commitment_loss, guided_attention_loss
from emovc.genner_tts.mix_style import MixStyle
from emovc.genner_tts.predictors import DurationPredictor, PitchPredictor
from emovc.genner_tts.style_alignment import StyleAligner
from emovc.genner_tts.transformer import MelDecoder, TextEncoder, sinusoidal_positions

ModuleT = TypeVar("ModuleT", bound=nn.Module)
B, T, N, DIM = 2, 60, 12, 256
TOL, LAST_BIT = 6e-9, 2e-7
MASK = torch.ones(B, T, dtype=torch.float64)
UNITS = torch.ones(B, N, dtype=torch.float64)


def filled(module: ModuleT) -> ModuleT:
    """The module in float64 and evaluation mode, with 0.1 sin(0.37 i + 1) in all weights."""
    module = module.double().eval()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            i = torch.arange(weight.numel(), dtype=torch.float64)
            value = 0.1 * torch.sin(0.37 * i + 1)
            if name.endswith("original0"):  # gain of a normalised weight
                value = value.abs() + 0.5
            weight.copy_(value.view_as(weight))
    return module


def hidden() -> Tensor:
    """Frames (B, T, C)."""
    b, t, c = torch.arange(B), torch.arange(T), torch.arange(DIM)
    return torch.sin(0.07 * t[:, None] + 0.11 * c + b[:, None, None]).double()


def mel() -> Tensor:
    """Mels (B, M, T)."""
    b, f, t = torch.arange(B), torch.arange(80), torch.arange(T)
    return (-3 + 1.5 * torch.sin(0.05 * t + 0.3 * f[:, None] + b[:, None, None])).double()


def shifted(module: MelDecoder | PitchPredictor) -> Tensor:
    """Frames that undo a difference in how positions are counted.

    The authors' code takes a frame whose first channel is exactly zero for padding when it counts
    positions. The first frame of the first input is one: it gets no position, and all later ones
    of that utterance one less.
    """
    ours = sinusoidal_positions(hidden())
    theirs = torch.cat([torch.zeros(1, DIM), ours[:-1]])
    x = hidden()
    x[0] += module.position_scale.detach() * (theirs - ours)
    return x


def check(
    found: Tensor, mean: float, std: float, first: list[float], last: float, tol: float = TOL
) -> None:
    """Compare with the printed figures, of 8 decimals."""
    flat = found.detach().flatten()
    figures = [flat.mean(), flat.std(), *flat[:3], flat[-1]]
    torch.testing.assert_close(
        torch.stack(figures).double(),
        torch.tensor([mean, std, *first, last], dtype=torch.float64),
        atol=tol,
        rtol=0,
    )


def phones() -> Tensor:
    """Phone of each frame, counted from 1, (B, T)."""
    return (torch.arange(T) // 5 + 1).expand(B, -1)


def phone_style() -> Tensor:
    """Local style (B, N, C) of the phones, not quantised."""
    return filled(LocalStyleEncoder())(mel(), MASK, phones(), False).vectors


def test_positions() -> None:
    row = sinusoidal_positions(torch.zeros(1, 3, DIM))[0]
    assert row[:3].tolist() == pytest.approx([0.84147096, 0.80164683, 0.76108462], abs=1e-7)


def test_text_encoder() -> None:
    out = filled(TextEncoder(82))(torch.arange(3, 15).expand(B, -1))
    first = [0.16086295, 0.02372459, -0.04541563]
    check(out, 0.00273407, 0.10037256, first, 0.03637260)


def test_decoder_and_mel() -> None:
    decoder = filled(MelDecoder())
    out = decoder(shifted(decoder), MASK)
    first = [0.12710755, -0.00316054, -0.05350809]
    check(out, 0.00473778, 0.10027689, first, 0.00053799)
    found = filled(nn.Linear(DIM, 80))(out)
    check(found, 0.00313450, 0.91331967, [1.36617841, 1.24260729, 0.85524108], 1.08529996)


def test_duration_predictor() -> None:
    out = filled(DurationPredictor())(hidden(), MASK)
    first = [1.36591425, 1.36205784, 1.36138025]
    check(out, 1.38043476, 0.01017206, first, 1.41058816)


def test_pitch_predictors() -> None:
    agnostic = filled(PitchPredictor())
    found = agnostic(shifted(agnostic), MASK)
    check(found, 1.36395162, 0.07970033, [1.42676673, 1.29871549, 1.40839395], 1.35215180, LAST_BIT)
    specific = filled(PitchPredictor(n_layers=3, dropout=0.1))
    found = specific(shifted(specific), MASK)
    check(found, 1.38020734, 0.08843352, [1.67026427, 1.5168585, 1.62871197], 1.42847872, LAST_BIT)


def test_local_style() -> None:
    first = [0.09017574, 0.09328381, 0.08622764]
    check(phone_style(), 0.00044660, 0.07187199, first, 0.10144263)
    frames = filled(LocalStyleEncoder())(mel(), MASK, None, False).vectors
    first = [0.08988347, 0.09311901, 0.08629879]
    check(frames, 0.00044733, 0.07195742, first, 0.10151083)


def test_quantised_local_style() -> None:
    encoder = filled(LocalStyleEncoder())
    codebook = encoder.quantizer.codebook
    codebook.copy_(0.05 * torch.sin(0.21 * torch.arange(128 * DIM).double()).view_as(codebook))
    style = encoder(mel(), MASK, phones(), True)
    first = [0.03264706, 0.02403537, 0.01436761]
    check(style.vectors, -0.00146666, 0.03529587, first, -0.02836682)
    loss = commitment_loss(style.encoded, style.codes, style.mask)
    assert loss.item() == pytest.approx(0.00154971, abs=TOL)
    assert style.perplexity.item() == pytest.approx(1.45756924, abs=1e-7)  # theirs is float32


def keys() -> Tensor:
    """Phone-level keys (B, N, C): style and position through a linear layer."""
    style = phone_style()
    positions = sinusoidal_positions(style).expand_as(style)
    return filled(nn.Linear(2 * DIM, DIM))(torch.cat([style, positions], 2))


def test_keys() -> None:
    first = [1.55096394, 1.12791543, -0.16076948]
    check(keys(), 0.00818291, 1.28135391, first, -1.36698150, LAST_BIT)


def test_aligner() -> None:
    out, weights = filled(StyleAligner())(hidden(), MASK, keys(), UNITS, False)
    check(out, 0.00307424, 0.10013460, [0.20718679, -0.0110318, 0.15567138], 0.04985515)
    assert guided_attention_loss(weights, MASK, UNITS).item() == pytest.approx(0.06646, abs=TOL)


def test_forced_aligner() -> None:
    # The authors' windows are float32, so their figures are.
    inputs = [x.float() for x in (hidden(), MASK, keys(), UNITS)]
    out, weights = filled(StyleAligner()).float()(*inputs, True)
    check(out, 0.00307697, 0.09994452, [0.20921594, -0.01052838, 0.15176167], 0.04461665, 1e-7)
    assert guided_attention_loss(weights, MASK, UNITS).item() == pytest.approx(0.014428, abs=TOL)


def test_mix_style() -> None:
    style = torch.sin(0.05 * torch.arange(DIM) + torch.arange(B)[:, None]).double()
    ratio = torch.tensor([0.25, 0.8]).double()
    out = filled(MixStyle()).mixed(hidden(), style, ratio, torch.tensor([1, 0]))
    check(out, 0.00140459, 0.13373876, [0.12582696, 0.18677192, 0.20109981], 0.29347661)
