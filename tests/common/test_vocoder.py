"""HiFi-GAN's generator: official names and sizes, and parity."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.vocoder import HiFiGAN
from emovc.common.wav import read_wav

V1: dict[str, Any] = {}
V2: dict[str, Any] = dict(upsample_initial_channel=128)
V3: dict[str, Any] = dict(
    resblock="2", upsample_rates=(8, 8, 4), upsample_kernel_sizes=(16, 16, 8),
    upsample_initial_channel=256, resblock_kernel_sizes=(3, 5, 7),
    resblock_dilation_sizes=((1, 2), (2, 6), (3, 12)),
)  # fmt: skip
TINY = dict(V2, upsample_initial_channel=16)
TINY_V3 = dict(V3, upsample_initial_channel=16)


def vocoder(settings: dict[str, Any], seed: int = 0) -> HiFiGAN:
    """A random generator in evaluation mode."""
    torch.manual_seed(seed)
    return HiFiGAN(**settings).eval()


def mels(n_frames: int, batch: int = 1) -> Tensor:
    """Random log-mels (B, 80, T) in the range of speech."""
    return torch.randn(batch, 80, n_frames, generator=torch.Generator().manual_seed(1)) * 2 - 5


@pytest.fixture
def utterance(shared: Path) -> Tensor:
    """1.5 s of real speech (1, N)."""
    wav, rate = read_wav(shared / "data" / "nemo" / "samples" / "EB0_anger_10.flac", 22_050)
    return torch.from_numpy(wav)[None, : int(1.5 * rate)]


# Sizes in the paper's table 1: 13.92 M, 0.92 M and 1.46 M.
@pytest.mark.parametrize(
    ("settings", "folded", "normed"),
    [(V1, 13_926_017, 13_936_130), (V2, 925_985, 928_514), (V3, 1_462_273, 1_464_322)],
    ids=["V1", "V2", "V3"],
)
def test_sizes_are_official(settings: dict[str, Any], folded: int, normed: int) -> None:
    network = HiFiGAN(**settings)
    assert sum(p.numel() for p in network.parameters()) == normed
    assert sum(p.numel() for p in network.fold_weight_norm().parameters()) == folded


@pytest.mark.parametrize("settings", [V1, V2, V3], ids=["V1", "V2", "V3"])
def test_names_and_shapes_are_official(settings: dict[str, Any]) -> None:
    network = HiFiGAN(**settings)
    width = network.settings["upsample_initial_channel"]
    convs = ("convs1", "convs2") if network.settings["resblock"] == "1" else ("convs",)
    expected = {"conv_pre.weight_v": (width, 80, 7), "conv_pre.weight_g": (width, 1, 1)}
    expected |= {"conv_pre.bias": (width,)}
    for i, kernel in enumerate(network.settings["upsample_kernel_sizes"]):
        width //= 2
        expected[f"ups.{i}.weight_v"] = (2 * width, width, kernel)
        expected[f"ups.{i}.weight_g"] = (2 * width, 1, 1)
        expected[f"ups.{i}.bias"] = (width,)
        for j, size in enumerate(network.settings["resblock_kernel_sizes"]):
            for k in range(len(network.settings["resblock_dilation_sizes"][j])):
                for name in (f"resblocks.{3 * i + j}.{conv}.{k}" for conv in convs):
                    expected[f"{name}.weight_v"] = (width, width, size)
                    expected[f"{name}.weight_g"] = (width, 1, 1)
                    expected[f"{name}.bias"] = (width,)
    expected |= {"conv_post.weight_v": (1, width, 7), "conv_post.weight_g": (1, 1, 1)}
    expected |= {"conv_post.bias": (1,)}
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == expected


@pytest.mark.parametrize("settings", [TINY, TINY_V3], ids=["1", "2"])
def test_folding_changes_nothing(settings: dict[str, Any]) -> None:
    network = vocoder(settings)
    with torch.no_grad():
        before = network(mels(20, batch=2))
        assert before.shape == (2, 20 * 256)
        after = network.fold_weight_norm()(mels(20, batch=2))
    assert (before - after).abs().max() < 1e-5
    assert "conv_pre.weight" in network.fold_weight_norm().state_dict()


@pytest.mark.parametrize("settings", [TINY, TINY_V3], ids=["1", "2"])
def test_the_layout_on_cpus_changes_nothing(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = vocoder(settings).double()
    mel = mels(9, batch=2).double()
    wav = network(mel)
    monkeypatch.setattr("emovc.common.vocoder.by_channels", lambda x: x)
    torch.testing.assert_close(network(mel), wav, rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", [TINY, TINY_V3], ids=["1", "2"])
def test_pieces_give_the_whole_and_margin_is_exact(settings: dict[str, Any]) -> None:
    network = vocoder(settings).double()
    mel = mels(32).double()
    with torch.no_grad():
        whole = network(mel)
        for network.chunk_frames in (9, 31):
            assert (network(mel) - whole).abs().max() < 1e-12
        network.chunk_frames = 32
        mel[..., 16] += 1
        changed = (network(mel) - whole)[0].abs().nonzero().flatten() // 256
    reach = max(16 - int(changed.min()), int(changed.max()) - 16)
    assert network.margin == reach


def as_reference(network: HiFiGAN) -> Any:
    """Transformers' HiFi-GAN with the same weights."""
    pytest.importorskip("transformers")
    from transformers import SpeechT5HifiGanConfig
    from transformers.models.speecht5.modeling_speecht5 import SpeechT5HifiGan

    settings = {k: v for k, v in network.settings.items() if k != "resblock"}
    rate = network.frontend.sample_rate
    config = SpeechT5HifiGanConfig(
        model_in_dim=80, sampling_rate=rate, normalize_before=False, **settings
    )
    reference = SpeechT5HifiGan(config).eval()
    state = network.fold_weight_norm().state_dict()
    renamed = {name.replace("ups.", "upsampler."): value for name, value in state.items()}
    missing, unexpected = reference.load_state_dict(renamed, strict=False)
    assert set(missing) == {"mean", "scale"} and not unexpected
    return reference


