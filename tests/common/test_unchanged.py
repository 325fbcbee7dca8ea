"""Audio that changed after its manifest was made is named before stored features meet it."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emovc.common.check import check_audio
from emovc.common.combine import combine
from emovc.common.data import SpeechDataModule
from emovc.common.errors import UserError
from emovc.common.evaluate import choose_pairs
from emovc.common.features.extraction import extract
from emovc.common.features.extractors import EnergyFeature
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.unchanged import read_utterance, require_unchanged
from emovc.common.wav import read_wav
from emovc.ser.extract_representations import represent


@pytest.fixture
def corpus(toy: Path, tmp_path: Path) -> Path:
    """The toy corpus with audio and features of its own; the files are older than the manifest."""
    rows = read_manifest(toy)
    (tmp_path / "audio").mkdir()
    own = [dataclasses.replace(u, path=tmp_path / "audio" / u.path.name) for u in rows]
    for old, new in zip(rows, own, strict=True):
        shutil.copyfile(old.path, new.path)
        shutil.copystat(old.path, new.path)
    shutil.copytree(toy.parent / "features", tmp_path / "features")
    shutil.copyfile(toy.parent / "speakers.json", tmp_path / "speakers.json")
    write_manifest(tmp_path / "manifest.jsonl", own)
    return tmp_path / "manifest.jsonl"


def louder(path: Path) -> None:
    """Same length, other samples."""
    wav, rate = soundfile.read(path)
    soundfile.write(path, 0.5 * wav, rate)


def shorter(path: Path) -> None:
    wav, rate = soundfile.read(path)
    soundfile.write(path, wav[: len(wav) // 2], rate)


def touched(path: Path) -> None:
    os.utime(path)


def set_up(manifest: Path) -> SpeechDataModule:
    data = SpeechDataModule(manifest, features=["f0", "dvector"], batch_size=4)
    data.setup("fit")
    return data


def test_training_refuses_changed_audio_of_the_same_length(corpus: Path) -> None:
    changed = next(u for u in read_manifest(corpus) if u.split == "train")
    set_up(corpus)
    louder(changed.path)
    with pytest.raises(UserError, match=rf"^{changed.path}: changed .* run emovc prepare again"):
        set_up(corpus)


def test_a_file_without_its_times_is_compared_by_its_bytes(corpus: Path) -> None:
    touched(read_manifest(corpus)[0].path)
    set_up(corpus)


def test_a_change_that_kept_the_time_is_noticed_by_its_length(corpus: Path) -> None:
    changed = next(u for u in read_manifest(corpus) if u.split == "val")
    before = changed.path.stat()
    shorter(changed.path)
    os.utime(changed.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    data = set_up(corpus)
    with pytest.raises(UserError, match=rf"{changed.path}: has \d+ samples at \d+ Hz and the man"):
        list(data.val_dataloader())


COMMANDS: dict[str, Callable[[Path, Path], object]] = {
    "evaluate": lambda m, out: choose_pairs(m, "train", 50, "neutral", None, 0),
    "represent": lambda m, out: represent(m, out),
    "combine": lambda m, out: combine([m], out),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("change", [louder, shorter])
def test_commands_name_the_file(
    corpus: Path, tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    changed = next(u for u in read_manifest(corpus) if (u.split, u.emotion) == ("train", "neutral"))
    features = tmp_path / "features.yaml"
    features.write_text("[{class_path: emovc.ser.representations.EmotionFeature}]")
    change(changed.path)
    with pytest.raises(UserError, match=f"^{changed.path}: changed after its manifest was made"):
        COMMANDS[name](corpus, features)


@pytest.mark.parametrize("change", [louder, shorter])
def test_check_compares_hashes_whatever_the_time(
    corpus: Path, change: Callable[[Path], None]
) -> None:
    rows = read_manifest(corpus)
    change(rows[3].path)
    os.utime(rows[3].path, ns=(0, 0))
    assert not list(check_audio(rows[2]))
    (problem,) = check_audio(rows[3])
    assert problem.level == "error" and "emovc prepare again" in problem.what


def test_no_value_is_stored_under_the_hash_of_another_file(corpus: Path, tmp_path: Path) -> None:
    rows = read_manifest(corpus)[:3]
    louder(rows[1].path)
    os.utime(rows[1].path, ns=(0, 0))
    with pytest.raises(UserError, match=f"{rows[1].path}: changed"):
        extract(rows, tmp_path / "new", 22_050, [EnergyFeature(22_050)], accelerator="cpu")
    assert not list((tmp_path / "new").rglob("*.npy"))


def test_an_absent_file_is_left_to_its_reader(corpus: Path) -> None:
    rows = read_manifest(corpus)
    rows[0].path.unlink()
    require_unchanged(rows, corpus)
    with pytest.raises(UserError, match="no such audio file"):
        read_utterance(rows[0], 22_050)


def test_what_is_read_is_what_read_wav_reads(toy: Path) -> None:
    row: Utterance = read_manifest(toy)[0]
    assert np.array_equal(read_utterance(row, 22_050), read_wav(row.path, 22_050)[0])
