"""The log-mel against the official HiFi-GAN's formula, and its bookkeeping."""

import json
import math

import librosa
import numpy as np
import pytest
import torch

from emovc.common.audio import LogMel, require_same_mel, slaney_mel_filters
from emovc.common.errors import UserError


def noise(n_samples: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Waveforms (B, N) with a loud and a faint half."""
    rng = torch.Generator().manual_seed(seed)
    wav = 0.1 * torch.randn(batch, n_samples, generator=rng)
    wav[:, n_samples // 2 :] *= 1e-3
    return wav


def official_mel(
    wav: np.ndarray,
    rate: int = 22_050,
    n_fft: int = 1024,
    hop: int = 256,
    n_mels: int = 80,
    f_max: float = 8000,
) -> np.ndarray:
    """The official HiFi-GAN's mel of (N,), in float64 and without torch: (M, T)."""
    wav = np.pad(wav.astype(np.float64), (n_fft - hop) // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(wav, n_fft)[::hop]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=0, fmax=f_max)
    return np.log(np.maximum(filters @ np.sqrt(power + 1e-9).T, 1e-5))


@pytest.mark.parametrize("n_samples", [385, 256 * 20, 256 * 20 + 255, 22_050])
def test_default_is_the_official_mel(n_samples: int) -> None:
    wav = noise(n_samples)
    mel = LogMel()(wav)[0].numpy()
    assert mel.shape == (80, n_samples // 256)
    np.testing.assert_allclose(mel, official_mel(wav[0].numpy()), atol=2e-4)


def test_other_sizes_are_the_official_mel() -> None:
    sizes = dict(n_fft=512, hop_length=128, n_mels=40, pad=192)
    mel = LogMel(sample_rate=16_000, f_max=8000, **sizes)(noise(8000).double())[0].numpy()
    expected = official_mel(noise(8000)[0].numpy(), 16_000, 512, 128, 40)
    np.testing.assert_allclose(mel, expected, atol=1e-5)


@pytest.mark.parametrize(("rate", "f_min", "f_max"), [(22_050, 0, 8000), (16_000, 80, 7600)])
def test_filters_are_librosas(rate: int, f_min: float, f_max: float) -> None:
    ours = slaney_mel_filters(rate, 1024, 80, f_min, f_max)
    theirs = librosa.filters.mel(sr=rate, n_fft=1024, n_mels=80, fmin=f_min, fmax=f_max)
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_speecht5_preset_is_that_of_the_public_extractor() -> None:
    """Transformers pads by reflection, so the two frames at each end differ."""
    extraction = pytest.importorskip("transformers.models.speecht5.feature_extraction_speecht5")
    extractor = extraction.SpeechT5FeatureExtractor()
    wav = noise(16_000)
    theirs = extractor(audio_target=wav[0].numpy(), sampling_rate=16_000)["input_values"][0]
    ours = LogMel.speecht5()(wav)[0].T.numpy()
    assert ours.shape == np.shape(theirs)
    np.testing.assert_allclose(ours[2:-2], theirs[2:-2], atol=1e-3)


@pytest.mark.parametrize("mel", [LogMel(), LogMel.speecht5()], ids=["official", "speecht5"])
def test_frames_are_counted_as_they_come_out(mel: LogMel) -> None:
    for n_samples in (513, 1024, 4000, 4096, 4351, 4352):
        count = mel.frames(torch.tensor([n_samples]))
        assert count.item() == mel(noise(n_samples)).shape[2]
    assert mel.frames(torch.tensor([0])).item() >= 0


def test_frames_are_centred_where_it_says() -> None:
    for mel in (LogMel(), LogMel.speecht5()):
        click = 20 * mel.hop_length + mel.frame_centre
        wav = torch.zeros(1, 16_384)
        wav[0, click] = 1.0
        assert mel(wav)[0].sum(0).argmax().item() == 20


def test_mask_marks_the_frames_of_each_utterance() -> None:
    mel = LogMel()
    mask = mel.mask(torch.tensor([256 * 3, 256 * 5 + 100, 0]), 6)
    assert mask.tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0], [0] * 6]


def test_a_batch_gives_what_each_gives_alone() -> None:
    wav, mel = noise(6000, batch=3), LogMel()
    alone = torch.cat([mel(row[None]) for row in wav])
    torch.testing.assert_close(mel(wav), alone, atol=1e-5, rtol=0)
    padded = torch.nn.functional.pad(wav, (0, 3000))  # only the last frames see the padding
    torch.testing.assert_close(mel(padded)[..., :20], alone[..., :20], atol=1e-5, rtol=0)


def test_silence_and_level() -> None:
    mel = LogMel(power_floor=0.0)
    assert torch.all(mel(torch.zeros(1, 4096)) == mel.log_floor)
    wav = noise(4096)[:, :2048]
    louder = mel(10 * wav) - mel(wav)
    assert torch.allclose(louder, torch.tensor(math.log(10)), atol=1e-4)


def test_gradient_at_silence_is_finite() -> None:
    wav = torch.zeros(1, 4096, requires_grad=True)
    LogMel(floor=1e-12)(wav).sum().backward()
    assert wav.grad is not None and torch.isfinite(wav.grad).all()


def test_autocast_changes_nothing() -> None:
    wav, mel = noise(4096), LogMel()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mel(wav), LogMel()(wav))
    assert torch.equal(mel(wav.bfloat16()), mel(wav.bfloat16().float()))


OTHERS = dict(
    sample_rate=24_000, n_fft=2048, hop_length=200, n_mels=64, f_min=20.0, f_max=7000.0, pad=512,
    pad_mode="constant", log="log10", floor=1e-6, power_floor=1e-8,
)  # fmt: skip


def test_every_setting_changes_the_mel_id() -> None:
    assert OTHERS.keys() == LogMel().settings.keys()
    ids = {LogMel(**{name: value}).mel_id for name, value in OTHERS.items()}
    assert len(ids | {LogMel().mel_id}) == len(OTHERS) + 1


def test_settings_rebuild_the_mel() -> None:
    mel = LogMel(**OTHERS)
    again = LogMel(**json.loads(json.dumps(mel.settings)))
    assert again.mel_id == mel.mel_id
    assert LogMel(f_min=0).mel_id == LogMel(f_min=0.0).mel_id


def test_another_mel_is_refused_with_both_settings() -> None:
    require_same_mel(LogMel(), LogMel().settings, "the vocoder")
    with pytest.raises(UserError, match=r"the vocoder .*f_max=7600.0; here f_max=8000.0"):
        require_same_mel(LogMel(), LogMel(f_max=7600).settings, "the vocoder")


def test_audio_that_is_too_short_is_refused() -> None:
    with pytest.raises(UserError, match="384 samples is too short"):
        LogMel()(torch.zeros(1, 384))
    with pytest.raises(UserError, match="f_max"):
        LogMel(sample_rate=8000)
