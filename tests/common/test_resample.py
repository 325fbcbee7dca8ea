"""The differentiable resampler against closed forms and against soxr."""

import numpy as np
import pytest
import torch

from emovc.common.resample import Resample
from emovc.common.wav import resample

RATES = [(22_050, 16_000), (16_000, 22_050), (48_000, 16_000), (16_000, 48_000), (44_100, 22_050)]


def sine(hz: float, rate: int, seconds: float = 0.5) -> torch.Tensor:
    """A sine (1, N) in float64."""
    time = torch.arange(int(rate * seconds), dtype=torch.float64) / rate
    return torch.sin(2 * torch.pi * hz * time)[None]


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("hz", [100.0, 1000.0, 5000.0])
def test_sines_stay_where_they_are(from_rate: int, to_rate: int, hz: float) -> None:
    out = Resample(from_rate, to_rate)(sine(hz, from_rate))
    expected = sine(hz, to_rate)
    assert out.shape == expected.shape
    middle = slice(to_rate // 50, -to_rate // 50)  # the ends see silence beyond them
    assert (out - expected)[0, middle].abs().max() < 2e-3


def test_what_does_not_fit_below_the_new_nyquist_is_removed() -> None:
    out = Resample(22_050, 16_000)(sine(9500.0, 22_050))
    assert out[0, 500:-500].abs().max() < 2e-3


def test_a_constant_stays_one() -> None:
    out = Resample(22_050, 16_000)(torch.ones(1, 8000))
    assert (out[0, 100:-100] - 1).abs().max() < 1e-3


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_lengths_are_those_of_the_output(from_rate: int, to_rate: int) -> None:
    module = Resample(from_rate, to_rate)
    for n in (1, 2, 999, 1000, 1001, 4410):
        expected = -(-n * to_rate // from_rate)
        assert module(torch.zeros(1, n)).shape[1] == expected
        assert module.lengths(torch.tensor([n])).item() == expected


def test_a_padded_batch_gives_what_each_gives_alone() -> None:
    module = Resample(22_050, 16_000)
    rng = torch.Generator().manual_seed(0)
    short, long = (torch.randn(1, n, generator=rng).double() for n in (3001, 5000))
    padded = torch.cat([torch.nn.functional.pad(short, (0, 1999)), long])
    both = module(padded)
    n = int(module.lengths(torch.tensor([3001])))
    torch.testing.assert_close(both[:1, :n], module(short), atol=1e-12, rtol=0)
    torch.testing.assert_close(both[1:], module(long), atol=1e-12, rtol=0)


def test_it_agrees_with_soxr_on_band_limited_noise() -> None:
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(22_050))
    spectrum[6000:] = 0  # bins of 1 Hz
    wav = np.fft.irfft(spectrum).astype(np.float32)
    ours = Resample(22_050, 16_000)(torch.from_numpy(wav)[None])[0].numpy()
    difference = ours - resample(wav, 22_050, 16_000)
    assert np.sqrt(np.mean(difference[500:-500] ** 2)) < 2e-3 * wav.std()


def test_the_way_there_and_back_gives_the_same() -> None:
    wav = sum(sine(hz, 16_000) for hz in (110.0, 700.0, 3000.0))
    back = Resample(22_050, 16_000)(Resample(16_000, 22_050)(wav))
    assert (back[:, :8000] - wav)[0, 500:-500].abs().max() < 5e-3


def test_equal_rates_change_nothing_and_gradients_pass() -> None:
    wav = torch.randn(1, 100)
    assert Resample(16_000, 16_000)(wav) is wav
    leaf = torch.randn(1, 500, requires_grad=True)
    Resample(22_050, 16_000)(leaf).square().sum().backward()
    assert leaf.grad is not None and leaf.grad.abs().min() > 0
