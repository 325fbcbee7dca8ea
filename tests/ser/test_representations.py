"""Representations: each utterance gets what it would get alone, from trained networks only."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.resample import Resample
from emovc.common.ssl_frames import ENCODERS, receptive_field, standardised
from emovc.common.transformers_loading import load_transformer
from emovc.ser.codec import Codec
from emovc.ser.codec_representations import CodecFeature, NeuralCodecFeature
from emovc.ser.representations import EncoderFeature, XVectorFeature
from emovc.ser.utterances import Utterances, pooled

RATE, STORE_RATE = 16_000, 22_050


@pytest.fixture(scope="module")
def own_codec() -> Codec:
    """A codec that says it is trained."""
    torch.manual_seed(0)
    codec = Codec(
        strides=(8, 5, 4, 2), channels=(4, 4, 8, 8, 8), dim=12, kernel=3, dilations=(1,),
        codebook_size=8, n_stages=2,
    )  # fmt: skip
    codec.pretrained = True
    return codec.eval()


def speech_like(rate: int, seconds: float, seed: int) -> Tensor:
    """Noise with a slow envelope, (N,)."""
    n = int(rate * seconds)
    noise = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise * torch.sin(torch.arange(n) / n * 3.14)


def make(name: str, models: Path, own_codec: Codec, rate: int, **more: Any) -> Any:
    """Any of the features."""
    if name == "codec":
        return CodecFeature(own_codec, rate, **more)
    if name == "xvector":
        return XVectorFeature.from_pretrained(models / name, rate, **more)
    kind = NeuralCodecFeature if name in ("encodec", "dac") else EncoderFeature
    return kind.from_pretrained(models / name, rate, **more)


SIZES = {"wavlm": 16, "hubert": 16, "wav2vec2": 16, "xvector": 10, "encodec": 16, "dac": 64,
         "codec": 12}  # fmt: skip
PER_FRAME = [name for name in SIZES if name != "xvector"]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("rate", [RATE, STORE_RATE])
def test_padding_and_neighbours_change_nothing(
    name: str, rate: int, models: Path, own_codec: Codec
) -> None:
    """Also where the padding isn't silence."""
    feature = make(name, models, own_codec, rate)
    wavs = [speech_like(rate, seconds, i) for i, seconds in enumerate((0.9, 0.61, 0.75))]
    batch = torch.full((3, len(wavs[0])), 7.0)
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = wav
    together = feature(batch, torch.tensor([len(w) for w in wavs]))
    for wav, value in zip(wavs, together, strict=True):
        (alone,) = feature(wav[None], torch.tensor([len(wav)]))
        assert value.shape == (1, SIZES[name]) and torch.isfinite(value).all()
        torch.testing.assert_close(value, alone, atol=0, rtol=0)


@pytest.mark.parametrize("name", SIZES)
def test_the_stores_rate_is_resampled_to_the_networks(
    name: str, models: Path, own_codec: Codec
) -> None:
    to_rate = 24_000 if name == "encodec" else RATE
    heard = make(name, models, own_codec, STORE_RATE)
    native = make(name, models, own_codec, to_rate)
    wav = speech_like(STORE_RATE, 0.8, 0)[None]
    same = Resample(STORE_RATE, to_rate)(wav)
    (a,) = heard(wav, torch.tensor([wav.shape[1]]))
    (b,) = native(same, torch.tensor([same.shape[1]]))
    torch.testing.assert_close(a, b)
    assert heard.settings["sample_rate"] == STORE_RATE
    assert {**heard.settings, "sample_rate": to_rate} == native.settings


@pytest.mark.parametrize("name", PER_FRAME)
def test_pools_are_statistics_of_the_frames(name: str, models: Path, own_codec: Codec) -> None:
    wav, length = speech_like(RATE, 0.8, 0)[None], torch.tensor([int(0.8 * RATE)])
    values = {
        pool: make(name, models, own_codec, RATE, pool=pool)(wav, length)[0]
        for pool in ("none", "mean", "mean_std")
    }
    frames = {"encodec": 60, "wavlm": 39, "hubert": 39, "wav2vec2": 39}.get(name, 40)
    assert values["none"].shape == (frames, SIZES[name])
    torch.testing.assert_close(values["mean"][0], values["none"].mean(0))
    expected = torch.cat([values["none"].mean(0), values["none"].std(0, correction=0)])
    torch.testing.assert_close(values["mean_std"][0], expected)


@pytest.mark.parametrize("name", ["wavlm", "hubert", "wav2vec2"])
def test_layers_are_those_of_the_network(name: str, models: Path, own_codec: Codec) -> None:
    import transformers as t

    network = t.AutoModel.from_pretrained(models / name).eval()
    wav = speech_like(RATE, 0.5, 0)
    extractor = t.Wav2Vec2FeatureExtractor.from_pretrained(models / name)
    ready = extractor(wav.numpy(), sampling_rate=RATE, return_tensors="pt").input_values
    with torch.no_grad():
        states = network(ready, output_hidden_states=True)
    length = torch.tensor([len(wav)])
    for layer in (0, 1, 2, None):
        feature = make(name, models, own_codec, RATE, layer=layer, pool="none")
        chosen = states.last_hidden_state if layer is None else states.hidden_states[layer]
        torch.testing.assert_close(feature(wav[None], length)[0], chosen[0], atol=1e-5, rtol=1e-4)
        assert feature.settings["layer"] == layer
    with pytest.raises(UserError, match="layer 3: the model has 0 to 2"):
        make(name, models, own_codec, RATE, layer=3)