@pytest.mark.parametrize("settings", [TINY, dict(TINY, resblock_kernel_sizes=(3, 5, 9))])
def test_random_weights_give_what_transformers_gives(settings: dict[str, Any]) -> None:
    network = vocoder(settings)
    with torch.no_grad():
        expected = as_reference(network)(mels(30, batch=2).transpose(1, 2))
        assert (network(mels(30, batch=2)) - expected).abs().max() < 1e-6


def test_the_official_v2_gives_what_transformers_gives(shared: Path, utterance: Tensor) -> None:
    network = HiFiGAN.from_pretrained(shared / "weights" / "hifigan_lj_v2")
    assert network.pretrained and not network.training
    assert network.frontend.mel_id == LogMel().mel_id
    mel = network.frontend(utterance)
    with torch.no_grad():
        wav = network(mel)
        expected = as_reference(network)(mel.transpose(1, 2))
    assert wav.abs().max() > 0.1
    assert (wav - expected).abs().max() < 1e-5


def test_the_official_v2_copies_speech(shared: Path, utterance: Tensor) -> None:
    network = HiFiGAN.from_pretrained(shared / "weights" / "hifigan_lj_v2")
    mel = network.frontend(utterance)
    with torch.no_grad():
        copy = network(mel)
    assert copy.shape == (1, mel.shape[2] * 256)
    assert (network.frontend(copy) - mel).abs().mean() < 0.45  # silence is 3 or more off


def test_the_official_v2_survives_saving(shared: Path, tmp_path: Path) -> None:
    network = HiFiGAN.from_pretrained(shared / "weights" / "hifigan_lj_v2")
    network.save_pretrained(tmp_path / "again")
    for again in (HiFiGAN.from_pretrained(tmp_path / "again", fold=f) for f in (True, False)):
        with torch.no_grad():
            assert (again(mels(10)) - network(mels(10))).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(upsample_rates=(8, 8, 4)), "equally long"),
        (dict(upsample_rates=(8, 8, 2, 4)), "multiply to 512"),
        (dict(upsample_kernel_sizes=(15, 16, 4, 4)), "by even numbers"),
        (dict(resblock="3"), "must be '1' or '2'"),
        (dict(resblock_kernel_sizes=(3, 4, 5)), "must be odd"),
        (dict(upsample_initial_channel=24), "a multiple of 16"),
        (dict(resblock_dilation_sizes=((1, 3),)), "equally long"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HiFiGAN(**{**TINY, **changes})


def test_autocast_keeps_the_last_layer_exact() -> None:
    network = vocoder(TINY)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wav = network(mels(10))
    assert wav.dtype == torch.float32
    assert wav.unique().numel() > 1000  # bfloat16 has 8 bits of precision
    with torch.no_grad():
        assert (wav - network(mels(10))).abs().max() < 0.05
