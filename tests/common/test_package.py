"""What users rely on: names, cheap imports, a quick answer of the command."""

import importlib
import subprocess
import sys

import pytest

STABLE = [
    ("emovc.common.audio", "LogMel"),
    ("emovc.common.vocoder", "HiFiGAN"),
    ("emovc.common.emotion2vec", "Emotion2vec"),
    ("emovc.common.speaker", "SpeakerEncoder"),
    ("emovc.speechflow", "SpeechFlow"),
]


@pytest.mark.parametrize(("module", "name"), STABLE)
def test_stable_names(module: str, name: str) -> None:
    kind = getattr(importlib.import_module(module), name)
    assert name == "LogMel" or hasattr(kind, "from_pretrained")


@pytest.mark.parametrize("package", ["common", "speechflow", "ainn", "emoconv_diff", "genner_tts"])
def test_packages_share_a_namespace(package: str) -> None:
    assert importlib.import_module(f"emovc.{package}").__doc__
    assert importlib.import_module("emovc").__spec__.origin is None  # type: ignore[union-attr]


def test_networks_import_without_training_libraries() -> None:
    code = """
import sys
for name in ("lightning", "wandb", "transformers", "funasr", "librosa", "matplotlib"):
    sys.modules[name] = None
import emovc.speechflow, emovc.common.vocoder, emovc.common.emotion2vec, emovc.common.speaker
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
sys.argv = ["emovc", "--help"]
from emovc.common.cli import main
main()
heavy = {"torch", "lightning", "numpy", "wandb"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "quickstart" in done.stdout
