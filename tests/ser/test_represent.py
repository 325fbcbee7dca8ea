"""``emovc represent``: from a YAML list to the feature store, once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from emovc.common.errors import UserError
from emovc.common.features.store import open_store
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.wav import read_wav, write_wav
from emovc.ser.codec import Codec
from emovc.ser.emotion_encoder import EmotionEncoder
from emovc.ser.extract_representations import main, read_list
from emovc.ser.representations import EmotionFeature

RATE = 16_000
SHIPPED = Path(__file__).parents[2] / "configs" / "data" / "representations.yaml"
CODEC = "emovc.ser.codec_representations.CodecFeature"
STATISTICS = "emovc.ser.logmel_statistics.LogMelStatistics"
MEL = {"class_path": "emovc.common.audio.LogMel", "init_args": {"sample_rate": RATE}}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five files of noise of different lengths."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    rows = []
    for n in range(5):
        path, samples = folder / f"{n}.wav", 6_000 + 700 * ((3 * n) % 5)
        write_wav(path, 0.1 * rng.standard_normal(samples), RATE)
        rows.append(Utterance(f"c/{n}", path, sha256_of(path), RATE, samples, "c_a", "c"))
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small codec."""
    torch.manual_seed(0)
    made = Codec(
        strides=(8, 5, 4, 2), channels=(4, 4, 8, 8, 8), dim=12, kernel=3, dilations=(1,),
        codebook_size=8, n_stages=2,
    )  # fmt: skip
    made.pretrained = True
    folder = tmp_path_factory.mktemp("codec")
    made.eval().save_pretrained(folder)
    return folder


def described(folder: Path, *items: Any) -> Path:
    path = folder / "features.yaml"
    path.write_text(yaml.safe_dump(list(items)))
    return path


def represent(manifest: Path, features: Path, *more: str) -> None:
    words = [str(manifest), str(features), f"--sample_rate={RATE}", "--accelerator=cpu"]
    main("represent", [*words, "--batch_size=2", *more])


def test_the_store_holds_what_the_networks_say(
    manifest: Path, codec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = described(
        tmp_path,
        {"class_path": CODEC, "init_args": {"source": str(codec)}},
        {"class_path": STATISTICS, "init_args": {"frontend": MEL}},
    )
    represent(manifest, features)
    assert "codec: 5 extracted to" in capsys.readouterr().out
    network = Codec.from_pretrained(codec)
    store = open_store(manifest.parent / "features", "codec")
    assert store.settings["sample_rate"] == RATE and store.settings["latent"] == "pre"
    for path in sorted(manifest.parent.glob("*.wav")):
        wav = torch.from_numpy(read_wav(path, RATE)[0])[None]
        with torch.no_grad():
            expected = network.encode(wav)[0].mean(1)
        np.testing.assert_allclose(store.get(sha256_of(path))[0], expected.numpy(), atol=1e-6)
    stats = open_store(manifest.parent / "features", "logmel_stats")
    assert stats.get(sha256_of(path)).shape == (1, 160)
    represent(manifest, features)
    assert "codec: 0 extracted to" in capsys.readouterr().out


def test_variants_of_a_feature_have_names(manifest: Path, codec: Path, tmp_path: Path) -> None:
    one = {"class_path": CODEC, "init_args": {"source": str(codec)}}
    after = {"source": str(codec), "latent": "post"}
    two = {"class_path": CODEC, "init_args": after}
    with pytest.raises(UserError, match="two features are called codec; give one another name"):
        represent(manifest, described(tmp_path, one, two))
    after["name"] = "codec_post"
    represent(manifest, described(tmp_path, one, two))
    assert open_store(manifest.parent / "features", "codec_post").settings["latent"] == "post"


def test_mistakes_are_said_in_a_line(manifest: Path, codec: Path, tmp_path: Path) -> None:
    def refuses(message: str, *items: Any) -> None:
        with pytest.raises(UserError, match=message):
            represent(manifest, described(tmp_path, *items))

    def item(path: str, **arguments: Any) -> dict[str, Any]:
        return {"class_path": path, "init_args": arguments}

    refuses("class emovc.ser.nothing.Such does not exist", item("emovc.ser.nothing.Such"))
    refuses("class_path 'CodecFeature' is malformed", item("CodecFeature"))
    neural = CODEC.replace("CodecFeature", "NeuralCodecFeature")
    refuses("NeuralCodecFeature needs source; add it to its init_args", item(neural))
    refuses(
        "has no setting 'stages'; it has sample_rate, source",
        item(CODEC, source=str(codec), stages=2),
    )
    refuses("neither a run", item(CODEC, source=str(tmp_path)))
    refuses("hears 22050 Hz, but the audio is read at 16000 Hz", item(STATISTICS))
    refuses("must be a list of class_path and init_args", {"class": CODEC})
    refuses("must be a list of class_path and init_args")
    with pytest.raises(UserError, match=r"no such file; configs/data/representations\.yaml"):
        represent(manifest, tmp_path / "none.yaml")


def test_the_shipped_list_names_what_there_is() -> None:
    names = [item["class_path"].rpartition(".")[2] for item in read_list(SHIPPED)]
    assert names == ["DvectorFeature", "EmotionFeature", "CodecFeature", "LogMelStatistics"]


def test_the_emotion_encoders_embedding_is_the_feature() -> None:
    torch.manual_seed(0)
    encoder = EmotionEncoder(sample_rate=RATE)
    with pytest.raises(UserError, match="has random weights"):
        EmotionFeature(encoder)
    encoder.pretrained = True
    feature = EmotionFeature(encoder.eval())
    wav, lengths = 0.1 * torch.randn(2, RATE), torch.tensor([RATE, 12_000])
    values = feature(wav, lengths)
    assert [value.shape for value in values] == [(1, 128), (1, 128)]
    (alone,) = feature(wav[1:, :12_000], lengths[1:])
    torch.testing.assert_close(values[1], alone, atol=1e-5, rtol=1e-4)
    assert feature.settings["trained_on"] == []
