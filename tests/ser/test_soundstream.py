"""SoundStream: streams of their own for all recordings, no delay, and graphs of no other model."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from emovc.common.errors import UserError
from emovc.common.wav import read_wav, resample
from emovc.ser.soundstream import DIM, HOP, N_QUANTIZERS, RATE, SoundStream
from emovc.ser.soundstream_feature import SoundStreamFeature
from emovc.ser.utterances import pooled

FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")
SETTLED = 30  # frames after which a stream has forgotten how it began


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    """Lyra V2's graphs."""
    pytest.importorskip("ai_edge_litert", reason="needs the extra emovc-ser[soundstream]")
    if not (shared / "weights" / "lyra_v2").is_dir():
        pytest.skip("needs Lyra V2 in ../shared/weights, which is not distributed with the code")
    return shared / "weights" / "lyra_v2"


@pytest.fixture(scope="module")
def codec(folder: Path) -> SoundStream:
    return SoundStream.from_pretrained(folder)


@pytest.fixture(scope="module")
def speech(shared: Path) -> np.ndarray:
    """A sentence of EMO-DB at 16 kHz."""
    return read_wav(shared / "data" / "emodb" / "wav" / "03a01Fa.flac", RATE)[0]


@pytest.fixture(scope="module")
def latents(codec: SoundStream, speech: np.ndarray) -> np.ndarray:
    return codec.encode(speech)


def test_what_was_coded_before_changes_nothing(
    codec: SoundStream, speech: np.ndarray, latents: np.ndarray
) -> None:
    """Also in the first frames, where LiteRT's own reset leaves traces."""
    loud = np.random.default_rng(0).normal(0, 0.3, RATE).astype(np.float32)
    for _ in range(2):
        codec.encode(loud)
        codec.decode(codec.encode(loud))
        np.testing.assert_array_equal(codec.encode(speech), latents)
    np.testing.assert_array_equal(codec.decode(latents), codec.decode(latents))


@pytest.mark.parametrize("n_quantizers", [16, 30, 46])
def test_the_round_trip_has_no_delay(
    codec: SoundStream, speech: np.ndarray, n_quantizers: int
) -> None:
    decoded = codec.round_trip(speech, RATE, n_quantizers)
    assert decoded.shape == speech.shape
    lags = range(-HOP, HOP + 1)
    middle = slice(HOP, len(speech) - HOP)
    found = [float(np.dot(speech[middle], np.roll(decoded, -lag)[middle])) for lag in lags]
    assert abs(lags[int(np.argmax(found))]) <= 1
    assert np.corrcoef(speech, decoded)[0, 1] > 0.75


def test_more_codebooks_are_nearer(
    codec: SoundStream, speech: np.ndarray, latents: np.ndarray
) -> None:
    errors = []
    for n in (1, 16, 30, 46):
        codes = codec.quantize(latents, n)
        assert codes.shape == (len(latents), N_QUANTIZERS)
        assert (codes[:, :n] >= 0).all() and (codes[:, :n] < 16).all()
        assert (codes[:, n:] == -1).all()
        errors.append(np.square(codec.dequantize(codes) - latents).mean())
    assert all(b < a for a, b in zip(errors, errors[1:], strict=False))
    all_codes = codec.quantize(latents)
    np.testing.assert_array_equal(all_codes[:, :16], codec.quantize(latents, 16)[:, :16])


def test_the_quantiser_knows_no_neighbours(codec: SoundStream, latents: np.ndarray) -> None:
    order = np.random.default_rng(0).permutation(len(latents))
    np.testing.assert_array_equal(codec.quantize(latents)[order], codec.quantize(latents[order]))


