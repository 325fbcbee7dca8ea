"""Whisper's encoder: the original's numbers, and none that padding, batch or gain could change."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.common.whisper_models import (
    TINY_BLOCKS,
    TINY_DIM,
    real_whisper,
    write_tiny_whisper,
)
from torch import Tensor, nn

from emovc.common.audio import slaney_mel_filters
from emovc.common.errors import UserError
from emovc.common.wav import read_wav
from emovc.common.whisper import WhisperEncoder
from emovc.common.whisper_layers import WhisperLogMel


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="module")
def wide(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with a table of positions for 2 s."""
    folder = tmp_path_factory.mktemp("whisper") / "wide"
    write_tiny_whisper(folder, n_positions=100)
    state = load_file(tiny / "model.safetensors")
    key = "model.encoder.embed_positions.weight"
    save_file(state | {key: state[key].repeat(2, 1)}, folder / "model.safetensors")
    return folder


def noise(n: int, seed: int = 0) -> Tensor:
    """Noise whose level changes, (n,)."""
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(n, generator=generator) * torch.linspace(0.1, 1, n)


def padded(wavs: list[Tensor], extra: int = 0, value: float = float("nan")) -> Tensor:
    """A batch (B, N) whose padding holds ``value``."""
    batch = torch.full((len(wavs), max(map(len, wavs)) + extra), value)
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = wav
    return batch


def original(folder: Path, wav: Tensor) -> Tensor:
    """States (L, T, D) of the library's network, of a waveform filled up to what it takes."""
    import transformers as t

    network = t.WhisperModel.from_pretrained(folder).eval().encoder
    extractor = t.WhisperFeatureExtractor.from_pretrained(folder)
    mel = extractor(wav.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    states: list[Tensor] = []
    for block in network.layers:
        block.register_forward_hook(
            lambda _, __, out: states.append(out[0] if isinstance(out, tuple) else out)
        )
    with torch.no_grad():
        states.append(network(mel).last_hidden_state)
    return torch.stack([state.view(state.shape[-2:]) for state in states])


def test_states_are_those_of_transformers(tiny: Path) -> None:
    """Where the waveform is as long as the library wants it."""
    wav, n = noise(16_000), torch.tensor([16_000])
    found = WhisperEncoder.from_pretrained(tiny, peak=None)(wav[None], n)
    assert found.states.shape == (1, TINY_BLOCKS + 1, 50, TINY_DIM)
    assert found.counts.tolist() == [50]
    torch.testing.assert_close(found.states[0], original(tiny, wav), atol=1e-4, rtol=0)


def test_real_speech_has_the_states_of_transformers(shared: Path) -> None:
    """Filled up with silence by us too; on its own length they differ, as said."""
    folder = real_whisper()
    audio, _ = read_wav(shared / "data" / "nemo" / "samples" / "EB0_anger_10.flac", 16_000)
    encoder = WhisperEncoder.from_pretrained(folder, peak=None)
    speech = torch.from_numpy(audio)
    full = torch.zeros(480_000)
    full[: len(speech)] = speech
    with torch.no_grad():
        found = encoder(full[None], torch.tensor([480_000])).states[0]
    assert found.shape == (7, 1_500, 512) and encoder.n_layers == 7
    wanted = original(folder, speech)
    # Some values are tens of times the others'; what counts is the error relative to them.
    scale = wanted.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1)
    torch.testing.assert_close(found / scale, wanted / scale, atol=1e-4, rtol=0)


