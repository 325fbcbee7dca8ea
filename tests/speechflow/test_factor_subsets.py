"""What a decoded spectrogram may and may not depend on when factors are off."""

import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.speechflow import Codes, SpeechFlow, SpeechFlowNet
from emovc.speechflow.converter import Inputs
from emovc.speechflow.factor_subsets import FACTORS, Off, decode_factors, off_codes
from emovc.speechflow.pitch import f0_input

B, M, T, BINS = 4, 80, 44, 17
WAYS: list[Off] = ["input", "code", "mean"]


@pytest.fixture(scope="module")
def net() -> SpeechFlowNet:
    torch.manual_seed(0)
    return SpeechFlowNet(
        n_f0_bins=BINS, speaker_dim=8, content_channels=16, rhythm_channels=16, pitch_channels=16,
        decoder_dim=16, decoder_layers=2,
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def heard() -> tuple[Tensor, Tensor, Tensor]:
    """Mel, F0 and speaker vectors of four utterances, the first two of one speaker."""
    torch.manual_seed(1)
    speaker = torch.randn(3, 8)[[0, 0, 1, 2]]
    f0 = torch.where(torch.rand(B, T) < 0.3, -1.0, torch.rand(B, T))
    return torch.rand(B, M, T), f0, speaker


@torch.no_grad()
def decoded(
    net: SpeechFlowNet,
    mel: Tensor,
    f0: Tensor,
    speaker: Tensor,
    keep: tuple[str, ...],
    way: Off,
    mask: Tensor | None = None,
) -> Tensor:
    codes = net.encode(mel, f0_input(f0, BINS), mel, mask)
    return decode_factors(net, codes, speaker, keep, off_codes(net, codes, way), mask)


@pytest.mark.parametrize("way", WAYS)
def test_with_all_factors_off_two_utterances_of_a_speaker_decode_to_the_same_bits(
    net: SpeechFlowNet, heard: tuple[Tensor, Tensor, Tensor], way: Off
) -> None:
    mel = decoded(net, *heard, (), way)
    assert torch.equal(mel[0], mel[1])
    assert not torch.allclose(mel[0], mel[2])  # the speaker vector stays on


@pytest.mark.parametrize("way", WAYS)
def test_with_all_factors_on_it_is_the_reconstruction(
    net: SpeechFlowNet, heard: tuple[Tensor, Tensor, Tensor], way: Off
) -> None:
    mel, f0, speaker = heard
    frames = torch.tensor([T, T - 11, T, 20])
    mask = (torch.arange(T) < frames[:, None]).float()
    mel, f0 = mel * mask[:, None], torch.where(mask > 0, f0, -1.0)
    model = SpeechFlow(net, LogMel())
    with torch.no_grad():
        _, expected = model.reconstruct(Inputs(mel, f0, speaker, mask, frames))
    assert torch.equal(decoded(net, mel, f0, speaker, FACTORS, way, mask), expected)


@pytest.mark.parametrize("way", ["input", "code"])
@pytest.mark.parametrize("keep", FACTORS)
def test_one_factor_hears_its_own_input_and_nothing_else(
    net: SpeechFlowNet, heard: tuple[Tensor, Tensor, Tensor], keep: str, way: Off
) -> None:
    mel, f0, speaker = heard
    own = decoded(net, mel, f0, speaker, (keep,), way)
    new_mel = decoded(net, mel.flip(2), f0, speaker, (keep,), way)
    new_f0 = decoded(net, mel, f0.flip(1), speaker, (keep,), way)
    assert torch.equal(own, new_mel) == (keep == "pitch")
    assert torch.equal(own, new_f0) == (keep != "pitch")


def test_without_a_mask_the_end_of_an_utterance_does_not_show(
    net: SpeechFlowNet, heard: tuple[Tensor, Tensor, Tensor]
) -> None:
    mel, f0, speaker = (x[:2].clone() for x in heard)
    mel[1, :, 22:], f0[1, 22:] = 0.0, -1.0
    mask = (torch.arange(T) < torch.tensor([T, 22])[:, None]).float()
    plain = decoded(net, mel, f0, speaker, (), "input")
    masked = decoded(net, mel, f0, speaker, (), "input", mask)
    assert torch.equal(plain[0], plain[1])
    assert not torch.equal(masked[0], masked[1])


def test_the_three_ways_of_switching_off_give_three_codes(
    net: SpeechFlowNet, heard: tuple[Tensor, Tensor, Tensor]
) -> None:
    mel, f0, _ = heard
    with torch.no_grad():
        codes = net.encode(mel, f0_input(f0, BINS), mel)
        by_input, by_code, by_mean = (off_codes(net, codes, way) for way in WAYS)
        zeros = net.encode(torch.zeros(1, M, T), torch.zeros(1, BINS, T), torch.zeros(1, M, T))
    for a, b in zip(by_input, zeros, strict=True):
        assert torch.equal(a, b)
        assert a.abs().max() > 1e-3  # a zero input is no zero code
    assert not any(code.any() for code in by_code)
    for code, mean in zip(codes, by_mean, strict=True):
        torch.testing.assert_close(mean, code.mean((0, 1)).expand(1, 4, -1))
    assert isinstance(by_mean, Codes)


def test_an_unknown_factor_is_refused(
    net: SpeechFlowNet, heard: tuple[Tensor, Tensor, Tensor]
) -> None:
    with pytest.raises(ValueError, match="timbre; there are content"):
        decoded(net, *heard, ("timbre",), "code")
