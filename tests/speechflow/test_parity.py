"""Numbers of the original networks, made without their code: see each test."""

import pytest
import torch
from torch import Tensor, nn

from emovc.speechflow import F0Converter, SpeechFlowNet


def count(module: nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_of_the_original() -> None:
    net = SpeechFlowNet(speaker_dim=82, factor=8)

    assert count(net.content_encoder) == 2_865_920
    assert count(net.pitch_encoder) == 1_060_864
    assert count(net.rhythm_encoder) == 52_632
    assert count(net.decoder) == 15_376_384 + 82_000
    assert count(net) == 19_437_800


def test_parameter_counts_of_the_cycle_version() -> None:
    assert count(SpeechFlowNet(speaker_dim=32, factor=8)) == 19_437_800 - 4096 * (82 - 32)
    assert count(SpeechFlowNet(speaker_dim=32, factor=8, f0_head_dim=256)) == 21_605_353


def test_parameter_counts_of_the_f0_converter() -> None:
    converter = F0Converter(factor=8)

    assert count(converter) == 3_485_849
    assert count(converter.decoder) == 2_372_353


def fill(module: nn.Module) -> None:
    """Every parameter tensor becomes 0.1 sin(0.37 i + 1), i its flat index."""
    for p in module.parameters():
        flat = torch.arange(p.numel(), dtype=p.dtype)
        p.data = (0.1 * torch.sin(0.37 * flat + 1)).view_as(p)


@pytest.fixture(scope="module")
def outputs() -> dict[str, Tensor]:
    """Outputs of both networks on the note's inputs, time before channels."""
    b = torch.arange(2.0, dtype=torch.float64)[:, None, None]
    f = torch.arange(80.0, dtype=torch.float64)[:, None]
    t = torch.arange(192.0, dtype=torch.float64)
    mel = 0.5 + 0.5 * torch.sin(0.05 * t + 0.3 * f + b)
    bins = (7 * torch.arange(192) + 13 * torch.arange(2)[:, None]) % 257
    f0 = nn.functional.one_hot(bins, 257).double().transpose(1, 2)
    speaker = nn.functional.one_hot(torch.tensor([0, 5]), 82).double()
    net = SpeechFlowNet(speaker_dim=82, factor=8).double()
    converter = F0Converter(factor=8).double()
    fill(net)
    fill(converter)
    with torch.no_grad():
        codes = net.encode(mel, f0, mel)
        return {
            **codes._asdict(),
            "mel": net.decode(codes, speaker).transpose(1, 2),
            "f0_logits": converter(mel, f0).transpose(1, 2),
        }


@pytest.mark.parametrize(
    ("name", "shape", "mean", "std", "first", "last"),
    [
        ("content", (2, 24, 16), 0.05534501, 0.03125037,
         (0.04197747, 0.08736858, 0.07052791), 0.00699591),
        ("pitch", (2, 24, 64), -0.07452498, 0.27808235,
         (-0.10332423, 0.16779521, 0.16667112), 0.09120977),
        ("rhythm", (2, 24, 2), 0.26160857, 0.00338003,
         (0.26547555, 0.26610306, 0.26361557), 0.26373933),
        ("mel", (2, 192, 80), -0.00230897, 1.73133357,
         (0.81414158, 1.6459135, -1.59964335), -2.21153229),
        ("f0_logits", (2, 192, 257), 0.00618102, 0.49071830,
         (0.37244777, 0.80440517, 0.63846583), -0.08381470),
    ],
)  # fmt: skip
def test_outputs_of_the_original(
    outputs: dict[str, Tensor],
    name: str,
    shape: tuple[int, ...],
    mean: float,
    std: float,
    first: tuple[float, ...],
    last: float,
) -> None:
    """Measured with the official code in float64 with every weight set by formula."""
    x = outputs[name]

    assert x.shape == shape
    assert float(x.mean()) == pytest.approx(mean, abs=1e-6)
    assert float(x.std()) == pytest.approx(std, abs=1e-6)
    assert x.flatten()[:3].tolist() == pytest.approx(first, abs=1e-6)
    assert float(x.flatten()[-1]) == pytest.approx(last, abs=1e-6)