def test_frames_are_of_the_samples_they_stand_for(
    codec: SoundStream, speech: np.ndarray, latents: np.ndarray
) -> None:
    """What follows changes nothing, a click moves its own frame, later speech later frames."""
    more = codec.encode(np.append(speech, np.ones(5 * HOP, np.float32)))
    np.testing.assert_array_equal(more[: len(speech) // HOP], latents[: len(speech) // HOP])
    silence = np.zeros(60 * HOP, np.float32)
    for offset in (0, HOP // 2, HOP - 1):
        click = silence.copy()
        click[40 * HOP + offset] = 0.5
        moved = np.linalg.norm(codec.encode(click) - codec.encode(silence), axis=1)
        assert int(np.argmax(moved)) == 40 and (moved[:40] == 0).all()
    late = codec.encode(np.append(np.zeros(7 * HOP, np.float32), speech))
    np.testing.assert_array_equal(late[7 + SETTLED :], latents[SETTLED:])


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, HOP + 1, 5 * HOP + 17])
def test_any_length_is_filled_to_whole_frames(
    codec: SoundStream, speech: np.ndarray, samples: int
) -> None:
    part = speech[8000 : 8000 + samples]
    found = codec.encode(part)
    assert found.shape == (-(-samples // HOP), DIM)
    np.testing.assert_array_equal(found, codec.encode(np.pad(part, (0, -samples % HOP))))
    assert codec.round_trip(part).shape == part.shape
    assert codec.round_trip(part, 22_050).shape == part.shape


def test_other_rates_are_resampled(codec: SoundStream, speech: np.ndarray) -> None:
    feature = SoundStreamFeature(codec, 22_050, pool="none")
    wav = resample(speech, RATE, 22_050)
    np.testing.assert_array_equal(feature(wav), codec.encode(resample(wav, 22_050, RATE)))
    back = codec.round_trip(wav, 22_050)
    assert np.corrcoef(back, wav)[0, 1] > 0.75


def test_the_feature_is_a_statistic_of_the_latents(
    codec: SoundStream, speech: np.ndarray, latents: np.ndarray
) -> None:
    rounded = codec.dequantize(codec.quantize(latents, 16))
    made = pickle.loads(pickle.dumps(SoundStreamFeature(codec, RATE, pool="mean_std")))
    expected = pooled(torch.from_numpy(latents), "mean_std").numpy()
    assert made(speech).shape == (1, 2 * DIM)
    np.testing.assert_array_equal(made(speech), expected)
    after = SoundStreamFeature(codec, RATE, "post", 16)
    np.testing.assert_allclose(after(speech)[0], rounded.mean(0), atol=1e-5)


def test_settings_name_what_matters(codec: SoundStream, folder: Path) -> None:
    settings = SoundStreamFeature.from_pretrained(folder, RATE).settings
    assert settings == SoundStreamFeature(codec, RATE, n_quantizers=16).settings
    after = [SoundStreamFeature(codec, RATE, "post", n).settings for n in (16, 46, None)]
    assert after[0] != after[1] == after[2] != settings
    other = SoundStream(codec.encoder, codec.quantizer, codec.decoder + b"0")
    assert other.weights != codec.weights


def test_there_are_46_codebooks(codec: SoundStream, latents: np.ndarray) -> None:
    for n in (0, 47):
        with pytest.raises(UserError, match=f"n_quantizers {n}: SoundStream has 1 to 46"):
            codec.quantize(latents, n)
        with pytest.raises(UserError, match=f"n_quantizers {n}"):
            SoundStreamFeature(codec, RATE, n_quantizers=n)


def test_graphs_of_other_models_are_named(folder: Path, tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(folder / name, tmp_path)
    for name, other in zip(FILES, (FILES[2], FILES[0], FILES[1]), strict=True):
        whole = (folder / name).read_bytes()
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes((folder / other).read_bytes())
        with pytest.raises(UserError, match=rf"{name}: is not this graph of Lyra V2 but another"):
            SoundStream.from_pretrained(tmp_path)
        for part in (0, 20, len(whole) // 2, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:part])
            with pytest.raises(UserError, match=rf"{name}: is no graph of LiteRT, or not a whole"):
                SoundStream.from_pretrained(tmp_path)
        (tmp_path / name).write_bytes(whole)
    SoundStream.from_pretrained(tmp_path)


def test_absent_graphs_say_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"soundstream_encoder.tflite: no such file; copy .*google"):
        SoundStream.from_pretrained(tmp_path)


def test_without_litert_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in FILES:
        (tmp_path / name).write_bytes(b"graph")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match=r"install the extra emovc-ser\[soundstream\]"):
        SoundStream.from_pretrained(tmp_path)
