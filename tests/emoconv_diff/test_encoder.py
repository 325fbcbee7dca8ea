import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.emoconv_diff.diffvc_encoder import official_name
from emovc.emoconv_diff.encoder import AverageVoiceEncoder
from emovc.emoconv_diff.encoder_layers import NormStatistics, RelativeAttention

N_MELS = 12


def small_encoder(
    norm_statistics: NormStatistics = "masked", dropout: float = 0.1
) -> AverageVoiceEncoder:
    """A small encoder, the same at every call, whose zeroed layers are filled too."""
    torch.manual_seed(0)
    encoder = AverageVoiceEncoder(
        LogMel(n_mels=N_MELS), dim=8, hidden=12, n_layers=2, window=2, dropout=dropout,
        postnet_dim=8, norm_statistics=norm_statistics,
    )  # fmt: skip
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return encoder.eval()


def batch(*n_frames: int) -> tuple[Tensor, Tensor]:
    """Mels with padding of any value, and their mask."""
    torch.manual_seed(1)
    mask = (torch.arange(max(n_frames)) < torch.tensor(n_frames)[:, None]).float()
    return torch.randn(len(n_frames), N_MELS, max(n_frames)) * 3 - 5, mask


def test_the_encoder_has_as_many_parameters_as_the_published_one() -> None:
    encoder = AverageVoiceEncoder()
    counts = [sum(p.numel() for p in m.parameters()) for m in (encoder.encoder, encoder.postnet)]
    assert counts == [6_841_232, 1_623_297]
    assert sum(counts) == 8_464_529 == sum(p.numel() for p in encoder.parameters())
    assert encoder.frontend.settings == LogMel().settings


@pytest.mark.parametrize("n_frames", [1, 2, 3, 7, 40])
def test_any_number_of_frames_is_kept(n_frames: int) -> None:
    mel, mask = batch(n_frames)
    assert small_encoder()(mel, mask).shape == mel.shape


def test_padding_changes_nothing_and_comes_out_as_zero() -> None:
    encoder = small_encoder()
    mel, mask = batch(5, 19, 13)
    together = encoder(mel, mask)
    for i, n in enumerate((5, 19, 13)):
        alone = encoder(mel[i : i + 1, :, :n], torch.ones(1, n))
        torch.testing.assert_close(together[i, :, :n], alone[0], atol=2e-5, rtol=0)
        assert not together[i, :, n:].any()
    other = torch.where(mask[:, None] > 0, mel, 1e3)
    torch.testing.assert_close(encoder(other, mask), together)


def test_plain_norms_are_the_masked_ones_without_padding_and_not_with_it() -> None:
    masked, plain = small_encoder("masked"), small_encoder("plain")
    mel, mask = batch(15)
    torch.testing.assert_close(masked(mel, mask), plain(mel, mask))
    mel, mask = batch(15, 4)
    assert (masked(mel, mask) - plain(mel, mask))[1, :, :4].abs().max() > 1e-3


def test_frames_are_told_apart_by_distance_only() -> None:
    encoder = small_encoder()
    mel, mask = batch(1)
    constant = encoder(mel.expand(-1, -1, 60), torch.ones(1, 60))[0]
    middle = constant[:, 25:35]  # far from the ends all frames see the same
    torch.testing.assert_close(middle, middle[:, :1].expand_as(middle), atol=1e-4, rtol=0)


