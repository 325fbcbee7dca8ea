"""No command writes over what it reads."""

import os
from pathlib import Path

import pytest

from emovc.common.convert import places_of, require_no_input
from emovc.common.errors import UserError
from emovc.common.parsing import require_outputs_apart, run_function


def copy(sources: list[Path], out: Path, run: Path | None = None) -> None:
    """Copy.

    Args:
        sources: Files to read.
        out: File to write.
        run: A run to read.
    """
    out.write_text(sources[0].read_text())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_text("recording")
    return path


def spellings(file: Path) -> list[Path]:
    """Other paths of the same file: by a dot, by its parent, by links soft and hard."""
    soft, hard = file.parent / "soft.wav", file.parent / "hard.wav"
    soft.symlink_to(file)
    os.link(file, hard)
    folder = file.parent / "folder"
    folder.symlink_to(file.parent)
    return [file, file.parent / "." / "a.wav", file.parent / "x" / ".." / "a.wav",
            soft, hard, folder / "a.wav"]  # fmt: skip


def test_commands_do_not_write_to_their_inputs(file: Path) -> None:
    for out in spellings(file):
        for words in ([str(file), "-o", str(out)], [str(file), "-o", "new", "--run", "new"]):
            with pytest.raises(UserError, match="would be overwritten"):
                run_function(copy, words, "copy", many="sources", out=True)
    assert file.read_text() == "recording"
    new = file.parent / "b.wav"
    run_function(copy, [str(file), "-o", str(new)], "copy", many="sources", out=True)
    assert new.read_text() == "recording"


def test_folders_are_inputs_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder .*: is what run reads"):
        require_outputs_apart({"run": tmp_path, "folder": tmp_path / "x" / ".."})
    require_outputs_apart({"run": tmp_path, "folder": tmp_path / "x", "name": "x", "seed": 3})


def test_results_beside_their_sources_are_not_written_over_them(file: Path) -> None:
    """Sources a.wav and b.flac into their own folder: a.wav would be replaced."""
    other = file.parent / "b.flac"
    other.write_text("another")
    for files, out in (([file, other], file.parent), ([file], file), ([file], file.parent)):
        with pytest.raises(UserError, match=r"a\.wav: is an input"):
            places_of(files, out)
    assert places_of([other], file.parent) == [file.parent / "b.wav"]
    for spelling in spellings(file):
        with pytest.raises(UserError, match="is an input"):
            require_no_input([spelling], [file])
    require_no_input([file.parent / "new" / "a.wav"], [file, other])
