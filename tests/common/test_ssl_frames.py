"""Frames of self-supervised models: each utterance's own, at the right time, never random."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.common.whisper_models import write_tiny_whisper
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.ssl_frames import (
    SslFrames,
    encoder_frames,
    interpolated,
    receptive_field,
    standardised,
)
from emovc.common.whisper import WhisperEncoder

RATE, MEL_RATE, HOP = 16_000, 22_050, 256
SIZES: dict[str, Any] = dict(
    hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16,
    conv_dim=(8,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
)  # fmt: skip
STABLE: dict[str, Any] = dict(feat_extract_norm="layer", do_stable_layer_norm=True)
KINDS = ("hubert", "wavlm", "hubert_stable", "wavlm_stable", "wav2vec2_stable", "local")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small random networks of each kind, as transformers saves them."""
    t = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("ssl")
    torch.manual_seed(0)
    local: dict[str, Any] = SIZES | dict(num_conv_pos_embeddings=1, feat_extract_norm="layer")
    made = {
        "hubert": t.HubertModel(t.HubertConfig(**SIZES)),
        "wavlm": t.WavLMModel(t.WavLMConfig(**SIZES)),
        "hubert_stable": t.HubertModel(t.HubertConfig(**SIZES, **STABLE)),
        "wavlm_stable": t.WavLMModel(t.WavLMConfig(**SIZES, **STABLE)),
        "wav2vec2_stable": t.Wav2Vec2Model(t.Wav2Vec2Config(**SIZES, **STABLE)),
        "local": t.HubertModel(t.HubertConfig(**local)),  # its layer 0 hears 25 ms
    }
    for name, model in made.items():
        model.save_pretrained(root / name)
        heard = t.Wav2Vec2FeatureExtractor(do_normalize=not name.startswith(("wavlm", "local")))
        heard.save_pretrained(root / name)
    write_tiny_whisper(root / "whisper")
    return root


def frames_of(
    source: Path, layer: int | list[int] = 2, sample_rate: int = MEL_RATE, hop: int = HOP
) -> SslFrames:
    """The module with its weights."""
    frames = SslFrames(source, layer, SIZES["hidden_size"], sample_rate, hop)
    frames.load()
    return frames


def noise(n: int, seed: int = 0) -> Tensor:
    """Noise that is neither centred nor of variance 1, (n,)."""
    return 0.2 * torch.randn(n, generator=torch.Generator().manual_seed(seed)) + 0.05


@pytest.mark.parametrize("name", [*KINDS, "whisper"])
@pytest.mark.parametrize("rate", [RATE, MEL_RATE])
def test_padding_and_neighbours_change_nothing(name: str, rate: int, models: Path) -> None:
    """Also where the padding is NaN, and where two utterances have one length."""
    frames = frames_of(models / name, sample_rate=rate)
    wavs = [noise(n, seed) for seed, n in enumerate((9_000, 6_001, 6_001, 1_400))]
    batch = torch.full((4, 9_100), float("nan"))
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = wav
    together = frames(batch, torch.tensor([len(wav) for wav in wavs]), 36)
    assert together.shape == (4, 16, 36)
    for wav, values in zip(wavs, together, strict=True):
        alone = frames(wav[None], torch.tensor([len(wav)]), 36)[0]
        torch.testing.assert_close(values, alone, atol=1e-5, rtol=0)
        assert values[:, : len(wav) // HOP].std() > 0.02


@pytest.mark.parametrize("name", KINDS)
def test_layers_are_those_of_transformers_shifted_by_an_eighth(name: str, models: Path) -> None:
    """At a hop of 320, frame t of the mel is centred 40 samples before frame t of the network."""
    import transformers as t

    network = t.AutoModel.from_pretrained(models / name).eval()
    extractor = t.Wav2Vec2FeatureExtractor.from_pretrained(models / name)
    wav = noise(8_000)
    ready = extractor(wav.numpy(), sampling_rate=RATE, return_tensors="pt").input_values
    with torch.no_grad():
        states = network(ready, output_hidden_states=True).hidden_states
    for layer in range(4):
        found = frames_of(models / name, layer, RATE, 320)(wav[None], torch.tensor([8_000]), 24)[0]
        own = states[layer][0].T  # (D, 24)
        wanted = torch.cat([own[:, :1], 0.125 * own[:, :-1] + 0.875 * own[:, 1:]], dim=1)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_whispers_layers_are_those_of_its_encoder_shifted_by_a_half(models: Path) -> None:
    """At a hop of 320, frame t of the mel is centred 160 samples after frame t of the network."""
    wav, n = noise(8_000)[None], torch.tensor([8_000])
    states = WhisperEncoder.from_pretrained(models / "whisper")(wav, n).states[0]
    for layer, state in enumerate(states):
        found = frames_of(models / "whisper", layer, RATE, 320)(wav, n, 25)[0]
        own = state.T  # (D, 25)
        wanted = torch.cat([(own[:, :-1] + own[:, 1:]) / 2, own[:, -1:]], dim=1)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["hubert", "wavlm_stable", "whisper"])
