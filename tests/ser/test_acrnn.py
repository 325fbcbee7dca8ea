"""The ACRNN: sizes of the original, properties, and a training from the command line."""

from pathlib import Path

import pytest
import torch
import yaml

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.fit import cli
from emovc.ser.acrnn import ACRNN, ACRNNRecogniser, largest_per_owner
from emovc.ser.deltas import with_deltas

SMALL = {
    "n_bands": 20, "first_channels": 4, "channels": 6, "n_convs": 2, "linear_dim": 12,
    "lstm_dim": 5, "hidden_dim": 7,
}  # fmt: skip


@pytest.fixture
def network() -> ACRNN:
    torch.manual_seed(0)
    return ACRNN(**SMALL).eval()


@pytest.mark.parametrize(
    ("n_bands", "printed", "exact"), [(40, 7.33, 7334726), (80, 9.30, 9300806)]
)
def test_it_learns_as_many_parameters_as_the_original(
    n_bands: int, printed: float, exact: int
) -> None:
    """Convolutions, linear layer with batch normalisation, BLSTM, attention, two last layers."""
    convs = 3 * 15 * 128 + 128 + (128 * 15 * 256 + 256) + 4 * (256 * 15 * 256 + 256)
    linear = n_bands // 4 * 256 * 768 + 768 + 2 * 768
    lstm = 2 * 4 * (128 * (768 + 128) + 128)  # one bias, as in the original
    rest = (256 + 1 + 1) + (256 * 64 + 64) + (64 * 4 + 4)
    count = sum(p.numel() for p in ACRNN(n_bands).parameters() if p.requires_grad)
    assert count == convs + linear + lstm + rest == exact
    assert round(count / 1e6, 2) == printed


def test_the_bias_that_is_not_learned_is_the_forget_gates_one(network: ACRNN) -> None:
    fixed = {n: p for n, p in network.named_parameters() if not p.requires_grad}
    assert sorted(fixed) == ["lstm.bias_hh_l0", "lstm.bias_hh_l0_reverse"]
    for bias in fixed.values():
        assert bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10


def test_normalisation_gives_each_band_and_delta_mean_0_and_deviation_1(network: ACRNN) -> None:
    mel = 3 + 5 * torch.rand(6, 20, 30) * torch.arange(1.0, 21)[:, None]
    network.fit_normalisation(mel.split(4))
    z = (with_deltas(mel) - network.mean) / network.deviation
    torch.testing.assert_close(z.mean((0, 3)), torch.zeros(3, 20), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std((0, 3), correction=0), torch.ones(3, 20), atol=1e-4, rtol=0)


def test_after_normalisation_scale_and_offset_of_the_mel_do_not_matter(network: ACRNN) -> None:
    mel = torch.randn(4, 20, 30)
    network.fit_normalisation([mel])
    expected = network(mel)
    other = 2.302585 * mel - 7
    network.fit_normalisation([other])
    torch.testing.assert_close(network(other), expected, atol=1e-4, rtol=1e-3)


def test_a_constant_band_stays_finite(network: ACRNN) -> None:
    mel = torch.randn(4, 20, 30)
    mel[:, 3] = 0.25
    network.fit_normalisation([mel])
    assert network(mel).isfinite().all()


def test_windows_do_not_see_each_other_and_any_length_goes(network: ACRNN) -> None:
    mel = torch.randn(3, 20, 41)
    torch.testing.assert_close(network(mel)[1:2], network(mel[1:2]), atol=1e-5, rtol=1e-4)
    assert network(torch.randn(2, 20, 10)).shape == (2, 4)


