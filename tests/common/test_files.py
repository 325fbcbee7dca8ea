"""Files are whole or absent."""

import errno
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from emovc.common.errors import UserError
from emovc.common.files import (
    atomic_path,
    file_name,
    read_json,
    sha256_of,
    short_hash,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_weights_can_be_read_by_whoever_can_read_the_rest(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {})
    with atomic_path(tmp_path / "a.safetensors") as temporary:
        save_file({"x": torch.zeros(2)}, temporary)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the disk is full; free some space"):
        with atomic_path(tmp_path / "a.bin"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_full_device_is_noticed(tmp_path: Path) -> None:
    """The real thing: /dev/full refuses every byte."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(UserError, match="disk is full"):
        with atomic_path(tmp_path / "a.bin"), full.open("wb", buffering=0) as file:
            file.write(b"x")


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        write_json(tmp_path / "f" / "a.json", 1)


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "a") == known
    assert short_hash({"a": 1, "b": 2}) == short_hash({"b": 2, "a": 1}) != short_hash({"a": 1})


def test_bad_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize("text", ["nemo/AB0_1--angry", "a.b+c-d_e", "żółć--sad", "x" * 150])
def test_plain_names_stay_as_they_are(text: str) -> None:
    assert file_name(text) == text.replace("/", "_")


@pytest.mark.parametrize("text", ["x/../../../escaped", "..", "../a", "a#b?c%d", "a b", "C:\\x", "",
                                  "a\nb", "a\0b", "x" * 400, "ż" * 150, "a;b|c"])  # fmt: skip
def test_other_names_become_one_safe_part(tmp_path: Path, text: str) -> None:
    name = file_name(text)
    assert re.fullmatch(r"[\w.+-]+", name) and not name.startswith(".") and len(name.encode()) < 240
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert name != file_name(text + "!")


def test_names_that_differ_in_signs_only_stay_apart() -> None:
    names = [file_name(text) for text in ("a b", "a#b", "a?b", "a_b", "a/b")]
    assert len(set(names)) == 4 and names[3] == names[4]  # a slash is the usual sign for it
