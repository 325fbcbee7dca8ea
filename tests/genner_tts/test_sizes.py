"""Parameter counts of the published model."""

import pytest
import torch
from torch import nn

from emovc.genner_tts.acoustic import GennerAcoustic
from emovc.genner_tts.style_level import StyleLevel

UNUSED = 52_480  # of a condition layer per level that the authors' code never feeds; left out here


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.fixture(scope="module")
def published() -> GennerAcoustic:
    with torch.device("meta"):
        return GennerAcoustic(82, emotion_dim=256)


def test_the_whole_has_the_published_size(published: GennerAcoustic) -> None:
    assert count(published) + 3 * UNUSED == 51_643_224
    assert count(published) + 3 * UNUSED == 51_622_232 + 256 * 82
    with torch.device("meta"):
        assert count(GennerAcoustic(82)) + 3 * UNUSED == 51_774_296


def test_each_module_has_the_published_size(published: GennerAcoustic) -> None:
    found = {name: count(module) for name, module in published.named_modules()}
    wanted = {
        "encoder.embedding": 20_992,
        "encoder.blocks": 11_544_064,
        "decoder": 11_544_065,
        "mel": 20_560,
        "style.speaker": 65_792,
        "style.emotion": 65_792,
        "durations": 395_009,
        "pitch.agnostic": 657_411,
        "pitch.specific": 985_859,
        "pitch.embedding": 76_800,
        "mix_style": 131_584,
        "postnet": 14_589_472,
    }
    assert {name: found[name] for name in wanted} == wanted
    conditions = [found[f"postnet.blocks.{i}.coupling.condition"] for i in range(8)]
    assert sum(conditions) == 13_578_240


@pytest.mark.parametrize("level", ["frame", "phone", "word"])
def test_each_level_has_the_published_size(published: GennerAcoustic, level: str) -> None:
    part = published.levels[level]
    assert isinstance(part, StyleLevel)
    assert count(part.encoder.wavenet) + UNUSED == 253_280
    assert count(part.encoder.encoder) == 833_856
    assert count(part.encoder) + UNUSED == 1_087_136
    assert count(part.keys) == 131_328
    assert count(part.aligner) == 2_630_144
    assert part.encoder.quantizer.codebook.shape == (128, 256)
