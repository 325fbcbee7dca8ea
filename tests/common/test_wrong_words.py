"""Words, configs and names that no command can take: one line with the remedy."""

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.common.test_cli_errors import fails  # noqa: F401  (a fixture)

from emovc.common.csv_text import csv_text
from emovc.common.errors import UserError, printable
from emovc.common.explain import explain
from emovc.common.fit import check_config
from emovc.common.parsing import LONGEST, one_line
from emovc.common.vocoder_files import find_generator
from emovc.common.wav import read_wav

Fails = Callable[..., str]


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["g_5000", "g_10000"], "g_10000"),
        (["g_02500000", "g_00300000"], "g_02500000"),
        (["g_9", "g_00000010", "g_copy"], "g_00000010"),
        (["generator_v1", "g_5"], "g_5"),
    ],
)
def test_the_newest_generator_is_that_of_most_steps(
    names: list[str], newest: str, tmp_path: Path
) -> None:
    for name in names:
        torch.save({}, tmp_path / name)
    assert find_generator(tmp_path).name == newest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trianer: {}", "unknown key 'trianer'; did you mean trainer?"),
        ("modle:\n  class_path: x", "unknown key 'modle'; did you mean model?"),
        ("zzz.zz: 3", "unknown key 'zzz.zz'; known are seed_everything, run"),
        ("", "is empty; write keys such as model, data and trainer"),
        ("# nothing\n---\n", "is empty"),
        ("- a\n- b", "holds a list; write keys"),
        ("just words", "holds a str; write keys"),
        ("seed_everything: -3", "seed_everything is -3; give 0 to 4294967295"),
        ("a: [1", "is no YAML"),
        ("a: &a [*a]", "is nested too deeply, or in itself"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
         "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
         "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
         "its aliases repeat into"),
    ],
)  # fmt: skip
def test_configs(text: str, message: str, tmp_path: Path, fails: Fails) -> None:  # noqa: F811
    path = tmp_path / "own.yaml"
    path.write_text(text)
    for words in (("-c", path), (f"--config={path}",), (f"-c={path}",)):
        assert f"own.yaml: {message}" in fails("fit", *words)
    assert not list(tmp_path.glob("runs"))


def test_shipped_configs_have_known_keys() -> None:
    root = Path(__file__).parents[2] / "configs"
    for path in sorted(root.glob("*.yaml")):
        check_config(path)


def test_numbers_below_their_least(tmp_path: Path, fails: Fails) -> None:  # noqa: F811
    words = ("evaluate", tmp_path / "run", tmp_path / "m.jsonl", "-o", tmp_path / "out")
    assert "--pairs 0: give 1 or more" in fails(*words, "--pairs=0")
    assert "--seed -1: give 0 or more" in fails(*words, "--seed=-1")
    assert "--devices 0: give 1 or more" in fails(*words, "--devices=0")
    error = fails("prepare", "table", tmp_path, tmp_path / "out", "--num_workers=-2")
    assert "--num_workers -2: give 0 or more" in error
    assert list(tmp_path.iterdir()) == []


def test_paths_that_lead_nowhere(tmp_path: Path, fails: Fails) -> None:  # noqa: F811
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    assert "its links lead in a circle" in fails("check", loop)
    assert "name is too long" in fails("check", tmp_path / ("x" * 300))
    (tmp_path / "file").touch()
    assert "a part of the path is a file" in fails("check", tmp_path / "file" / "m.jsonl")
    (tmp_path / "nul.jsonl").write_text(
        '{"id": "a", "path": "a\\u0000.wav", "sha256": "", "sample_rate": 1, "num_samples": 1,'
        ' "speaker": "a", "corpus": "c"}'
    )
    assert "nul.jsonl:1: " in fails("check", tmp_path / "nul.jsonl")


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied", "a.json"),
        OSError(5, "Input/output error", "a.json"),
        IsADirectoryError(21, "Is a directory", Path("a.json")),
    ],
)
def test_other_errors_of_the_system_name_their_file(error: OSError) -> None:  # fmt: skip
    assert str(explain(error)).startswith("a.json: ") and "; c" in str(explain(error)) + "; c"
    assert explain(ValueError("embedded null byte")) is not None
    assert explain(ValueError("something else")) is None
    assert explain(OSError("without a number")) is None


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(UserError, match=r"a\.wav: is no ordinary file; name an audio file"):
        read_wav(tmp_path / "a.wav")


def test_names_do_not_steer_the_terminal(tmp_path: Path, fails: Fails) -> None:  # noqa: F811
    error = fails("check", tmp_path / "\x1b[2Ja\u2028b\x9b31m\u202e.jsonl")
    assert r"\x1b[2Ja\u2028b\x9b31m\u202e.jsonl: no such manifest" in error
    assert printable("Zażółć 中文 'a' \udcff") == r"Zażółć 中文 'a' \udcff"


def test_long_values_are_cut(tmp_path: Path, fails: Fails) -> None:  # noqa: F811
    (tmp_path / "list.csv").write_text(f"path,speaker,split\na.wav,ann,{'x' * 1000}\n")
    error = fails("prepare", "table", tmp_path / "list.csv", tmp_path / "out")
    assert f"unknown split '{'x' * 60}...'; use one of train" in error


def test_cells_are_no_formulas() -> None:
    rows = [
        ['=HYPERLINK("x")', "+1+1", "@sum", "-2+3"],
        ["-", "-3.5", "a=b", -1.5],
        ["\t=1", None, 3, ""],
    ]
    text = csv_text(["a", "b", "c", "d"], rows)
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        ['\'=HYPERLINK("x")', "'+1+1", "'@sum", "'-2+3"],
        ["-", "-3.5", "a=b", "-1.5"],
        ["'\t=1", "", "3", ""],
    ]


def test_walls_of_unions_are_short() -> None:
    """What jsonargparse says of a value that fits none of several types."""
    types = "".join(f" - Does not validate against any of the types number {i}" for i in range(40))
    message = f'Parser key "data.crop": {types} Got value: nonsense'
    assert one_line(message) == "data.crop: nonsense is of none of the types it takes; see --help"
    assert len(one_line("x " * 1000)) <= LONGEST
