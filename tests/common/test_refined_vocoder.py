"""The vocoder at its level: gain, padding, refinement, files, and the shipped one."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.convert import load_vocoder
from emovc.common.errors import UserError
from emovc.common.griffin_lim import GriffinLim
from emovc.common.refined_vocoder import OFFICIAL_LEVEL, RefinedVocoder, loudness
from emovc.common.vocoder import HiFiGAN
from emovc.common.wav import read_wav


def voice(seconds: float = 0.8) -> Tensor:
    """A voice-like sound (1, N) whose mel stands above the floor everywhere."""
    time = torch.arange(int(22_050 * seconds)) / 22_050
    phase = 2 * math.pi * (140 * time + 30 * time.square())
    parts = [torch.sin(k * phase) / k for k in range(1, 40)]
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return (0.15 * torch.stack(parts).sum(0) + 0.02 * noise)[None]


@pytest.fixture(scope="module")
def shipped() -> RefinedVocoder:
    return RefinedVocoder.from_pretrained()


def speech_error(vocoder: torch.nn.Module, wav: Tensor) -> float:
    """Mean absolute difference of the log-mels of a recording and its copy."""
    mel = LogMel()(wav)
    with torch.no_grad():
        return float((LogMel()(vocoder(mel)) - mel).abs().mean())


@pytest.mark.parametrize("gain", [0.03, 0.5, 4.0])
def test_gain_in_is_gain_out(shipped: RefinedVocoder, gain: float) -> None:
    exact = copy.deepcopy(shipped).double()  # phases of what is nearly silent magnify rounding
    mel = LogMel()(voice()).double()
    plain, louder = exact(mel), exact(mel + math.log(gain))
    torch.testing.assert_close(louder, gain * plain, rtol=1e-6, atol=1e-8)


def test_without_a_level_the_gain_changes_the_sound(shipped: RefinedVocoder) -> None:
    mel = LogMel()(voice())
    fixed = RefinedVocoder(shipped.network, level=None)
    soft = fixed(mel + math.log(0.03)) / 0.03
    assert float((soft - fixed(mel)).abs().mean()) > 0.01


def test_loudness_is_that_of_the_loudest_frames() -> None:
    frontend = LogMel()
    mel = torch.full((1, 80, 40), -11.5)
    mel[..., 10:20] = -1.0
    wanted = -1.0 + 0.5 * math.log(80)
    assert float(loudness(mel, frontend)) == pytest.approx(wanted, abs=1e-4)
    padded = torch.nn.functional.pad(mel, (0, 100), value=-11.5)
    assert float(loudness(padded, frontend)) == pytest.approx(wanted, abs=1e-4)
    assert float(loudness(mel[..., 12:14], frontend)) == pytest.approx(wanted, abs=1e-4)
    decimal = LogMel.speecht5()
    assert float(loudness(mel / math.log(10), decimal)) == pytest.approx(wanted, abs=1e-4)


def test_a_batch_gives_what_each_gives_alone(shipped: RefinedVocoder) -> None:
    exact = copy.deepcopy(shipped).double()
    mel = LogMel()(voice()).double()
    pair = torch.cat([mel, mel - 2.5])
    both = exact(pair)
    for row, alone in zip(both, (exact(pair[:1]), exact(pair[1:])), strict=True):
        torch.testing.assert_close(row, alone[0], rtol=1e-6, atol=1e-8)


def test_iterations_bring_the_mel_nearer(shipped: RefinedVocoder) -> None:
    wav = voice()
    network = RefinedVocoder(shipped.network, n_iter=0)
    refined = RefinedVocoder(shipped.network, n_iter=8)
    assert speech_error(refined, wav) < 0.7 * speech_error(network, wav)


def test_griffin_lim_begins_with_the_phases_it_is_given() -> None:
    frontend, wav = LogMel(), voice()
    wav = wav[:, : wav.shape[1] // 256 * 256]
    mel = frontend(wav)
    one = GriffinLim(frontend, n_iter=1)
    assert speech_error(lambda m: one(m, wav), wav) < 0.5 * speech_error(one, wav)  # type: ignore[arg-type]
    inner = slice(2048, -2048)
    error = (one(mel, wav) - wav)[:, inner].square().mean() / wav[:, inner].square().mean()
    assert float(error) < 0.1, "true phases and nearly true magnitudes give the recording"


def test_a_silent_mel_gives_silence(shipped: RefinedVocoder) -> None:
    wav = shipped(torch.full((1, 80, 30), math.log(1e-5)))
    assert torch.isfinite(wav).all()
    assert float(wav.abs().max()) < 1e-3


def test_real_speech_is_better_at_the_level(shared: Path) -> None:
    """A soft recording (RAVDESS, peak .03) through the official network, as it is and at .95."""
    network = HiFiGAN.from_pretrained(shared / "weights" / "hifigan_lj_v2")
    path = shared / "data" / "ravdess" / "Actor_02" / "03-01-04-01-01-01-02.flac"
    audio, _ = read_wav(path, 22_050)
    wav = torch.from_numpy(audio)[None]
    assert speech_error(RefinedVocoder(network), wav) < 0.8 * speech_error(network, wav)
    official = RefinedVocoder.from_pretrained(shared / "weights" / "hifigan_lj_v2")
    assert (official.level, official.n_iter) == (OFFICIAL_LEVEL, 0)


def test_settings_come_back(shipped: RefinedVocoder, tmp_path: Path) -> None:
    made = RefinedVocoder(shipped.network, level=0.7, n_iter=3, momentum=0.5)
    made.save_pretrained(tmp_path / "v", "card", half=True)
    back = RefinedVocoder.from_pretrained(tmp_path / "v")
    assert (back.level, back.n_iter, back.momentum) == (0.7, 3, 0.5)
    assert (tmp_path / "v" / "README.md").read_text() == "card"
    mel = LogMel()(voice())
    torch.testing.assert_close(back(mel), made(mel), rtol=0, atol=2e-2)
    HiFiGAN.from_pretrained(tmp_path / "v")  # it is an official folder as well


@pytest.mark.parametrize("wrong", [7, {"level": "loud"}, {"n_iter": "many"}, {"n_iter": -1}])
def test_malformed_settings_are_named(
    shipped: RefinedVocoder, tmp_path: Path, wrong: object
) -> None:
    shipped.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"synthesis": wrong}))
    with pytest.raises(UserError, match="Griffin-Lim|synthesis"):
        RefinedVocoder.from_pretrained(tmp_path)


def test_the_shipped_vocoder_is_the_default_where_the_mel_fits() -> None:
    assert isinstance(load_vocoder(None, LogMel(), "cpu"), RefinedVocoder)
    assert isinstance(load_vocoder(None, LogMel.speecht5(), "cpu"), GriffinLim)
    assert isinstance(load_vocoder(Path("griffin-lim"), LogMel(), "cpu"), GriffinLim)
    with pytest.raises(UserError, match="no such vocoder"):
        load_vocoder(Path("griffin"), LogMel(), "cpu")
