import dataclasses
import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from emovc.common.audio import LogMel
from emovc.common.data import SpeechDataModule
from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore, open_store
from emovc.common.files import sha256_of
from emovc.common.manifest import Split, Utterance, read_manifest, write_manifest
from emovc.common.wav import write_wav
from emovc.emoconv_diff.encoder import AverageVoiceEncoder
from emovc.emoconv_diff.encoder_training import LitAverageVoice
from emovc.emoconv_diff.write_average_mels import write_average_mels

RATE, SECONDS = 22_050, 0.4
SPLITS: list[Split] = ["train", "train", "train", "val", "test"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Manifest of five recordings of a low and a high tone; the last has no labels."""
    rows = []
    (tmp_path / "annotations").mkdir()
    for i, split in enumerate(SPLITS):
        time = np.arange(int(SECONDS * RATE)) / RATE
        hz = np.where(time < 0.2, 300, 2000)
        noise = np.random.default_rng(i).normal(0, 0.01, len(time))
        path = tmp_path / "audio" / f"u{i}.wav"
        write_wav(path, (np.sin(2 * np.pi * hz * time) * 0.3 + noise).astype(np.float32), RATE)
        phones = [
            {"name": "low", "start_s": 0.05, "end_s": 0.2},
            {"name": "high", "start_s": 0.2, "end_s": 0.4},
        ]
        if i < 4:
            label = tmp_path / "annotations" / f"u{i}.json"
            label.write_text(json.dumps({"phones": phones}))
        row = Utterance(f"toy/u{i}", path, sha256_of(path), RATE, len(time), "toy_a", "toy")
        rows.append(dataclasses.replace(row, split=split, split_id="x"))
    write_manifest(tmp_path / "manifest.jsonl", rows)
    return tmp_path / "manifest.jsonl"


def targets(manifest: Path) -> list[np.ndarray]:
    """Stored average mels of the labelled utterances."""
    store = open_store(manifest.parent / "features", "average_mel")
    assert store.settings["hop_length"] == 256
    return [np.array(store.get(u.sha256)) for u in read_manifest(manifest) if u.sha256 in store]


def test_labelled_phones_sound_alike_everywhere_and_the_rest_stays(corpus: Path) -> None:
    write_average_mels(corpus, "toy", num_workers=1)
    mels = targets(corpus)
    assert [m.shape for m in mels] == [(34, 80)] * 4  # 8820 // 256 frames
    first, change = int(0.05 * RATE) // 256, int(0.2 * RATE) // 256
    for mel in mels:
        assert np.array_equal(mel[first:], mels[0][first:])
        assert (
            len(np.unique(mel[first:change], axis=0)) == len(np.unique(mel[change:], axis=0)) == 1
        )
        np.testing.assert_allclose(mel[first:], np.rint(mel[first:] * 10) / 10, atol=1e-6)
    assert not np.array_equal(mels[0][:first], mels[1][:first])  # no phone there: as they were
    assert mels[0][change - 1].argmax() < mels[0][change].argmax()  # the high tone is higher


def test_what_has_no_labels_is_left_out_of_training(corpus: Path) -> None:
    write_average_mels(corpus, "toy", num_workers=1)
    made = read_manifest(corpus.parent / "average_mels.jsonl")
    assert [u.split for u in made] == ["train", "train", "train", "val", "unused"]
    assert not list(corpus.parent.glob(".mels-*"))


def test_a_second_call_adds_nothing_and_the_median_is_a_feature_of_its_own(corpus: Path) -> None:
    write_average_mels(corpus, "toy", num_workers=1)
    folder = open_store(corpus.parent / "features", "average_mel").folder
    before = sorted(folder.iterdir())
    write_average_mels(corpus, "toy", num_workers=1)
    assert sorted(folder.iterdir()) == before
    write_average_mels(corpus, "toy", statistic="median", num_workers=1)
    with pytest.raises(UserError, match="extracted in several ways"):
        open_store(corpus.parent / "features", "average_mel")
    assert len(FeatureStore(folder).settings["sounds"]) == 12


def test_pseudo_phones_need_no_labels(corpus: Path) -> None:
    write_average_mels(corpus, "pseudo", n_phones=4, min_frames=3, num_workers=1)
    mels = targets(corpus)
    assert len(mels) == 5
    assert len(np.unique(np.concatenate(mels), axis=0)) <= 4
    with pytest.raises(UserError, match="pseudo-phones with n_phones 4, not 5"):
        write_average_mels(corpus, "pseudo", n_phones=5, num_workers=1)


def test_labels_that_are_nowhere_are_said_to_be(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="elsewhere/u0.json was looked for") as error:
        write_average_mels(corpus, "toy", tmp_path / "elsewhere", num_workers=1)
    assert "\n" not in str(error.value)
    assert not (corpus.parent / "features").exists()


def fit(manifest: Path, features: list[str], root: Path) -> tuple[L.Trainer, LitAverageVoice]:
    """Two epochs of a small encoder."""
    torch.manual_seed(0)
    small = AverageVoiceEncoder(LogMel(), dim=8, hidden=8, n_layers=1, postnet_dim=8)
    recipe = LitAverageVoice(small)
    data = SpeechDataModule(manifest, features=features, batch_size=3)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=root, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(recipe, datamodule=data)
    return trainer, recipe


def test_the_encoder_trains_on_them_and_comes_back(corpus: Path, tmp_path: Path) -> None:
    write_average_mels(corpus, "toy", num_workers=1)
    trainer, recipe = fit(tmp_path / "average_mels.jsonl", ["average_mel"], tmp_path)
    assert {"train/loss", "val/loss", "val/mel_l1"} <= trainer.callback_metrics.keys()
    assert 0 < trainer.callback_metrics["val/mel_l1"] ** 2 <= trainer.callback_metrics["val/loss"]
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = AverageVoiceEncoder.from_pretrained(tmp_path / "a.ckpt")
    assert loaded.pretrained
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, recipe.model.state_dict()[name])


def test_training_without_targets_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data.features: lacks average_mel"):
        fit(corpus, [], tmp_path)
