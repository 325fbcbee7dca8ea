"""HiFi-GAN generators on disk: what is loaded, what comes back, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.vocoder import HiFiGAN

TINY: dict[str, Any] = dict(upsample_initial_channel=16)


def vocoder(settings: dict[str, Any], seed: int = 0) -> HiFiGAN:
    """A random generator in evaluation mode."""
    torch.manual_seed(seed)
    return HiFiGAN(**settings).eval()


def mels(n_frames: int) -> Tensor:
    """Random log-mels (1, 80, T) in the range of speech."""
    return torch.randn(1, 80, n_frames, generator=torch.Generator().manual_seed(1)) * 2 - 5


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a tiny generator, written by ``save_pretrained``."""
    network = vocoder(TINY)
    network.pretrained = True  # stands for a trained one
    network.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_saved_folders_are_loaded(saved: Path) -> None:
    network = vocoder(TINY)
    again = HiFiGAN.from_pretrained(saved, fold=False)
    assert again.settings == network.settings and again.frontend.mel_id == network.frontend.mel_id
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    folded = HiFiGAN.from_pretrained(saved / "model.safetensors")
    with torch.no_grad():
        assert torch.allclose(folded(mels(9)), network(mels(9)), atol=1e-6)


def test_a_mel_that_official_configs_cannot_tell_is_kept(tmp_path: Path) -> None:
    frontend = LogMel.speecht5()
    network = HiFiGAN(frontend, **TINY)
    network.pretrained = True
    network.save_pretrained(tmp_path, card="a card")
    assert HiFiGAN.from_pretrained(tmp_path).frontend.settings == frontend.settings
    assert (tmp_path / "README.md").read_text() == "a card"


@pytest.mark.parametrize("newer_names", [False, True])
def test_official_files_are_found_and_read(saved: Path, newer_names: bool) -> None:
    state = vocoder(TINY).state_dict()
    if newer_names:
        state = {
            k.replace("weight_g", "parametrizations.weight.original0").replace(
                "weight_v", "parametrizations.weight.original1"
            ): v
            for k, v in state.items()
        }
    (saved / "model.safetensors").unlink()
    torch.save({"generator": vocoder(TINY, seed=5).state_dict()}, saved / "generator_v2")
    torch.save({"generator": vocoder(TINY, seed=5).state_dict()}, saved / "g_00005000")
    torch.save({"generator": state}, saved / "g_02500000")
    (saved / "do_02500000").touch()
    network = HiFiGAN.from_pretrained(saved)
    with torch.no_grad():
        assert torch.allclose(network(mels(9)), vocoder(TINY)(mels(9)), atol=1e-6)


def edit(saved: Path, **changes: Any) -> None:
    """Change keys of a config.json; None removes one."""
    config = {**read_json(saved / "config.json"), **changes}
    config = {k: v for k, v in config.items() if v is not None}
    (saved / "config.json").write_text(json.dumps(config))


def test_checkpoints_that_do_not_fit_are_refused(saved: Path, tmp_path: Path) -> None:
    def refuses(path: Path, message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            HiFiGAN.from_pretrained(path)
        assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)

    refuses(tmp_path / "none", "no such vocoder")
    (tmp_path / "empty").mkdir()
    refuses(tmp_path / "empty", "holds no vocoder")
    whole = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refuses(saved, "not a whole checkpoint")
    (saved / "model.safetensors").write_bytes(whole)
    torch.save({"mpd": {}, "msd": {}}, saved / "do_1")
    refuses(saved / "do_1", "holds no HiFi-GAN generator")
    torch.save({"generator": vocoder(TINY).state_dict()}, saved / "g_1")
    (saved / "g_1").write_bytes((saved / "g_1").read_bytes()[:20_000])
    refuses(saved / "g_1", "not a whole checkpoint")
    edit(saved, upsample_initial_channel=32)
    refuses(saved, r"have another shape \(conv_pre")
    edit(saved, upsample_initial_channel=16, hop_size=200, mel=None)
    refuses(saved, "multiply to 256, but the mel's hop is 200")
    edit(saved, hop_size=256, win_size=800)
    refuses(saved, "win_size 800 differs from n_fft 1024")
    edit(saved, win_size=1024, fmin=None)
    refuses(saved, r"config\.json: lacks fmin")
    (saved / "config.json").write_text("{")
    refuses(saved, "not valid JSON")
    (saved / "config.json").unlink()
    refuses(saved, r"config\.json: no such file")


def test_other_mels_are_refused(saved: Path) -> None:
    network = HiFiGAN.from_pretrained(saved)
    network.require_mel(LogMel())
    with pytest.raises(UserError, match=r"the vocoder was made for another mel \(f_max=8000.0"):
        network.require_mel(LogMel(f_max=7600.0))


def test_random_weights_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the weights of this HiFiGAN are random"):
        vocoder(TINY).save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()
