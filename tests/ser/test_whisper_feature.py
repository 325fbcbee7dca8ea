"""Whisper's layers as a representation: those of the encoder, whatever stands beside them."""

from pathlib import Path

import pytest
import torch
from tests.common.whisper_models import TINY_DIM, real_whisper, write_tiny_whisper

from emovc.common.errors import UserError
from emovc.common.wav import read_wav
from emovc.common.whisper import WhisperEncoder
from emovc.ser.utterances import pooled
from emovc.ser.whisper_feature import WhisperFeature

RATE = 16_000


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.mark.parametrize("layer", [0, 2])
def test_frames_are_those_of_the_layer(whisper: Path, layer: int) -> None:
    wav, lengths = 0.1 * torch.randn(2, 12_000), torch.tensor([12_000, 7_000])
    states, counts = WhisperEncoder.from_pretrained(whisper)(wav, lengths)
    values = {
        pool: WhisperFeature.from_pretrained(whisper, RATE, layer, pool=pool)(wav, lengths)
        for pool in ("none", "mean", "mean_std")
    }
    for i, count in enumerate(counts.tolist()):
        frames = states[i, layer, :count]
        torch.testing.assert_close(values["none"][i], frames)
        torch.testing.assert_close(values["mean"][i], pooled(frames, "mean"))
        assert values["mean_std"][i].shape == (1, 2 * TINY_DIM)
        torch.testing.assert_close(values["mean_std"][i], pooled(frames, "mean_std"))


def test_several_layers_stand_side_by_side(whisper: Path) -> None:
    wav, lengths = 0.1 * torch.randn(2, 12_000), torch.tensor([12_000, 7_000])
    one, other, both = (
        WhisperFeature.from_pretrained(whisper, RATE, layer)(wav, lengths)
        for layer in (2, 0, [2, 0])
    )
    for a, b, found in zip(one, other, both, strict=True):
        parts = [row.view(2, TINY_DIM) for row in (a, b)]  # mean and deviation
        wanted = torch.stack(parts, dim=1).flatten()
        torch.testing.assert_close(found, wanted[None], atol=1e-5, rtol=0)


def test_padding_neighbours_and_gain_change_nothing(whisper: Path) -> None:
    feature = WhisperFeature.from_pretrained(whisper, 22_050)
    wav = torch.full((2, 20_000), 7.0)
    wav[0], wav[1, :9_000] = 0.1 * torch.randn(20_000), 0.1 * torch.randn(9_000)
    together = feature(wav, torch.tensor([20_000, 9_000]))[1]
    (alone,) = feature(wav[1:, :9_000], torch.tensor([9_000]))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    (quiet,) = feature(0.01 * wav[1:, :9_000], torch.tensor([9_000]))
    torch.testing.assert_close(quiet, alone, atol=1e-4, rtol=1e-3)


def test_settings_name_what_matters(whisper: Path) -> None:
    def settings(layer: int = 1, peak: float | None = 0.5) -> object:
        return WhisperFeature.from_pretrained(whisper, RATE, layer, peak).settings

    assert settings() == settings() and settings() != settings(0) != settings(0, None)
    with pytest.raises(UserError, match="has no layer 3; give layers of 0 to 2"):
        settings(3)


def test_the_real_one_tells_frames_of_real_speech(shared: Path) -> None:
    feature = WhisperFeature.from_pretrained(real_whisper(), RATE, pool="none")
    wav = torch.from_numpy(read_wav(shared / "data" / "emodb" / "wav" / "03a01Fa.flac", RATE)[0])
    (frames,) = feature(wav[None], torch.tensor([len(wav)]))
    assert frames.shape == (-(-len(wav) // 320), 512)
    assert torch.isfinite(frames).all() and frames.std(0).mean() > 0.1