def test_it_learns_which_band_is_loud_and_which_way_a_glide_goes(network: ACRNN) -> None:
    """Classes 0, 1 differ in their bands, 2, 3 in time only: rising or falling."""
    torch.manual_seed(0)
    ramp = torch.linspace(-1, 1, 24)
    shapes = torch.zeros(4, 20, 24)
    shapes[0, :8], shapes[1, 12:], shapes[2], shapes[3] = 2, 2, ramp, -ramp
    labels = torch.arange(4).repeat(8)
    mel = shapes[labels] + 0.2 * torch.randn(32, 20, 24)
    network.fit_normalisation([mel])
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(network.train()(mel), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fresh = shapes[labels] + 0.2 * torch.randn(32, 20, 24)
    assert (network.eval()(fresh).argmax(1) == labels).float().mean() > 0.95


def test_the_largest_logit_of_the_windows_is_taken_class_by_class() -> None:
    logits = torch.tensor([[1.0, 5.0], [4.0, -2.0], [0.0, 0.5]])
    owner = torch.tensor([1, 1, 0])
    assert largest_per_owner(logits, owner, 2).tolist() == [[0.0, 0.5], [4.0, 5.0]]


def test_a_recording_is_judged_by_its_first_and_last_window() -> None:
    frontend = LogMel(sample_rate=8000, n_mels=20, f_max=4000)
    recogniser = ACRNNRecogniser(ACRNN(**SMALL), frontend, window_frames=16).eval()
    lengths = torch.tensor([256 * 40, 256 * 10, 256 * 16])
    wav = torch.randn(3, 256 * 40) * (torch.arange(256 * 40) < lengths[:, None])
    windows, owner = recogniser.windows(wav, lengths)
    mel = frontend(wav)
    assert owner.tolist() == [0, 0, 1, 2]
    assert windows.shape == (4, 20, 16)
    assert torch.equal(windows[0], mel[0, :, :16])
    assert torch.equal(windows[1], mel[0, :, 24:40])
    assert torch.equal(windows[2, :, :10], mel[1, :, :10])
    assert (windows[2, :, 10:] == frontend.log_floor).all()
    assert torch.equal(
        recogniser(wav, lengths), largest_per_owner(recogniser.network(windows), owner, 3)
    )


@pytest.mark.parametrize(
    ("emotions", "n_mels", "message"),
    [
        (("angry", "sad"), 20, "2 for 4 classes"),
        (("angry", "sad", "happy", "amused"), 20, "amused"),
        (("angry", "sad", "happy", "neutral"), 40, "20 for a front end of 40"),
    ],
)
def test_a_recogniser_whose_parts_do_not_fit_is_refused(
    emotions: tuple[str, ...], n_mels: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ACRNNRecogniser(ACRNN(**SMALL), LogMel(n_mels=n_mels), emotions)


def run_words(tmp_path: Path, toy: Path, emotions: list[str]) -> list[str]:
    """Words of a small training on the toy corpus."""
    model = {
        "network": {"class_path": "emovc.ser.acrnn.ACRNN", "init_args": SMALL},
        "frontend": {"class_path": "emovc.common.audio.LogMel", "init_args": {"n_mels": 20}},
        "emotions": ["angry", "happy", "neutral", "sad"],
        "window_frames": 64,
    }
    recogniser = {"class_path": "emovc.ser.acrnn.ACRNNRecogniser", "init_args": model}
    best = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {
            "dirpath": str(tmp_path / "run" / "checkpoints"),
            "filename": "best",
            "monitor": "val/uar",
            "mode": "max",
        },
    }
    config = {
        "run": str(tmp_path / "run"),
        "model": {
            "class_path": "emovc.ser.acrnn_training.LitACRNN",
            "init_args": {"model": recogniser},
        },
        "data": {
            "class_path": "emovc.common.data.SpeechDataModule",
            "init_args": {"manifest": str(toy), "emotions": emotions, "batch_size": 8},
        },
        "trainer": {
            "max_steps": 4, "val_check_interval": 2, "accelerator": "cpu", "logger": False,
            "callbacks": [best], "enable_progress_bar": False, "enable_model_summary": False,
        },
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return ["fit", "-c", str(tmp_path / "config.yaml")]


def test_fit_keeps_the_best_step_which_loads_without_lightning(tmp_path: Path, toy: Path) -> None:
    done = cli(run_words(tmp_path, toy, ["angry", "happy", "neutral", "sad"]))
    trained = done.model.model
    assert {"val/uar", "val/recall_sad"} <= done.trainer.callback_metrics.keys()
    loaded = ACRNNRecogniser.from_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert loaded.pretrained
    assert not trained.pretrained
    assert torch.equal(loaded.network.mean, trained.network.mean)
    assert loaded.network.deviation.ne(1).all()
    assert loaded(torch.randn(1, 40_000), torch.tensor([40_000])).shape == (1, 4)


def test_data_of_other_emotions_are_refused(tmp_path: Path, toy: Path) -> None:
    with pytest.raises(UserError, match=r"data.emotions: .*angry, happy, neutral, sad"):
        cli(run_words(tmp_path, toy, ["angry", "sad"]))
