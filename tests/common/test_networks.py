"""Stored outputs of networks: on the mel's clock, alone as in a batch, never of random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.common.whisper_models import TINY_DIM, write_tiny_whisper

from emovc.common.emotion2vec import Emotion2vec
from emovc.common.errors import UserError
from emovc.common.feature_set import open_features
from emovc.common.features.extraction import extract
from emovc.common.features.making import make_feature
from emovc.common.features.networks import Emotion2vecFeature, SslFeature
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance
from emovc.common.ssl_frames import SslFrames
from emovc.common.wav import read_wav, write_wav

RATE, HOP = 22_050, 256


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    found = []
    for n in (9_000, 30_001, 12_345):
        path = folder / f"{n}.wav"
        write_wav(path, 0.1 * rng.standard_normal(n), RATE)
        found.append(Utterance(f"c/{n}", path, sha256_of(path), RATE, n, "c_a", "c"))
    return found


def test_frames_are_stored_on_the_clock_of_the_mel(
    whisper: Path, utterances: list[Utterance], tmp_path: Path
) -> None:
    """One row per whole hop, each that of the file alone, opened as F0 is."""
    item = {
        "class_path": "emovc.common.features.networks.SslFeature",
        "init_args": {"source": str(whisper), "layer": 1, "dim": TINY_DIM, "name": "whisper"},
    }
    feature = make_feature(item, RATE, "features.yaml")
    extract(utterances, tmp_path / "features", RATE, networks=[feature], accelerator="cpu")
    opened = open_features(tmp_path / "m.jsonl", utterances, ["whisper"], [], RATE, HOP)
    assert list(opened.per_frame) == ["whisper"] and not opened.per_utterance
    frames = SslFrames(whisper, 1, TINY_DIM, RATE, HOP)
    frames.load()
    for utterance in utterances:
        wav, _ = read_wav(utterance.path, RATE)
        n = len(wav) // HOP
        alone = frames(torch.from_numpy(wav)[None], torch.tensor([len(wav)]), n)[0].T
        stored = torch.tensor(opened.stores["whisper"].get(utterance.sha256))
        torch.testing.assert_close(stored, alone, atol=1e-5, rtol=0)
        middle = opened.stores["whisper"].get(utterance.sha256, 5, 10)
        torch.testing.assert_close(torch.tensor(middle), alone[5:15], atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="was made for 22050 Hz and hop 256"):
        open_features(tmp_path / "m.jsonl", utterances, ["whisper"], [], RATE, 320)


def test_what_the_frames_depend_on_is_their_key(whisper: Path, tmp_path: Path) -> None:
    other = write_tiny_whisper(tmp_path / "other", seed=1)
    made = [
        SslFeature.from_pretrained(source, RATE, layer, TINY_DIM, hop, name).settings
        for source, layer, hop, name in (
            (whisper, 1, HOP, "a"),
            (whisper, 1, HOP, "b"),
            (other, 1, HOP, "a"),
            (whisper, 2, HOP, "a"),
            (whisper, 1, 320, "a"),
        )
    ]
    assert made[0] == made[1] and all(made[0] != one for one in made[2:])
    with pytest.raises(UserError, match="has random weights"):
        SslFeature(SslFrames(whisper, 1, TINY_DIM))
    mixed = SslFrames(whisper, [0, 1], TINY_DIM)
    mixed.load()
    with pytest.raises(UserError, match="a mixture of layers is not trained here"):
        SslFeature(mixed)
    with pytest.raises(UserError, match="set dim to 16"):
        SslFeature.from_pretrained(whisper, RATE, 1)


def test_vectors_of_emotion2vec_are_those_of_each_utterance_alone() -> None:
    encoder = Emotion2vec(
        dim=32, heads=2, depth=2, prenet_depth=1, extra_tokens=2, conv_channels=16, pos_width=10,
        pos_depth=2, pos_groups=4,
    ).eval()  # fmt: skip
    with pytest.raises(UserError, match="has random weights"):
        Emotion2vecFeature(encoder)
    encoder.pretrained = True
    feature = Emotion2vecFeature(encoder)
    wav, lengths = torch.randn(3, 9_000), torch.tensor([9_000, 4_000, 1_000])
    for row, length, value in zip(wav, lengths, feature(wav, lengths), strict=True):
        (alone,) = feature(row[None, :length], length[None])
        torch.testing.assert_close(value, alone, atol=1e-5, rtol=0)
        assert value.shape == (1, 32)
