"""The network of MSP-Podcast: padding, head, and weights through the real loading code."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emovc.common.errors import UserError
from emovc.ser.arousal_judge import MspDimJudge
from emovc.ser.msp_dim import MspDim

CONFIG: dict[str, Any] = dict(
    model_type="wav2vec2", hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=48, conv_dim=[16] * 7, feat_extract_norm="layer", conv_bias=True,
    do_stable_layer_norm=True, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> MspDim:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return MspDim(CONFIG).eval()


@pytest.fixture(scope="module")
def folder(network: MspDim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the format of the public ones, with the names of the old weight norm."""
    path = tmp_path_factory.mktemp("msp_dim")
    old = {"original0": "weight_g", "original1": "weight_v"}
    weights = {}
    for name, value in network.state_dict().items():
        head, _, last = name.partition(".parametrizations.weight.")
        weights[f"{head}.{old[last]}" if last else name] = value.clone()
    save_file(weights, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def test_a_padded_batch_is_each_utterance_alone(network: MspDim) -> None:
    torch.manual_seed(1)
    lengths = torch.tensor([9000, 7001, 4000])
    wav = torch.full((3, 9000), float("nan"))
    for row, length in zip(wav, lengths, strict=True):
        row[:length] = torch.randn(int(length)) + 0.3
    batch = network(wav, lengths)
    for i, length in enumerate(lengths):
        single = network(wav[i : i + 1, :length])
        for together, alone in zip(batch, single, strict=True):
            torch.testing.assert_close(together[i], alone[0], atol=1e-5, rtol=1e-4)


def test_the_head_is_dense_tanh_and_projection_of_the_mean_state(network: MspDim) -> None:
    """Against transformers' own wav2vec 2.0 and the arithmetic of the model's card."""
    wav = torch.randn(1, 8000, generator=torch.Generator().manual_seed(2))
    out = network(wav)
    normal = (wav - wav.mean()) / torch.sqrt(wav.var(unbiased=False) + 1e-7)
    mean = network.wav2vec2(normal).last_hidden_state.mean(dim=1)
    state = network.classifier.state_dict()
    hidden = torch.tanh(mean @ state["dense.weight"].T + state["dense.bias"])
    scores = hidden @ state["out_proj.weight"].T + state["out_proj.bias"]
    torch.testing.assert_close(out.embedding, mean, atol=1e-5, rtol=1e-5)
    found = torch.stack([out.arousal, out.dominance, out.valence], dim=1)
    torch.testing.assert_close(found, scores, atol=1e-5, rtol=1e-5)


def test_neither_level_nor_offset_matters(network: MspDim) -> None:
    wav = torch.randn(1, 8000, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        network(wav).arousal, network(5 * wav + 0.5).arousal, atol=1e-4, rtol=1e-3
    )


def test_gradients_reach_the_waveform(network: MspDim) -> None:
    wav = torch.randn(1, 4000, requires_grad=True)
    network(wav).arousal.sum().backward()
    assert wav.grad is not None and wav.grad.abs().max() > 0


def test_public_weights_load_exactly_and_their_licence_is_said(
    network: MspDim, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        loaded = MspDim.from_pretrained(folder)
    assert loaded.pretrained and not loaded.training and not network.pretrained
    assert "CC BY-NC-SA" in caplog.text
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_saved_weights_load_again_and_random_ones_are_not_saved(
    network: MspDim, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="are random"):
        network.save_pretrained(tmp_path)
    MspDim.from_pretrained(folder).save_pretrained(tmp_path)
    wav = torch.randn(1, 4000)
    torch.testing.assert_close(MspDim.from_pretrained(tmp_path)(wav).arousal, network(wav).arousal)


def test_missing_weights_other_models_and_no_network_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    with pytest.raises(UserError, match=r"1 weights are missing \(classifier.dense.bias"):
        MspDim.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}', encoding="utf-8")
    with pytest.raises(UserError, match="of a hubert model"):
        MspDim.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        MspDim.from_pretrained(tmp_path / "nothing")
    with pytest.raises(UserError, match="downloads are off"):
        MspDim.from_pretrained(offline=True)


def test_less_than_a_frame_is_refused(network: MspDim) -> None:
    with pytest.raises(UserError, match="shorter than the 25 ms"):
        network(torch.randn(1, 399))


def test_the_judge_hears_what_the_network_says(folder: Path) -> None:
    judge = MspDimJudge(str(folder))
    wav = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    with torch.inference_mode():
        expected = float(judge.model(torch.from_numpy(wav)[None]).arousal.clamp(0, 1)[0])
    assert judge.hear(wav, 16_000) == pytest.approx(expected, abs=1e-6)
    assert judge.about["trained_on"] == ["msp_podcast"]
    assert set(judge.metrics) == {"arousal_msp-dim", "arousal_mse_msp-dim", "arousal_abs_msp-dim"}
