"""Parity with FunASR's own class on the same random weights."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from emovc.common.emotion2vec import Emotion2vec

TINY = dict(
    dim=32, heads=2, depth=2, prenet_depth=1, extra_tokens=2, conv_channels=16,
    pos_width=10, pos_depth=2, pos_groups=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def funasr_class() -> Iterator[Any]:
    """FunASR's Emotion2vec, without the 20 s in which ``import funasr`` imports every model."""
    found = importlib.util.find_spec("funasr")
    if found is None:
        pytest.skip("FunASR is not installed (extra emotion2vec)")
    before = set(sys.modules)
    if "funasr" not in before:
        stub = types.ModuleType("funasr")
        stub.__path__ = list(found.submodule_search_locations or ())
        sys.modules["funasr"] = stub
    yield importlib.import_module("funasr.models.emotion2vec.model").Emotion2vec
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "funasr":
            del sys.modules[name]


def model_conf(settings: dict[str, Any]) -> dict[str, Any]:
    """FunASR's description of a network with our settings."""
    channels = settings["conv_channels"]
    audio = dict(
        feature_encoder_spec=f"[({channels},10,5)] + [({channels},3,2)]*4 + [({channels},2,2)]*2",
        extractor_mode="layer_norm", conv_pos_width=settings["pos_width"],
        conv_pos_depth=settings["pos_depth"], conv_pos_groups=settings["pos_groups"],
        conv_pos_pre_ln=False, prenet_depth=settings["prenet_depth"], prenet_layerdrop=0.0,
        prenet_dropout=0.1, start_drop_path_rate=0.0, end_drop_path_rate=0.0,
        num_extra_tokens=settings["extra_tokens"], init_extra_token_zero=True,
        local_grad_mult=1.0, use_alibi_encoder=True, num_alibi_heads=settings["heads"],
        alibi_scale=1.0, learned_alibi=False, alibi_max_pos=None, learned_alibi_scale=True,
        learned_alibi_scale_per_head=True, learned_alibi_scale_per_layer=False,
        model_depth=settings["depth"], decoder=None,
    )  # fmt: skip
    return dict(
        embed_dim=settings["dim"], num_heads=settings["heads"], depth=settings["depth"],
        mlp_ratio=4.0, norm_eps=1e-5, norm_affine=True, layer_norm_first=False,
        end_of_block_targets=False, encoder_dropout=0.1, attention_dropout=0.1,
        activation_dropout=0.0, post_mlp_drop=0.1, dropout_input=0.0, start_drop_path_rate=0.0,
        end_drop_path_rate=0.0, layerdrop=0.0, clone_batch=8, normalize=True,
        modalities=dict(audio=audio),
    )  # fmt: skip


def pair(funasr_class: Any, settings: dict[str, Any]) -> tuple[Any, Emotion2vec]:
    """FunASR's network and ours in float64, their weights larger than at initialisation.

    FunASR's norms compute in float32 all the same, and differ by up to 3e-6 for it.
    """
    torch.manual_seed(0)
    ours = Emotion2vec(**settings).eval()
    theirs = funasr_class(model_conf=model_conf(ours.settings), vocab_size=9).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.mul_(1.5)
        theirs.modality_encoders.AUDIO.alibi_scale.uniform_(0.5, 2.0)
        theirs.modality_encoders.AUDIO.alibi_scale[0, 0, 0] = -0.5  # to be clamped at 0
    assert set(ours.state_dict()) == set(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return theirs.double(), ours.double()


@pytest.mark.parametrize("settings", [TINY, {}, {**TINY, "dim": 48, "heads": 3, "pos_width": 8}])
def test_equals_funasr(funasr_class: Any, settings: dict[str, Any]) -> None:
    theirs, ours = pair(funasr_class, {**settings, "n_classes": 9})
    extra = ours.settings["extra_tokens"]
    for n in (400, 719, 720, 16_000, 48_123):
        wav = torch.randn(1, n).double()
        with torch.no_grad():
            expected = theirs.extract_features(F.layer_norm(wav, wav.shape))
            out = ours(wav, layers=True)
        torch.testing.assert_close(out.frames, expected["x"], atol=1e-5, rtol=0)
        for layer, result in zip(out.layers, expected["layer_results"], strict=True):
            torch.testing.assert_close(layer, result[:, extra:], atol=1e-5, rtol=0)
        scores = theirs.proj(expected["x"].mean(dim=1))
        torch.testing.assert_close(ours.logits(out.utterance), scores, atol=1e-5, rtol=0)


def test_gradients_equal_funasr_s(funasr_class: Any) -> None:
    theirs, ours = pair(funasr_class, {**TINY, "n_classes": 9})
    wav = torch.randn(1, 5_000).double()
    gradients = []
    for model in (theirs, ours):
        leaf = wav.clone().requires_grad_()
        if model is ours:
            frames = ours(leaf).frames
        else:
            frames = theirs.extract_features(F.layer_norm(leaf, leaf.shape))["x"]
        (frames * torch.linspace(-1, 1, 32)).sum().backward()
        scale = model.modality_encoders["AUDIO"].alibi_scale.grad
        gradients.append((leaf.grad, scale))

    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-5)