def test_the_mel_is_that_of_transformers() -> None:
    t = pytest.importorskip("transformers")
    extractor = t.WhisperFeatureExtractor(chunk_length=1)
    wav = noise(16_000)
    wanted = extractor(wav.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    found = WhisperLogMel()(wav[None], torch.tensor([16_000]))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    for bands in (80, 128):
        filters = t.WhisperFeatureExtractor(feature_size=bands).mel_filters.T
        own = slaney_mel_filters(16_000, 400, bands, 0.0, 8_000.0)
        assert abs(own - filters).max() < 1e-7


def test_a_long_mel_is_computed_in_pieces_that_join() -> None:
    mel, n = WhisperLogMel(), 3_007 * 160 + 50
    wav = noise(n)
    whole = mel(wav[None], torch.tensor([n]))[0]
    assert whole.shape == (80, 3_007)
    tail = mel(wav[None, 2_900 * 160 :], torch.tensor([n - 2_900 * 160]))[0]
    top = whole.max()  # both are raised to 8 below their maximum
    torch.testing.assert_close(
        whole[:, 2_910:], torch.maximum(tail[:, 10:], top - 2), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_padding_and_neighbours_change_nothing(tiny: Path, rate: int) -> None:
    """Also of utterances that take several windows, of odd frames, and where the padding is NaN."""
    encoder = WhisperEncoder.from_pretrained(tiny, sample_rate=rate)
    wavs = [noise(n, seed) for seed, n in enumerate((9_000, 6_001, 6_001, 700, 3 * rate + 77))]
    lengths = torch.tensor([len(wav) for wav in wavs])
    together = encoder(padded(wavs, 100), lengths)
    assert torch.equal(together.states, encoder(padded(wavs, 5, 9.0), lengths).states)
    for wav, states, count in zip(wavs, *together, strict=True):
        alone = encoder(wav[None], torch.tensor([len(wav)]))
        assert alone.counts[0] == count == alone.states.shape[2]
        torch.testing.assert_close(states[:, :count], alone.states[0], atol=1e-5, rtol=0)
        assert not states[:, count:].any() and states[:, :count].std() > 0.1


def test_the_masked_network_gives_what_each_mel_gives_alone(tiny: Path) -> None:
    """The way of GPUs, where neighbours of unequal length share a batch."""
    loaded = WhisperEncoder.from_pretrained(tiny)._loaded
    assert loaded is not None
    wavs = [noise(n, seed) for seed, n in enumerate((16_000, 9_123, 6_001, 500))]
    lengths = torch.tensor([len(wav) for wav in wavs])
    mel, counts = loaded[0](padded(wavs), lengths), loaded[0].frames(lengths)
    together = loaded[1](mel, counts)
    for row, n in enumerate(counts.tolist()):
        alone = loaded[1](mel[row : row + 1, :, :n])[0]
        torch.testing.assert_close(together[row, :, : (n + 1) // 2], alone, atol=1e-5, rtol=0)


def test_gain_changes_nothing_unless_the_level_is_kept(tiny: Path) -> None:
    wav, n = noise(8_000)[None], torch.tensor([8_000])
    for peak, same in ((0.5, True), (None, False)):
        encoder = WhisperEncoder.from_pretrained(tiny, peak=peak)
        change = encoder(0.013 * wav, n).states - encoder(wav, n).states
        assert (change.abs().max() < 1e-4) == same
    encoder = WhisperEncoder.from_pretrained(tiny)
    assert encoder(torch.zeros(1, 8_000), n).states.isfinite().all()


def test_layers_come_as_asked_and_no_others_are_kept(tiny: Path) -> None:
    wav, n = noise(8_000)[None], torch.tensor([8_000])
    whole = WhisperEncoder.from_pretrained(tiny)
    states = whole(wav, n).states
    assert (whole.layers, whole.dim, whole.n_layers) == ((0, 1, 2), TINY_DIM, 3)
    for layers, kept in (((1, 0), 2), ((0,), 1), ((2,), 2), ((2, 0, 2), 2)):
        encoder = WhisperEncoder.from_pretrained(tiny, layers)
        assert encoder.layers == layers and encoder.weights == whole.weights
        assert encoder._loaded is not None and len(encoder._loaded[1].layers) == kept
        torch.testing.assert_close(encoder(wav, n).states, states[:, layers], atol=0, rtol=0)


def test_weights_are_named_by_their_values(tiny: Path, tmp_path: Path) -> None:
    other = write_tiny_whisper(tmp_path / "other", seed=1)
    same = shutil.copytree(tiny, tmp_path / "same")
    state = load_file(same / "model.safetensors")
    kept = {k.removeprefix("model."): v for k, v in state.items() if "decoder" not in k}
    save_file(kept, same / "model.safetensors")  # as models without the words' head are named
    hashes = [WhisperEncoder.from_pretrained(folder).weights for folder in (tiny, same, other)]
    assert hashes[0] == hashes[1] != hashes[2] and len(hashes[0]) == 12


def test_gradients_reach_the_waveform_and_nothing_else(tiny: Path) -> None:
    encoder = WhisperEncoder.from_pretrained(tiny)
    generator = torch.Generator().manual_seed(3)
    wav, n = noise(20_000)[None], torch.tensor([20_000])  # two windows
    weight = torch.randn(encoder(wav, n).states.shape, generator=generator)
    direction = 1e-3 * torch.randn(20_000, generator=generator)
    leaf = wav.clone().requires_grad_()
    (encoder(leaf, n).states * weight).sum().backward()
    assert leaf.grad is not None
    ahead, behind = (
        (encoder(wav + s * direction, n).states * weight).double().sum() for s in (0.02, -0.02)
    )
    slope = ((ahead - behind) / 0.04).item()
    assert (leaf.grad[0] @ direction).item() == pytest.approx(slope, rel=0.05)
    # Gain changes nothing, so no gradient points along the waveform.
    assert abs(leaf.grad[0] @ wav[0]) < 1e-3 * leaf.grad.norm() * wav.norm()


def test_nothing_is_saved_trained_or_random(tiny: Path) -> None:
    encoder = WhisperEncoder("nobody/nothing-such")  # nothing is looked up yet
    wav, n = noise(8_000)[None], torch.tensor([8_000])
    assert not encoder.pretrained
    with pytest.raises(UserError, match=r"nothing-such is not loaded; call load\(\) first"):
        encoder(wav, n)
    encoder = WhisperEncoder(tiny)
    encoder.load()
    assert encoder.pretrained and not encoder.state_dict() and not list(encoder.parameters())
    owner = nn.Sequential(encoder).train()
    owner.load_state_dict(nn.Sequential(WhisperEncoder()).state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        found = owner[0](wav, n).states
    assert found.dtype == torch.float32 and not found.requires_grad
    assert torch.equal(found, encoder(wav, n).states)


def without_attention(source: Path, folder: Path) -> WhisperEncoder:
    """The network whose states depend on 65 ms of speech: no attention and no positions."""
    shutil.copytree(source, folder)
    state = {name: value.clone() for name, value in load_file(folder / "model.safetensors").items()}
    for name, value in state.items():
        if name.startswith("model.encoder.") and ("out_proj" in name or "positions" in name):
            value.zero_()
    save_file(state, folder / "model.safetensors")
    return WhisperEncoder.from_pretrained(folder, [1])


def test_windows_join_without_a_seam_where_states_depend_on_their_surroundings_only(
    tiny: Path, wide: Path, tmp_path: Path
) -> None:
    """Four windows of 1 s and two of 2 s give the same states."""
    wav, n = noise(52_345)[None], torch.tensor([52_345])
    ours, theirs = (
        without_attention(source, tmp_path / source.name)(wav, n).states for source in (tiny, wide)
    )
    assert ours.shape == (1, 1, 164, TINY_DIM)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_a_click_appears_at_its_frame(tiny: Path, tmp_path: Path) -> None:
    """Frame t is centred on sample 320 t, also in the later windows."""
    encoder = without_attention(tiny, tmp_path / "local")
    quiet, n = 0.01 * noise(40_000)[None], torch.tensor([40_000])
    quiet[0, 0] = 1  # the peak, which stays
    before = encoder(quiet, n).states[0, 0]
    for frame in range(10, 120, 13):
        clicked = quiet.clone()
        clicked[0, 320 * frame] += 0.9
        change = (encoder(clicked, n).states[0, 0] - before).abs().sum(1)  # (T,)
        place = (change > 1e-3 * change.max()).nonzero()[:, 0]
        assert place.float().mean() == frame and place.max() - place.min() <= 4


def test_an_utterance_that_fits_takes_one_window_and_its_length_its_positions(tiny: Path) -> None:
    encoder = WhisperEncoder.from_pretrained(tiny, [1])
    sizes = torch.tensor([400, 479, 480, 16_000, 16_320])
    found = encoder(noise(16_320).repeat(5, 1), sizes)
    assert found.counts.tolist() == [1, 1, 2, 50, 51]


def test_what_does_not_fit_is_said_in_a_line(tiny: Path, tmp_path: Path) -> None:
    def refuses(message: str, source: Path | str, layers: Any = None) -> None:
        with pytest.raises(UserError, match=message) as raised:
            WhisperEncoder.from_pretrained(source, layers, offline=True)
        assert "\n" not in str(raised.value)

    refuses("no such folder or model", tmp_path / "absent")
    refuses("not on this machine and downloads are off", "nobody/nothing-such")
    refuses("has no layer 3; give layers of 0 to 2", tiny, [0, 3])
    refuses("has no layer -1; give layers of 0 to 2", tiny, [-1])
    refuses("none are asked for; give layers of 0 to 2", tiny, [])
    damaged = shutil.copytree(tiny, tmp_path / "damaged")
    weights, config = damaged / "model.safetensors", damaged / "config.json"
    settings = json.loads(config.read_text())
    whole = {name: value.clone() for name, value in load_file(weights).items()}  # off the file
    weights.write_bytes(weights.read_bytes()[:5_000])
    refuses(r"model\.safetensors: not a whole checkpoint", damaged)
    save_file({k: v for k, v in whole.items() if "layers.1.fc1" not in k}, weights)
    refuses(r"2 weights are missing \(layers\.1\.fc1\.weight", damaged)
    save_file({k: v for k, v in whole.items() if "encoder.layer" not in k}, weights)
    refuses("weights are missing", damaged)
    save_file({"model.decoder.x": torch.ones(1)}, weights)
    refuses("holds no encoder of Whisper", damaged)
    save_file(whole, weights)
    for change, message in (
        ({"d_model": 32}, r"have another shape \(conv1\.weight: \(16, 80, 3\) instead of"),
        ({"encoder_layers": 3}, r"weights are missing \(layers\.2"),
        ({"encoder_layers": 1}, r"are unknown \(layers\.1"),
        ({"d_model": None}, "d_model is None, a whole number is needed"),
        ({"encoder_attention_heads": 3}, "d_model 16 is not divisible by encoder_attention_heads"),
        ({"model_type": "hubert"}, "is a hubert model; this takes whisper"),
    ):
        config.write_text(json.dumps(settings | change))
        refuses(message, damaged)
    config.write_text("{")
    refuses(r"config\.json: not valid JSON", damaged)
    with pytest.raises(UserError, match="peak is 0"):
        WhisperEncoder(tiny, peak=0)
    with pytest.raises(UserError, match="utterance 1 of the batch is shorter than the 0.025 s"):
        WhisperEncoder.from_pretrained(tiny)(
            noise(16_000)[None].repeat(2, 1), torch.tensor([400, 399])
        )
