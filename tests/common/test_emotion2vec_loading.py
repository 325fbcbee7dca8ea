import argparse
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from emovc.common.emotion2vec import Emotion2vec
from emovc.common.emotion2vec_loading import LABELS
from emovc.common.errors import UserError
from emovc.common.weights import weights_hash

SIZES = dict(
    dim=32, heads=2, depth=2, prenet_depth=1, extra_tokens=2, conv_channels=16,
    pos_width=10, pos_depth=2, pos_groups=4, dropout=0.2,
)  # fmt: skip
AUDIO = dict(
    feature_encoder_spec="[(16, 10, 5)] + [(16,3,2)]*4 + [(16,2,2)] * 2", prenet_depth=1,
    extractor_mode="layer_norm", conv_pos_width=10, conv_pos_groups=4, conv_pos_depth=2,
    conv_pos_pre_ln=False, num_extra_tokens=2, use_alibi_encoder=True, learned_alibi=False,
    learned_alibi_scale_per_layer=False,
)  # fmt: skip
MODEL_CONF = dict(
    embed_dim=32, num_heads=2, depth=2, mlp_ratio=4.0, norm_eps=1e-5, norm_affine=True,
    layer_norm_first=False, encoder_dropout=0.2, normalize=True, modalities=dict(audio=AUDIO),
)  # fmt: skip
TOKENS = (
    "生气/angry 厌恶/disgusted 恐惧/fearful 开心/happy "
    "中立/neutral 其他/other 难过/sad 吃惊/surprised"
)


def network(n_classes: int = 0) -> Emotion2vec:
    torch.manual_seed(1)
    return Emotion2vec(**SIZES, n_classes=n_classes).eval()


def write_funasr(
    folder: Path, checkpoint: dict[str, Any], tokens: str = "", **audio: object
) -> Path:
    """A folder as FunASR's models come."""
    conf = {**MODEL_CONF, "modalities": {"audio": {**AUDIO, **audio}}}
    config = yaml.safe_dump({"model": "Emotion2vec", "model_conf": conf})
    (folder / "config.yaml").write_text(config)
    torch.save(checkpoint, folder / "model.pt")
    if tokens:
        (folder / "tokens.txt").write_text("\n".join(tokens.split()) + "\n", encoding="utf-8")
    return folder


def assert_same(one: Emotion2vec, other: Emotion2vec) -> None:
    assert one.settings == other.settings and weights_hash(one) == weights_hash(other)
    wav = torch.randn(1, 4_000)
    assert torch.equal(one(wav).frames, other(wav).frames)