def test_a_mixture_is_the_mean_of_its_layers_with_weights_that_are_trained_and_saved(
    name: str, models: Path
) -> None:
    wav = noise(12_000).view(2, -1).requires_grad_()
    n = torch.tensor([6_000, 5_000])
    alone = torch.stack([frames_of(models / name, layer)(wav, n, 23) for layer in (0, 2)])
    mixed = frames_of(models / name, [0, 2])
    torch.testing.assert_close(mixed(wav, n, 23), alone.mean(0), atol=1e-5, rtol=0)
    assert list(mixed.state_dict()) == ["mixture"] and mixed.mixture is not None
    optimizer = torch.optim.SGD(mixed.parameters(), lr=10)
    mixed(wav, n, 23)[0].square().mean().backward()
    assert wav.grad is None and mixed.mixture.grad is not None
    assert mixed.mixture.grad.abs().min() > 0 and abs(mixed.mixture.grad.sum()) < 1e-6
    optimizer.step()
    share = mixed.mixture.detach().softmax(0)
    wanted = share[0] * alone[0] + share[1] * alone[1]
    torch.testing.assert_close(mixed(wav, n, 23).detach(), wanted, atol=1e-5, rtol=0)
    again = SslFrames(models / name, [0, 2], 16)
    again.load_state_dict(mixed.state_dict())
    again.load()
    assert torch.equal(again(wav, n, 23), mixed(wav, n, 23))


@pytest.mark.parametrize("name", ["hubert", "wav2vec2_stable", "whisper"])
def test_gradients_reach_the_waveform_if_wanted(name: str, models: Path) -> None:
    frames = SslFrames(models / name, 1, 16, differentiable=True)
    frames.load()
    wav = noise(12_000).view(2, -1).requires_grad_()
    frames(wav, torch.tensor([6_000, 4_000]), 23).square().sum().backward()
    assert wav.grad is not None and (wav.grad[1, :4_000] != 0).float().mean() > 0.9
    assert not wav.grad[1, 4_000:].any()
    with torch.no_grad():
        assert not frames(wav, torch.tensor([6_000, 4_000]), 23).requires_grad


