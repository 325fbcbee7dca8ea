"""emovc convert of folders and with settings that are wrong, as a user meets it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from emovc.common.convert import convert, expand
from emovc.common.errors import Unfinished, UserError
from emovc.common.manifest import read_manifest


@pytest.fixture
def recordings(toy: Path) -> list[Path]:
    return [u.path for u in read_manifest(toy) if u.emotion == "neutral"][:3]


@pytest.fixture
def folder(recordings: list[Path], tmp_path: Path) -> Path:
    """A flac, an ogg, a hidden file, one that is empty and one that is no audio."""
    place = tmp_path / "in"
    place.mkdir()
    wav, rate = soundfile.read(recordings[1])
    shutil.copy(recordings[0], place / "a.flac")
    soundfile.write(place / "b.ogg", wav, rate)
    (place / "._a.flac").write_bytes(b"\x00\x05\x16\x07")
    (place / "c.wav").write_bytes(b"")
    (place / "d.m4a").write_bytes(b"not read")
    shutil.copy(recordings[2], place / "e.flac")
    return place


def test_one_bad_file_does_not_stop_the_rest(
    trained: Path, folder: Path, recordings: list[Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(Unfinished, match="1 of 4 files") as raised:
        convert(trained, [folder], out, reference=[recordings[1]], vocoder=Path("griffin-lim"))
    assert raised.value.exit_code == 1
    assert sorted(p.name for p in out.iterdir()) == ["a.wav", "b.wav", "e.wav"]
    said = capsys.readouterr().err
    assert "c.wav: is an empty file" in said and "d.m4a: left out" in said
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_hidden_files_are_left_out(folder: Path) -> None:
    assert [p.name for p in expand([folder])] == ["a.flac", "b.ogg", "c.wav", "e.flac"]


def test_a_single_bad_file_is_the_error(trained: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="c.wav: is an empty file") as raised:
        convert(trained, [folder / "c.wav"], tmp_path / "o.wav", reference=[folder / "a.flac"])
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("shorten", [True, False])
def test_references_of_other_durations_are_warned_of(
    trained: Path, recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    shorten: bool,
) -> None:  # fmt: skip
    wav, rate = soundfile.read(recordings[1])
    middle = len(wav) // 2
    part = wav[middle : middle + len(wav) // 5] if shorten else wav
    soundfile.write(tmp_path / "reference.wav", part, rate)
    reference = [tmp_path / "reference.wav"]
    convert(trained, recordings[:1], tmp_path / "o.wav", reference, vocoder=Path("griffin-lim"))
    assert ("reference's duration" in capsys.readouterr().err) == shorten


@pytest.mark.parametrize("setting", ["factors=[rythm]", "factors=rhythm", "factors=3",
                                     "factors={a: 1}", "no_such=1"])  # fmt: skip
def test_settings_are_checked_by_type_and_choice(
    trained: Path, recordings: list[Path], tmp_path: Path, setting: str
) -> None:
    call: Callable[..., None] = convert
    with pytest.raises(UserError, match="setting") as raised:
        call(trained, recordings[:1], tmp_path / "o.wav", recordings[1:2], set=[setting])
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    assert not (tmp_path / "o.wav").exists()