def test_constructor_makes_no_pretrained_network_and_saves_none(tmp_path: Path) -> None:
    assert not network().pretrained
    with pytest.raises(UserError, match="random"):
        network().save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_own_folder_round_trip(tmp_path: Path) -> None:
    model = network(9)
    model.pretrained, model.labels = True, LABELS
    model.save_pretrained(tmp_path)
    loaded = Emotion2vec.from_pretrained(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert loaded.pretrained and not loaded.training and loaded.labels == LABELS
    assert_same(loaded, model)


@pytest.mark.parametrize("wrapper", ["", "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "d2v_model.", "module.d2v_model."])
def test_wrapped_and_prefixed_checkpoints_load(tmp_path: Path, wrapper: str, prefix: str) -> None:
    model = network(9)
    state = {prefix + name: value for name, value in model.state_dict().items()}
    state[prefix + "modality_encoders.AUDIO.decoder.proj.weight"] = torch.zeros(3)
    state["_ema"] = {"blocks.0.norm1.weight": torch.zeros(32)}
    state["_ema.blocks.0.norm1.weight"] = torch.zeros(32)
    checkpoint = {wrapper: state, "epoch": 3} if wrapper else state
    loaded = Emotion2vec.from_pretrained(write_funasr(tmp_path, checkpoint, TOKENS + " <unk>"))

    assert loaded.pretrained and loaded.labels == LABELS
    assert_same(loaded, model)


def test_files_may_be_renamed_by_configuration_json(tmp_path: Path) -> None:
    write_funasr(tmp_path, {"model": network().state_dict()})
    (tmp_path / "model.pt").rename(tmp_path / "weights.pt")
    (tmp_path / "config.yaml").rename(tmp_path / "net.yaml")
    metas = {"init_param": "weights.pt", "config": "net.yaml"}
    (tmp_path / "configuration.json").write_text(json.dumps({"file_path_metas": metas}))

    assert_same(Emotion2vec.from_pretrained(tmp_path), network())


def test_early_checkpoints_with_four_axes_of_the_alibi_scale_load(tmp_path: Path) -> None:
    state = network().state_dict()
    name = "modality_encoders.AUDIO.alibi_scale"
    state[name] = state[name][0]

    assert_same(Emotion2vec.from_pretrained(write_funasr(tmp_path, state)), network())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = network().state_dict()
    cases = {
        r"1 weights are missing \(blocks.1.mlp.fc2.bias": lambda s: s.pop("blocks.1.mlp.fc2.bias"),
        r"1 are unknown \(blocks.2.norm": lambda s: s.update({"blocks.2.norm": torch.ones(2)}),
        r"norm1.bias: \(33,\) instead of \(32,\)": lambda s: s.update(
            {"blocks.0.norm1.bias": torch.zeros(33)}
        ),
    }
    for message, damage in cases.items():
        broken = dict(state)
        damage(broken)
        with pytest.raises(UserError, match=message) as caught:
            Emotion2vec.from_pretrained(write_funasr(tmp_path, broken))
        assert "model.pt" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extractor_mode": "default"}, "extractor_mode is default"),
        ({"learned_alibi": True}, "learned_alibi is True"),
        ({"conv_pos_depth": None}, "conv_pos_depth is None, a number"),
        ({"feature_encoder_spec": "[(16,10,5)] + [(16,3,2)]*3"}, "feature_encoder_spec"),
        ({"feature_encoder_spec": "__import__('os').getcwd()"}, "feature_encoder_spec"),
    ],
)
def test_other_architectures_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = write_funasr(tmp_path, network().state_dict(), **change)
    with pytest.raises(UserError, match=message):
        Emotion2vec.from_pretrained(folder)


def test_pickled_objects_and_damaged_files_are_refused(tmp_path: Path) -> None:
    write_funasr(tmp_path, {"args": argparse.Namespace(), "model": network().state_dict()})
    with pytest.raises(UserError, match="of fairseq, or of a model"):
        Emotion2vec.from_pretrained(tmp_path)
    path = tmp_path / "model.pt"
    for data in (path.read_bytes()[:5_000], b"", b"not a checkpoint"):
        path.write_bytes(data)
        with pytest.raises(UserError, match="model.pt: not a whole checkpoint"):
            Emotion2vec.from_pretrained(tmp_path)


def test_labels_are_compared_with_the_known_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = network(9).state_dict()
    swapped = TOKENS.replace("happy", "x").replace("sad", "happy").replace("x", "sad")
    with pytest.raises(UserError, match="class 3 is sad, in emotion2vec's order it is happy"):
        Emotion2vec.from_pretrained(write_funasr(tmp_path, state, swapped + " <unk>"))
    with pytest.raises(UserError, match="8 labels for the 9 classes"):
        Emotion2vec.from_pretrained(write_funasr(tmp_path, state, TOKENS))

    early = "生气/angry unuse_0 unuse_1 开心/happy 中立/neutral unuse_2 难过/sad unuse_3 <unk>"
    model = Emotion2vec.from_pretrained(write_funasr(tmp_path, state, early))
    assert "only 5 of 9 classes" in caplog.text
    assert torch.isinf(model.logits(torch.randn(32))).nonzero().flatten().tolist() == [1, 2, 5, 7]


def test_missing_files_and_names_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no config.yaml; emotion2vec needs"):
        Emotion2vec.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        Emotion2vec.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("variable", ["", "EMOVC_OFFLINE", "HF_HUB_OFFLINE"])
def test_downloads_can_be_forbidden(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def nothing_cached(name: str, local_files_only: bool, allow_patterns: list[str]) -> str:
        assert local_files_only, "asked for a download"
        raise FileNotFoundError

    monkeypatch.setattr(hub, "snapshot_download", nothing_cached)
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(UserError, match="downloads are off; put config.yaml, model.pt"):
        Emotion2vec.from_pretrained("emotion2vec/emotion2vec_base", offline=not variable)


def test_a_download_is_announced_with_its_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    folder = write_funasr(tmp_path, {"model": network().state_dict()})

    def download(name: str, local_files_only: bool, allow_patterns: list[str]) -> str:
        if local_files_only:
            raise FileNotFoundError
        assert "370 MB" in caplog.text, "announced only after the download"
        return str(folder)

    files = [SimpleNamespace(rfilename="model.pt", size=369_600_000)]
    files += [SimpleNamespace(rfilename="emotion2vec_base.pt", size=10**9)]
    info = SimpleNamespace(siblings=files)
    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub.HfApi, "model_info", lambda *_, files_metadata: info)
    monkeypatch.delenv("EMOVC_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with caplog.at_level(logging.WARNING):
        model = Emotion2vec.from_pretrained("emotion2vec/emotion2vec_base")

    assert "from https://huggingface.co/emotion2vec/emotion2vec_base" in caplog.text
    assert_same(model, network())
