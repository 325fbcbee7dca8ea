"""What hears emotion, outside of the model's weights, and what training prepares."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from emovc.common.audio import LogMel
from emovc.common.emotion_hearing import HASH_DIGITS, EmotionHearing, hash_in, put_hash
from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore, ShardWriter, store_folder
from emovc.emoconv_diff.encoder import AverageVoiceEncoder
from emovc.emoconv_diff.preparation import emotion_store, load_average_voice
from emovc.ser.representations import EmotionFeature

RATE = 22_050
OTHER = "0123456789ab"
WAV = 0.1 * torch.sin(torch.arange(RATE // 4) / 20)


def store_of(
    root: Path, weights: str | None, dim: int = 128, name: str = "emotion"
) -> FeatureStore:
    """A store of one vector."""
    settings = {"weights": weights} if weights else {"rate": RATE}
    writer = ShardWriter(store_folder(root, name, settings), name, settings)
    writer.add("a" * 64, np.ones((1, dim), np.float32))
    writer.flush()
    return FeatureStore(writer.folder)


@pytest.mark.parametrize("text", ["000000000001", "ffffffffffff", "00ff01fe7f80", OTHER])
def test_a_hash_is_read_as_it_was_written(text: str) -> None:
    buffer = torch.zeros(HASH_DIGITS)
    put_hash(buffer, text)
    assert hash_in(buffer) == text
    put_hash(buffer, OTHER)
    assert hash_in(buffer) == OTHER


def test_zeros_are_no_hash() -> None:
    assert hash_in(torch.zeros(HASH_DIGITS)) is None
    assert EmotionHearing().weights is None


def test_it_hears_what_the_feature_extraction_hears() -> None:
    wanted = EmotionFeature.from_pretrained(RATE)(WAV[None], torch.tensor([len(WAV)]))[0][0]
    found = EmotionHearing()(WAV)
    torch.testing.assert_close(found, wanted)
    assert found.shape == (128,) and not found.requires_grad


def test_the_network_is_neither_trained_nor_saved() -> None:
    hearing = EmotionHearing()
    first = hearing(WAV)
    hearing.train()
    torch.testing.assert_close(hearing(WAV), first)
    assert list(hearing.parameters()) == [] and list(hearing.state_dict()) == ["weights_key"]
    assert list(hearing.modules()) == [hearing]


def test_the_network_of_the_training_is_taken_and_another_is_refused(tmp_path: Path) -> None:
    hearing = EmotionHearing()
    weights = EmotionFeature.from_pretrained(RATE).settings["weights"]
    hearing.follow(store_of(tmp_path, weights))
    hearing(WAV)
    assert hearing.weights == weights

    other = EmotionHearing(arguments={"source": "without_nemo"})
    other.load_state_dict(hearing.state_dict())
    for _ in range(2):
        with pytest.raises(UserError, match=f"the model was trained on vectors of {weights}") as e:
            other(WAV)
    assert "\n" not in str(e.value) and "emotion.arguments" in str(e.value)


def test_the_hash_travels_with_the_weights_of_the_model() -> None:
    hearing, loaded = EmotionHearing(), EmotionHearing()
    put_hash(hearing.weights_key, OTHER)
    loaded.load_state_dict(hearing.state_dict())
    assert loaded.weights == OTHER


def test_stored_vectors_of_another_size_or_of_unknown_weights_are_refused(tmp_path: Path) -> None:
    hearing = EmotionHearing()
    with pytest.raises(UserError, match=r"of shape \(1, 64\), but the model's emotion.dim is 128"):
        hearing.follow(store_of(tmp_path, OTHER, dim=64))
    with pytest.raises(UserError, match="does not tell the weights"):
        hearing.follow(store_of(tmp_path, None))
    assert hearing.weights is None


def test_frames_in_place_of_one_vector_are_refused(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "frames-0", "frames", {"weights": OTHER})
    writer.add("a" * 64, np.ones((5, 128), np.float32))
    writer.flush()
    with pytest.raises(UserError, match=r"of shape \(5, 128\)"):
        EmotionHearing().follow(FeatureStore(writer.folder))


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    ShardWriter(tmp_path / "emotion-0", "emotion", {"weights": OTHER})
    with pytest.raises(UserError, match="is empty"):
        EmotionHearing().follow(FeatureStore(tmp_path / "emotion-0"))


def test_a_network_that_gives_another_size_is_refused() -> None:
    with pytest.raises(UserError, match="gives vectors of 128 values, emotion.dim is 64"):
        EmotionHearing(dim=64)(WAV)


def test_a_network_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="class emovc.ser.representations.Nothing does not exist"):
        EmotionHearing(encoder="emovc.ser.representations.Nothing")(WAV)


def test_the_data_must_carry_speakers_and_emotions(tmp_path: Path) -> None:
    names = ("dvector", "emotion")
    stores = {name: store_of(tmp_path / "features", OTHER, name=name) for name in names}
    data = SimpleNamespace(manifest=tmp_path / "manifest.jsonl", stores=stores)
    assert emotion_store(data, "emotion").name == "emotion"
    for lacking in names:
        data.stores = {name: store for name, store in stores.items() if name != lacking}
        with pytest.raises(UserError, match=f"data.features: lacks {lacking}"):
            emotion_store(data, "emotion")


def average_voice(frontend: LogMel | None = None, hidden: int = 16) -> AverageVoiceEncoder:
    """A small encoder with one value in all its weights, said to be trained."""
    encoder = AverageVoiceEncoder(frontend, dim=16, hidden=hidden, n_layers=1, postnet_dim=8)
    for weight in encoder.parameters():
        nn.init.constant_(weight, 0.25)
    encoder.pretrained = True
    return encoder


def converter() -> Any:
    """What is looked at of a converter: its mel and its encoder, here random."""
    encoder = AverageVoiceEncoder(dim=16, hidden=16, n_layers=1, postnet_dim=8)
    return SimpleNamespace(frontend=LogMel(), encoder=encoder)


def test_a_trained_average_voice_is_taken_over(tmp_path: Path) -> None:
    model = converter()
    average_voice().save_pretrained(tmp_path)
    load_average_voice(model, str(tmp_path))
    assert model.encoder.pretrained
    assert all(weight.eq(0.25).all() for weight in model.encoder.parameters())


def test_an_average_voice_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model.average_voice: is not set; train one"):
        load_average_voice(converter(), None)
    with pytest.raises(UserError, match="model.average_voice: .*; train one with emovc fit"):
        load_average_voice(converter(), str(tmp_path / "nothing"))
    others = {
        "its encoder has hidden 8, the config has 16": average_voice(hidden=8),
        "the encoder was made for another mel": average_voice(LogMel(n_mels=20)),
    }
    for line, other in others.items():
        other.save_pretrained(tmp_path)
        model = converter()
        with pytest.raises(UserError, match=line):
            load_average_voice(model, str(tmp_path))
        assert not model.encoder.pretrained
