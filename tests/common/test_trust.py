"""What a file may make run: networks of emovc, those of trusted packages, and nothing else."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from emovc.common import trust as trust_module
from emovc.common.audio import LogMel
from emovc.common.cli import _without_trust
from emovc.common.errors import UserError
from emovc.common.f0 import Dio
from emovc.common.pretrained import build, load_converter, load_network
from emovc.common.trust import class_of_file, class_of_user, foreign_packages, trust, trusting

HARMFUL = [
    "emovc.common.pretrained.build",  # a function
    "emovc.common.convert.parse_settings",
    "emovc.common.files.Path",  # a class of another package, imported there
    "emovc.common.files.os.system",
    "emovc.common.fit.RunCLI",  # a class that runs a command line
    "emovc.common.fit.subprocess.Popen",
    "emovc.common.transformers_loading.nn.Linear",
    "emovc.common.audio.nn",  # a module
    "emovc.common.panel.Panel",  # of emovc, but no network
    "emovc.common.vocoder.HiFiGAN.from_pretrained",
    "builtins.eval", "os.system", "torch.nn.Linear", "emovcs.Model", "subprocess.Popen",
]  # fmt: skip
MALFORMED = ["", "LogMel", "emovc..LogMel", ".emovc", "emovc.common.audio.LogMel()", 7, None, ["a"]]


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that does not exist unless a description ran a command."""
    return tmp_path / "ran"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's own package with a converter."""
    folder = tmp_path / "code" / "my_voices"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "from torch import nn\n"
        "from emovc.common.audio import LogMel\n"
        "class Flat(nn.Module):\n"
        "    def __init__(self, size: int = 2):\n"
        "        super().__init__()\n"
        "        self.frontend, self.layer = LogMel(), nn.Linear(size, size)\n"
        "    def convert(self, source, target, seed=0):\n"
        "        return self.frontend(source.wav[None])[0]\n"
        "def function(size=2):\n"
        "    return Flat(size)\n"
    )
    monkeypatch.syspath_prepend(str(folder.parent))
    yield "my_voices"
    sys.modules.pop("my_voices", None)


def checkpoint(path: Path, class_path: Any, **arguments: Any) -> Path:
    """A weights-only checkpoint that describes a model."""
    model = {"class_path": class_path, "init_args": arguments}
    state = {f"model.{n}": v for n, v in nn.Linear(2, 2).state_dict(prefix="layer.").items()}
    torch.save({"state_dict": state, "hyper_parameters": {"model": model}}, path)
    return path


@pytest.mark.parametrize("path", HARMFUL)
def test_nothing_but_networks_is_built(path: str) -> None:
    with pytest.raises(UserError, match="file.ckpt: (names the class|class|.* is no network)"):
        class_of_file(path, "file.ckpt")


@pytest.mark.parametrize("path", MALFORMED)
def test_malformed_paths_are_named(path: Any) -> None:
    with pytest.raises(UserError, match="malformed"):
        class_of_file(path, "file.ckpt")
    with pytest.raises(UserError, match="malformed"):
        class_of_user(path, "judges.yaml")


def test_networks_and_trackers_are_built() -> None:
    assert class_of_file("emovc.common.audio.LogMel", "x") is LogMel
    assert class_of_file("emovc.common.f0.Dio", "x") is Dio
    made = build({"class_path": "emovc.common.audio.LogMel", "init_args": {"n_mels": 20}}, "x")
    assert isinstance(made, LogMel) and made.n_mels == 20


def test_a_description_that_ran_a_command_runs_nothing(tmp_path: Path, marker: Path) -> None:
    """The case of the report: build itself, told to take any class, of what a parser returns."""
    command = f"{{class_path: os.system, init_args: {{command: touch {marker}}}}}"
    inner = {
        "class_path": "emovc.common.convert.parse_settings",
        "init_args": {"settings": [f"x={command}"]},
    }
    outer = {
        "class_path": "emovc.common.pretrained.build",
        "init_args": {"config": inner, "where": "", "ours": False},
    }
    with pytest.raises(UserError, match="is no network"):
        build(outer, "config.yaml")
    nested = {"class_path": "emovc.common.vocoder.HiFiGAN", "init_args": {"frontend": outer}}
    with pytest.raises(UserError, match="is no network"):
        build(nested, "config.yaml")
    file = checkpoint(tmp_path / "a.ckpt", "emovc.common.pretrained.build", **outer["init_args"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"a\.ckpt: .* is no network"):
        load_converter(file)
    assert not marker.exists()


@pytest.mark.parametrize("arguments", ["text", [1], 3])
def test_malformed_arguments_are_named(arguments: Any) -> None:
    with pytest.raises(UserError, match="init_args of .* malformed"):
        build({"class_path": "emovc.common.audio.LogMel", "init_args": arguments}, "x")


def test_own_packages_load_when_trusted(package: str, tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "mine.ckpt", f"{package}.Flat", size=2)
    with pytest.raises(UserError, match=f"add --trust {package}"):
        load_converter(file)
    assert hasattr(load_converter(file, trust=[package]), "convert")
    with pytest.raises(UserError, match="--trust"):
        load_converter(file)  # trust ends with the call
    assert _without_trust(["a", "--trust", package, "--x", f"--trust={package}"]) == ["a", "--x"]
    try:
        assert load_network(file, nn.Module).layer.weight.shape == (2, 2)
        bad = checkpoint(tmp_path / "function.ckpt", f"{package}.function")
        with pytest.raises(UserError, match="is no network"):
            load_network(bad, nn.Module)
    finally:
        trust_module._trusted.clear()


@pytest.mark.parametrize("name", ["", "emovc", "a.b", "--x", "a b"])
def test_only_packages_can_be_trusted(name: str) -> None:
    with pytest.raises(UserError, match="name of a package"):
        trust(name)
    with pytest.raises(UserError, match="name of a package"):
        _without_trust(["--trust", name])


def test_trust_ends_with_its_block(package: str) -> None:
    with trusting(package):
        class_of_file(f"{package}.Flat", "x")
    with pytest.raises(UserError, match="--trust"):
        class_of_file(f"{package}.Flat", "x")


def test_users_own_files_name_any_class_but_no_function(package: str) -> None:
    assert class_of_user(f"{package}.Flat", "judges.yaml").__name__ == "Flat"
    for wrong in (f"{package}.function", "os.system"):
        with pytest.raises(UserError, match="is no class"):
            class_of_user(wrong, "judges.yaml")


def test_foreign_packages_are_found_at_any_depth() -> None:
    inner = {"class_path": "b.C", "init_args": {"x": [{"class_path": "a.D"}]}}
    config = {"class_path": "emovc.x.Y", "init_args": {"net": inner, "n": 3}}
    assert foreign_packages(config) == ["a", "b"]
    assert foreign_packages({"class_path": "emovc.x.Y", "init_args": {}}) == []
    assert foreign_packages(None) == []