def test_a_click_appears_at_its_frame_of_the_mel(models: Path) -> None:
    """Within what 25 ms and the interpolation reach, on average not half a frame off."""
    frames = frames_of(models / "local", layer=0)
    quiet, n = 0.01 * noise(3 * MEL_RATE), torch.tensor([3 * MEL_RATE])
    before, errors = frames(quiet[None], n, 258), []
    for frame in range(20, 240, 11):
        clicked = quiet.clone()
        clicked[frame * HOP + HOP // 2] += 1
        change = (frames(clicked[None], n, 258) - before)[0].abs().sum(0)  # (T,)
        place = (change > 1e-3 * change.max()).nonzero()[:, 0]
        assert place.min() >= frame - 3 and place.max() <= frame + 3
        errors.append((place.float().mean() - frame).item())
    assert abs(sum(errors) / len(errors)) < 0.2


def test_a_ramp_is_interpolated_exactly_and_held_at_its_ends() -> None:
    ramp = 3 * torch.arange(6.0) + 1
    states = torch.stack([ramp, -ramp], dim=1)[None].repeat(2, 1, 1)
    states[1, 4:] = float("nan")  # beyond the valid frames
    places = torch.tensor([-0.6, 0.0, 0.25, 2.5, 3.0, 3.5, 9.0])
    found = interpolated(states, torch.tensor([6, 4]), places)
    for row, last in ((0, 5.0), (1, 3.0)):
        wanted = 3 * places.clamp(0, last) + 1
        torch.testing.assert_close(found[row], torch.stack([wanted, -wanted], dim=1))


def test_frames_of_the_network_are_counted_as_its_convolutions_count(models: Path) -> None:
    loaded: Any = frames_of(models / "hubert")._loaded
    network = loaded[0]
    lengths = torch.arange(400, 3_000)
    counted = network.network._get_feat_extract_output_lengths(lengths)
    assert torch.equal(encoder_frames(network.config, lengths), counted)
    assert receptive_field(network.config) == 400


def test_valid_frames_are_those_of_the_mel_and_others_are_zero(models: Path) -> None:
    frames, mel = frames_of(models / "wavlm"), LogMel()
    lengths = torch.tensor([4_096, 4_095, 2_000])
    out = frames(noise(3 * 4_096).view(3, -1), lengths, 20)
    valid = mel.mask(lengths, 20) > 0
    assert torch.equal((out != 0).all(dim=1), valid)
    assert torch.equal((out == 0).all(dim=1), ~valid)
    fewer = frames(noise(3 * 4_096).view(3, -1), lengths, 5)
    torch.testing.assert_close(fewer, out[:, :, :5], atol=0, rtol=0)


def test_level_and_offset_matter_only_where_the_model_was_not_normalised(models: Path) -> None:
    wav, n = noise(8_000)[None], torch.tensor([8_000])
    for name, same in (("hubert_stable", True), ("local", False)):
        frames = frames_of(models / name)
        change = (frames(3 * wav + 0.5, n, 31) - frames(wav, n, 31)).abs().max()
        assert (change < 1e-3) == same
    masked = standardised(torch.cat([wav, 7 + wav], 1), torch.arange(16_000)[None] < 8_000)
    torch.testing.assert_close(masked[:, :8_000], standardised(wav))
    assert not masked[:, 8_000:].any()


def test_nothing_is_saved_trained_or_random(models: Path) -> None:
    frames = SslFrames("nobody/nothing-such", dim=16)  # nothing is looked up yet
    assert not frames.pretrained
    frames = SslFrames(models / "hubert", layer=2, dim=16)
    wav, n = noise(4_000)[None].requires_grad_(), torch.tensor([4_000])
    with pytest.raises(UserError, match=r"hubert is not loaded; call load\(\) first") as raised:
        frames(wav, n, 15)
    assert "\n" not in str(raised.value)
    frames.load()
    assert frames.pretrained and not frames.state_dict() and not list(frames.parameters())
    owner = nn.Sequential(frames)
    owner.load_state_dict(nn.Sequential(SslFrames()).state_dict())
    owner.train()  # the network stays as it is: no dropout, no masks
    with torch.autocast("cpu", torch.bfloat16):
        found = frames(wav, n, 15)
    assert found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(found, owner.eval()[0](wav, n, 15), atol=0, rtol=0)
    nn.Linear(15, 1)(found).sum().backward()
    assert wav.grad is None


def test_what_does_not_fit_is_said_in_a_line(models: Path, tmp_path: Path) -> None:
    def refuses(message: str, source: Path, layer: int = 2, dim: int = 16) -> None:
        frames = SslFrames(source, layer, dim)
        with pytest.raises(UserError, match=message) as raised:
            frames.load()
        assert "\n" not in str(raised.value) and not frames.pretrained

    hubert = models / "hubert"
    refuses(f"dim is 768, but {hubert} has 16; set dim to 16", hubert, dim=768)
    refuses("has no layer 4; give 0 to 3", hubert, layer=4)
    refuses(r"it lacks config\.json", tmp_path)
    (tmp_path / "config.json").write_bytes((hubert / "config.json").read_bytes())
    refuses(r"it lacks model\.safetensors or pytorch_model\.bin", tmp_path)
    (tmp_path / "model.safetensors").write_bytes((hubert / "model.safetensors").read_bytes())
    refuses(r"lacks do_normalize in preprocessor_config\.json", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "dac"}')
    refuses("is a dac model; this takes wavlm, hubert, wav2vec2, whisper", tmp_path)
    whisper = models / "whisper"
    refuses(f"dim is 768, but {whisper} has 16; set dim to 16", whisper, dim=768)
    refuses("has no layer 3; give layers of 0 to 2", whisper, layer=3)
    with pytest.raises(UserError, match="layer is empty"):
        SslFrames(hubert, [])
    with pytest.raises(UserError, match="not on this machine and downloads are off"):
        SslFrames("nobody/nothing-such").load(offline=True)
    with pytest.raises(UserError, match="shorter than the 25 ms"):
        frames_of(hubert)(noise(500)[None], torch.tensor([500]), 1)
