"""Moments of Whisper's layers: closed forms, and the same live as stored."""

from pathlib import Path

import pytest
import torch
from tests.common.whisper_models import TINY_DIM, write_tiny_whisper

from emovc.common.whisper import WhisperEncoder
from emovc.ser.degraded import CopySynthesis, DegradedFeature, Noise
from emovc.ser.whisper_moments import (
    SEGMENT,
    WhisperMoments,
    pool_moments,
    segment_moments,
    statistics,
    trim,
    whisper_moments,
)

RATE = 22_050


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


def test_segments_give_the_mean_and_deviation_of_all_frames() -> None:
    states, counts = torch.randn(2, 3, 2 * SEGMENT + 7, 5), torch.tensor([2 * SEGMENT + 7, 11])
    moments = segment_moments(states, counts)
    assert moments.frames.tolist() == [[SEGMENT, SEGMENT, 7], [11, 0, 0]]
    found = statistics(moments)
    for row, own, n in zip(found, states, counts.tolist(), strict=True):
        torch.testing.assert_close(row[:, 0], own[:, :n].mean(1))
        deviation = own[:, :n].std(1, correction=0)
        torch.testing.assert_close(row[:, 1], deviation, rtol=1e-4, atol=1e-5)


def test_weights_choose_a_segment() -> None:
    states = torch.randn(1, 1, 2 * SEGMENT, 4)
    moments = segment_moments(states, torch.tensor([2 * SEGMENT]))
    found = pool_moments(moments.values, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(found[0, 0, 0], states[0, 0, SEGMENT:].mean(0))


def test_what_lies_beyond_the_valid_frames_does_not_matter() -> None:
    states, counts = torch.randn(1, 2, 30, 4), torch.tensor([25])
    other = states.clone()
    other[:, :, 25:] = 1e3
    for a, b in zip(segment_moments(states, counts), segment_moments(other, counts), strict=True):
        torch.testing.assert_close(a, b)


def test_silence_around_the_speech_is_cut_off_whatever_the_level_and_the_batch() -> None:
    speech = torch.randn(8_000)
    quiet = torch.cat([1e-4 * torch.randn(RATE), speech, 1e-4 * torch.randn(9_000)])
    wav = torch.full((2, RATE + 20_000), float("nan"))
    wav[0, : len(quiet)], wav[1, :8_000] = quiet, speech
    found, sizes = trim(wav, torch.tensor([len(quiet), 8_000]), RATE)
    assert sizes[1] == 8_000
    margin = RATE // 20
    assert 8_000 + margin <= sizes[0] <= 8_000 + 2 * (margin + RATE // 50)
    torch.testing.assert_close(found[1, :8_000], speech)
    softer, same = trim(0.01 * quiet[None], torch.tensor([len(quiet)]), RATE)
    assert same[0] == sizes[0]
    torch.testing.assert_close(softer[0], 0.01 * found[0, : int(sizes[0])])
    silence, sizes = trim(torch.zeros(1, 5_000), torch.tensor([5_000]), RATE)
    assert silence.shape == (1, 5_000)


def test_the_stored_rows_are_the_moments(whisper: Path) -> None:
    feature = WhisperMoments.from_pretrained(whisper, RATE, layers=(0, 1))
    wav, lengths = 0.1 * torch.randn(2, RATE), torch.tensor([RATE, RATE // 3])
    rows = feature(wav, lengths)
    assert [len(own) for own in rows] == [3, 1]
    live = whisper_moments(feature.encoder, wav, lengths)
    for own, values, frames in zip(rows, *live, strict=True):
        torch.testing.assert_close(own[:, :-1], values[: len(own)].flatten(1))
        torch.testing.assert_close(own[:, -1], frames[: len(own)])
    assert own.shape[1] == 2 * 2 * TINY_DIM + 1


def test_settings_tell_another_whisper_apart(whisper: Path, tmp_path: Path) -> None:
    other = write_tiny_whisper(tmp_path / "other", seed=1)
    own = WhisperMoments.from_pretrained(whisper, RATE, layers=(0,))
    assert own.settings != WhisperMoments.from_pretrained(other, RATE, layers=(0,)).settings
    assert own.settings["weights"] == WhisperEncoder.from_pretrained(whisper, (0, 1)).weights


def test_noise_has_one_of_the_ratios_and_is_the_same_again() -> None:
    wav = torch.sin(torch.arange(RATE) / 20)
    noise = Noise(snr_db=(10.0,))
    noisy = noise(wav)
    ratio = wav.square().mean() / (noisy - wav).square().mean()
    assert 10 * float(ratio.log10()) == pytest.approx(10, abs=0.01)
    torch.testing.assert_close(noise(wav), noisy)


class Echo(torch.nn.Module):
    """A vocoder that gives the mel's mean level in every sample."""

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return mel.exp().mean(1).repeat_interleave(256, dim=1)


def test_copy_synthesis_brings_recordings_to_one_level_and_back() -> None:
    from emovc.common.audio import LogMel

    copies = CopySynthesis(Echo(), LogMel(), "echo")
    wav = torch.randn(RATE)
    loud = copies(wav)
    torch.testing.assert_close(copies(0.01 * wav), 0.01 * loud, rtol=1e-4, atol=1e-7)


def test_a_degraded_feature_is_filed_apart(whisper: Path) -> None:
    feature = WhisperMoments.from_pretrained(whisper, RATE, layers=(0,))
    worse = DegradedFeature(feature, Noise(snr_db=(0.0,)))
    assert worse.name == "whisper_moments_noise"
    assert worse.settings != feature.settings
    wav, lengths = 0.1 * torch.randn(2, RATE), torch.tensor([RATE, 9_000])
    found, plain = worse(wav, lengths), feature(wav, lengths)
    assert [one.shape for one in found] == [one.shape for one in plain]
    assert (found[0] - plain[0]).abs().max() > 1e-3
    alone = worse(wav[1:, :9_000], torch.tensor([9_000]))
    torch.testing.assert_close(alone[0], found[1], rtol=1e-4, atol=1e-4)
