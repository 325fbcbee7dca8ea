"""The codec's network and losses: lengths, causality, learning, and files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.wav import read_wav
from emovc.ser.codec import Codec
from emovc.ser.codec_layers import Convolution, Snake, Upsampling
from emovc.ser.codec_losses import SpectralLoss, waveform_loss

RATE = 16_000
FRONTEND = LogMel(RATE, hop_length=320, pad=352)


def tiny(**changes: Any) -> Codec:
    """A codec of few channels."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = dict(
        strides=(8, 5, 4, 2), channels=(4, 8, 8, 16, 16), dim=16, kernel=3, dilations=(1, 3),
        codebook_size=16, n_stages=3,
    )  # fmt: skip
    return Codec(**{**sizes, **changes})


def tone(samples: int, seed: int = 0) -> Tensor:
    """A harmonic sound that glides, (1, N)."""
    time = torch.arange(samples) / RATE
    phase = 2 * torch.pi * (120 * time + 40 * time.square() + seed)
    return 0.1 * torch.stack([torch.sin(k * phase) / k for k in range(1, 15)]).sum(0)[None]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("samples", [320, 321, 3200, 3519])
def test_frames_are_whole_hops_and_the_decoded_length_is_the_given(
    samples: int, causal: bool
) -> None:
    codec = tiny(causal=causal).eval()
    wav = tone(samples)
    frames = -(-samples // 320)
    latent = codec.encode(wav)
    assert latent.shape == (1, 16, frames)
    assert codec.decode(latent).shape == (1, frames * 320)
    coded = codec(wav)
    assert coded.wav.shape == wav.shape and coded.codes.shape == (1, 3, frames)


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
@pytest.mark.parametrize("causal", [False, True])
def test_strides_divide_and_multiply_lengths_exactly(stride: int, causal: bool) -> None:
    x = torch.randn(2, 3, 5 * stride)
    down = Convolution(3, 4, 2 * stride, stride, 1, causal)(x)
    assert down.shape == (2, 4, 5)
    assert Upsampling(4, 3, stride, causal)(down).shape == x.shape


def test_a_causal_codec_looks_at_no_later_sample() -> None:
    wav, frame = tone(3200), 5
    changed = wav.clone()
    changed[:, frame * 320 :] += 0.1
    for causal in (True, False):
        codec = tiny(causal=causal).eval()
        same = (codec.encode(wav) == codec.encode(changed))[..., :frame].all()
        latent = codec.encode(wav)
        later = latent.clone()
        later[..., frame:] += 1
        same &= (codec.decode(latent) == codec.decode(later))[:, : frame * 320].all()
        assert bool(same) == causal


def test_untrained_latents_vary_as_the_waveform_does() -> None:
    """Else the decoder would at first learn to do without them."""
    wav = tone(16_000)
    for changes in ({}, {"channels": (8, 32, 64, 96, 128), "kernel": 5, "dim": 128}):
        codec = tiny(**changes)
        latent = codec.encode(wav)
        assert 0.5 < float(latent.std(2).mean() / wav.std()) < 10
        assert 0.5 < float(codec.decode(latent).std() / latent.std()) < 10


def test_sizes_and_rates_are_as_published() -> None:
    codec = Codec()
    assert codec.sample_rate / codec.hop == 50
    assert codec.bits_per_second(8) == 8 * 10 * 50
    assert codec.encode(torch.zeros(1, 16_000)).shape == (1, 128, 50)


def test_snake_at_small_frequency_is_nearly_the_identity() -> None:
    snake, x = Snake(3).double(), torch.randn(2, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(snake(x), x + x.sin() ** 2, atol=1e-8, rtol=0)
    with torch.no_grad():
        snake.frequency.fill_(1e-6)
    torch.testing.assert_close(snake(x), x, atol=1e-4, rtol=0)


def test_the_spectral_loss_is_a_distance_that_knows_level() -> None:
    """Half the amplitude is ln 2 in every band above the floor."""
    loss = SpectralLoss(RATE)
    wav = torch.randn(2, RATE, generator=torch.Generator().manual_seed(0))
    other = torch.randn(2, RATE, generator=torch.Generator().manual_seed(1))
    assert float(loss(wav, wav)) == 0
    assert float(loss(wav, 0.5 * wav)) == pytest.approx(0.6931, abs=1e-3)
    assert float(loss(wav, other)) == pytest.approx(float(loss(other, wav)))
    assert float(loss(wav, -wav)) < 1e-5  # deaf to phase, which the waveform's own loss is not
    assert float(waveform_loss(wav, -wav)) == pytest.approx(2 * float(wav.abs().mean()))


def test_every_band_of_the_spectral_loss_hears_something() -> None:
    for mel in SpectralLoss(RATE).mels:
        assert isinstance(mel, LogMel)
        assert mel.filters.sum(1).min() > 0


def test_resolutions_need_bands() -> None:
    with pytest.raises(UserError, match="equally long"):
        SpectralLoss(RATE, (512, 256), (40,))


@pytest.mark.parametrize("activation", ["elu", "snake"])
def test_every_weight_gets_a_gradient(activation: str) -> None:
    codec = tiny(activation=activation).train()
    coded = codec(tone(3200))
    (SpectralLoss(RATE)(tone(3200), coded.wav) + coded.commitment).backward()
    for name, parameter in codec.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_one_second_of_speech_is_learned_by_heart(shared: Path) -> None:
    path = sorted((shared / "data" / "nemo" / "samples").glob("*.flac"))[0]
    wav = torch.from_numpy(read_wav(path, RATE)[0][4000:12_000])[None]
    codec, loss = tiny(channels=(8, 16, 24, 32, 48), n_stages=4).train(), SpectralLoss(RATE)
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    errors = []
    for _ in range(120):
        coded = codec(wav)
        error = loss(wav, coded.wav)
        optimizer.zero_grad()
        (error + 10 * waveform_loss(wav, coded.wav) + 0.25 * coded.commitment).backward()
        optimizer.step()
        errors.append(float(error))
    codec.eval()
    assert float(loss(wav, codec(wav).wav)) < 0.45 * errors[0]


def test_saved_weights_load_to_the_same_codec(tmp_path: Path) -> None:
    codec = tiny(causal=True)
    codec(tone(3200))
    with pytest.raises(UserError, match="are random"):
        codec.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    codec.pretrained = True
    codec.eval().save_pretrained(tmp_path / "out")
    loaded = Codec.from_pretrained(tmp_path / "out")
    assert loaded.pretrained and not loaded.training and loaded.settings == codec.settings
    wav = tone(4000)
    for n_stages in (1, 3):
        assert torch.equal(loaded(wav, n_stages).wav, codec(wav, n_stages).wav)
        assert torch.equal(loaded(wav, n_stages).codes, codec(wav, n_stages).codes)


def test_what_is_no_codec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a run"):
        Codec.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="strides multiply to 320, but frontend.hop_length is 256"):
        tiny(frontend=LogMel(RATE))
    with pytest.raises(UserError, match="4 strides need 5 channels, not 2"):
        tiny(channels=(8, 8))
    with pytest.raises(UserError, match="kernel 4 must be odd"):
        tiny(kernel=4)


def test_the_shipped_codec_follows_speech_like_sounds() -> None:
    """More stages, a smaller error of the latent; the envelope survives."""
    codec = Codec.from_pretrained()
    assert codec.pretrained
    t = torch.arange(16_000) / 16_000
    wav = 0.2 * torch.sin(2 * torch.pi * 150 * t) * (1 + torch.sin(2 * torch.pi * 3 * t))
    latent = codec.encode(wav[None])
    errors = [
        float((codec.quantizer(latent, n).latent - latent).square().mean()) for n in (1, 4, 8)
    ]
    assert errors[0] > errors[1] > errors[2]
    again = codec.decode(codec.quantizer(latent, 8).latent)[0, : len(wav)]
    loud, quiet = (t % (1 / 3) - 1 / 12).abs() < 0.03, (t % (1 / 3) - 1 / 4).abs() < 0.03
    assert again[loud].square().mean() > 3 * again[quiet].square().mean()
