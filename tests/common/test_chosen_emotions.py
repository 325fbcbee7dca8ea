"""``data.emotions``: what it leaves out is said, and what it can't mean is named."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.common.code_models import make_corpus

from emovc.common import data as module
from emovc.common.data import SpeechDataModule
from emovc.common.errors import UserError
from emovc.common.manifest import read_manifest, write_manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Utterances of neutral and another emotion, one without any, with splits."""
    path = make_corpus(tmp_path_factory.mktemp("tones"))
    rows = read_manifest(path)
    parts = [replace(u, split="train" if i % 3 else "test") for i, u in enumerate(rows)]
    write_manifest(path, [replace(parts[0], emotion=None), *parts[1:]])
    return path


def test_what_is_left_out_is_said_once(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "rank_zero_info", said.append)
    rows = read_manifest(manifest)
    kept = str(rows[1].emotion)
    data = SpeechDataModule(manifest, emotions=[kept])
    data.setup("fit")
    data.setup("validate")
    out = [u for u in rows if u.emotion != kept]
    assert len(said) == 1
    assert f"leaves out {len(out)} of {len(rows)} utterances: " in said[0]
    assert "without emotion 1" in said[0] and kept not in said[0].partition(":")[2]
    SpeechDataModule(manifest).setup("fit")
    assert len(said) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("furious", "no utterance of .* is furious; there are "),
        ("natural", r"is natural \(did you mean neutral\?\); there are "),
        ("bored", "is bored; there are "),
    ],
)
def test_emotions_that_nobody_shows(name: str, message: str, manifest: Path) -> None:
    data = SpeechDataModule(manifest, emotions=["neutral", name])
    with pytest.raises(UserError, match=f"data.emotions: .*{message}") as error:
        data.setup("fit")
    assert re.search("there are .*neutral.*without emotion", str(error.value))