def plain_attention(layer: RelativeAttention, x: Tensor) -> Tensor:
    """Shaw et al., eq. 3 and 4, for one utterance (T, C), term by term."""
    q, k, v = (conv(x.T[None])[0].T for conv in (layer.query, layer.key, layer.value))
    n_frames, width, window = len(x), x.shape[1] // layer.heads, layer.window
    out = torch.zeros_like(x)
    for head in range(layer.heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(n_frames):
            scores = []
            for j in range(n_frames):
                key = k[j, part]
                if abs(j - i) <= window:
                    key = key + layer.near_keys[j - i + window]
                scores.append(q[i, part] @ key / math.sqrt(width))
            weights = torch.stack(scores).softmax(0)
            for j in range(n_frames):
                value = v[j, part]
                if abs(j - i) <= window:
                    value = value + layer.near_values[j - i + window]
                out[i, part] += weights[j] * value
    return layer.out(out.T[None])[0].T


@pytest.mark.parametrize(("n_frames", "window"), [(1, 2), (2, 3), (4, 4), (9, 2)])
@torch.no_grad()
def test_attention_is_the_papers_sum_over_frames(n_frames: int, window: int) -> None:
    torch.manual_seed(2)
    layer = RelativeAttention(8, 2, window, 0.0)
    x = torch.randn(n_frames, 8)
    layer_out = layer(torch.nn.functional.pad(x.T, (0, 3))[None], mask_of(n_frames, 3))
    torch.testing.assert_close(layer_out[0, :, :n_frames].T, plain_attention(layer, x))


def mask_of(n_frames: int, padding: int) -> Tensor:
    """Mask (1, 1, T) of frames and padding."""
    return (torch.arange(n_frames + padding) < n_frames).float()[None, None]


def test_the_prenet_passes_its_input_on_at_first() -> None:
    encoder = AverageVoiceEncoder(dim=8, hidden=8, n_layers=1, postnet_dim=8)
    x, mask = torch.randn(2, 8, 6), torch.ones(2, 1, 6)
    torch.testing.assert_close(encoder.encoder.prenet(x, mask), x)


def test_a_few_mels_are_learned_by_heart() -> None:
    encoder = small_encoder(dropout=0.0).train()
    encoder.encoder.prenet.dropout.p = 0.0
    mel, mask = batch(9, 14)
    target = mel.roll(1, 1).clamp(min=-8)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=5e-3)
    losses = []
    for _ in range(150):
        error = (encoder(mel, mask) - target).square().mean(1)
        loss = (error * mask).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert losses[-1] < 1.5  # the targets' variance is near 6


def test_a_saved_encoder_comes_back_and_a_random_one_is_not_saved(tmp_path: Path) -> None:
    encoder = small_encoder()
    with pytest.raises(UserError, match="random"):
        encoder.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    encoder.pretrained = True
    encoder.save_pretrained(tmp_path / "out")
    loaded = AverageVoiceEncoder.from_pretrained(tmp_path / "out")
    assert loaded.pretrained
    assert not loaded.training
    mel, mask = batch(6, 11)
    assert torch.equal(loaded(mel, mask), encoder(mel, mask))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="multiple of heads"):
        AverageVoiceEncoder(dim=9)


def official_state(seed: int = 3) -> dict[str, Tensor]:
    """Random weights by the authors' names and in their shapes."""
    torch.manual_seed(seed)
    state = {}
    for name, value in AverageVoiceEncoder().state_dict().items():
        theirs = official_name(name)
        shape = (1, *value.shape) if "emb_rel" in theirs else value.shape
        state[theirs] = torch.randn(shape) * 0.05
    return state


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_the_official_checkpoint_is_read_alone_and_in_the_whole_model(
    tmp_path: Path, prefix: str
) -> None:
    state = official_state()
    rest = {"decoder.estimator.mlp.0.weight": torch.zeros(2)} if prefix else {}
    torch.save({f"{prefix}{k}": v for k, v in state.items()} | rest, tmp_path / "enc.pt")
    encoder = AverageVoiceEncoder.from_diffvc(tmp_path / "enc.pt")
    assert encoder.pretrained
    assert len(state) == len(encoder.state_dict()) == 140
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state[official_name(name)].reshape(value.shape))


def test_each_official_name_is_that_of_one_weight() -> None:
    names = [official_name(name) for name in AverageVoiceEncoder().state_dict()]
    assert len(set(names)) == len(names)
    expected = {
        "encoder.init_proj.weight",
        "encoder.prenet.norm_layers.2.beta",
        "encoder.encoder.attn_layers.5.emb_rel_v",
        "encoder.encoder.norm_layers_2.0.gamma",
        "encoder.encoder.ffn_layers.3.conv_2.bias",
        "postnet.res_block.block2.block.1.weight",
        "postnet.final_conv.bias",
    }
    assert expected < set(names)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_another_official_checkpoint_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    state = official_state()
    name = "encoder.encoder.attn_layers.5.emb_rel_v"
    if fault == "missing":
        del state[name]
    elif fault == "unknown":
        state[name := "encoder.encoder.attn_layers.6.emb_rel_v"] = torch.zeros(1)
    else:
        state[name] = torch.zeros(2, 9, 96)  # not shared by the heads
    torch.save(state, tmp_path / "enc.pt")
    with pytest.raises(UserError, match=f"enc.pt: .*{name}") as error:
        AverageVoiceEncoder.from_diffvc(tmp_path / "enc.pt")
    assert "\n" not in str(error.value)