@pytest.mark.parametrize("name", ["encodec", "dac", "codec"])
def test_the_latent_after_the_quantiser_is_another(
    name: str, models: Path, own_codec: Codec
) -> None:
    wav, length = speech_like(RATE, 0.5, 0)[None], torch.tensor([int(0.5 * RATE)])
    pre, post = (
        make(name, models, own_codec, RATE, latent=latent, pool="none")
        for latent in ("pre", "post")
    )
    assert pre.settings != post.settings
    a, b = pre(wav, length)[0], post(wav, length)[0]
    assert a.shape == b.shape and not torch.allclose(a, b)
    assert len(b.unique(dim=0)) <= len(a)


def test_standardising_is_the_librarys() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    wav = speech_like(RATE, 0.3, 0) + 0.05
    theirs = Wav2Vec2FeatureExtractor(do_normalize=True)(wav.numpy(), sampling_rate=RATE)
    np.testing.assert_allclose(
        standardised(wav[None])[0].numpy(), theirs.input_values[0], atol=1e-4
    )


def test_deviation_is_of_the_population() -> None:
    frames = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert pooled(frames, "mean_std").tolist() == [[2.0, 5.0, 1.0, 0.0]]
    assert pooled(frames[:1], "mean_std").tolist() == [[1.0, 5.0, 0.0, 0.0]]


def test_the_shortest_utterance_gives_one_frame(models: Path, own_codec: Codec) -> None:
    feature = make("wavlm", models, own_codec, RATE, pool="none")
    assert receptive_field(feature.network.config) == 400 == feature.hears.shortest
    wav = speech_like(RATE, 1.0, 0)[None]
    assert feature(wav, torch.tensor([400]))[0].shape == (1, 16)
    with pytest.raises(UserError, match=r"utterance 1 of the batch is shorter than the 0\.025 s"):
        feature(wav.repeat(2, 1), torch.tensor([400, 399]))
    xvector = make("xvector", models, own_codec, RATE)
    shortest = xvector.hears.shortest
    assert torch.isfinite(xvector(wav, torch.tensor([shortest]))[0]).all()
    with pytest.raises(UserError, match="leave it out"):
        xvector(wav, torch.tensor([shortest - 1]))


def test_other_weights_are_other_settings(models: Path, tmp_path: Path) -> None:
    import transformers as t

    first = EncoderFeature.from_pretrained(models / "wavlm", RATE)
    changed = t.WavLMModel.from_pretrained(models / "wavlm")
    with torch.no_grad():
        changed.encoder.layer_norm.bias += 1e-3
    changed.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
    second = EncoderFeature.from_pretrained(tmp_path, RATE)
    assert first.settings.keys() == second.settings.keys()
    assert first.settings["weights"] != second.settings["weights"]
    json.dumps(first.settings)
    named = EncoderFeature.from_pretrained(models / "wavlm", RATE, name="wavlm_base")
    assert (first.name, named.name) == ("wavlm", "wavlm_base") and named.settings == first.settings


def test_random_networks_are_refused(models: Path, tmp_path: Path, own_codec: Codec) -> None:
    with pytest.raises(UserError, match=r"lacks \d+ weights of a WavLMForXVector \(.+would stay"):
        XVectorFeature.from_pretrained(models / "wavlm", RATE)  # no x-vector head
    with pytest.raises(UserError, match="has random weights"):
        CodecFeature(Codec(**{**own_codec.settings}), RATE)


def test_an_encoder_is_taken_out_of_a_larger_network(models: Path) -> None:
    feature = EncoderFeature.from_pretrained(models / "xvector", RATE)
    assert feature.name == "wavlm"
    assert not any("tdnn" in name for name, _ in feature.network.named_parameters())


def test_what_cannot_be_loaded_is_said_in_a_line(models: Path, tmp_path: Path) -> None:
    def refuses(source: str | Path, message: str) -> None:
        with pytest.raises(UserError, match=message) as raised:
            load_transformer(source, ENCODERS)
        assert "\n" not in str(raised.value)

    refuses(models / "dac", "is a dac model; this takes wavlm, hubert, wav2vec2")
    refuses(tmp_path, r"lacks config\.json")
    refuses("nothing here", "neither a folder nor a name on Hugging Face")
    refuses("nobody/nothing-such", "not on this machine and downloads are off")
    (tmp_path / "config.json").write_text('{"model_type": "wavlm"}')
    refuses(tmp_path, r"lacks model\.safetensors or pytorch_model\.bin")
    whole = (models / "wavlm" / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:1000])
    refuses(tmp_path, "can't be loaded as WavLMModel")


def test_a_model_that_does_not_say_how_it_hears_is_refused(models: Path, tmp_path: Path) -> None:
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((models / "wavlm" / file).read_bytes())
    with pytest.raises(UserError, match=r"lacks do_normalize in preprocessor_config\.json"):
        EncoderFeature.from_pretrained(tmp_path, RATE)


def test_codecs_of_stereo_music_are_refused(tmp_path: Path) -> None:
    import transformers as t

    sizes: dict[str, Any] = dict(hidden_size=16, num_filters=4, codebook_size=16)
    t.EncodecModel(
        t.EncodecConfig(**sizes, audio_channels=2, target_bandwidths=[1.2])
    ).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has 2 channels"):
        NeuralCodecFeature.from_pretrained(tmp_path, RATE)


def test_utterances_are_cut_before_they_are_resampled() -> None:
    hears, wav = Utterances(STORE_RATE, RATE), torch.ones(1, STORE_RATE)
    half = STORE_RATE // 2
    (one,) = hears(wav, torch.tensor([half]))
    assert one.shape == (1, 8000)
    torch.testing.assert_close(one, Resample(STORE_RATE, RATE)(wav[:, :half]))
    after = Resample(STORE_RATE, RATE)(wav)[:, :8000]
    assert (one - after)[0, -1].abs() > 0.01  # the filter hears the end
