"""The whole way from a real corpus to features, on a few of its files."""

import sys
from pathlib import Path

import numpy as np
import pytest

from emovc.common.cli import main
from emovc.common.features.store import open_store
from emovc.common.manifest import read_manifest
from emovc.common.prepare import prepare

SENTENCES = ("1", "2", "3")


@pytest.fixture(scope="module")
def nemo(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 of nEMO's files: three speakers, neutral and angry, three sentences."""
    source, root = shared / "data" / "nemo", tmp_path_factory.mktemp("nemo")
    table = (source / "data.tsv").read_text(encoding="utf-8").splitlines()
    wanted = []
    for path in sorted((source / "samples").iterdir()):
        speaker, emotion, sentence = path.stem.split("_")
        if speaker in ("EB0", "KD0", "TP0") and emotion in ("neutral", "anger"):
            wanted += [path] if sentence in SENTENCES else []
    (root / "samples").mkdir()
    for path in wanted:
        (root / "samples" / path.name).symlink_to(path)
    names = {path.stem for path in wanted}
    rows = [line for line in table[1:] if Path(line.split("\t")[0]).stem in names]
    (root / "data.tsv").write_text("\n".join([table[0], *rows]), encoding="utf-8")
    return root


def test_prepare_and_check(
    nemo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    for dvector in (False, True):  # the second run completes the first
        prepare("nemo", nemo, out, "text", 0.3, 0.3, dvector=dvector, num_workers=2)
        names = {path.name.partition("-")[0] for path in (out / "features").iterdir()}
        assert names == {"f0", "energy"} | ({"dvector"} if dvector else set())
    rows = read_manifest(out / "manifest.jsonl")
    assert len(rows) == len(list((nemo / "samples").iterdir())) >= 15
    assert not (out / "notes.txt").exists()

    vectors = {u.id: open_store(out / "features", "dvector").get(u.sha256)[0] for u in rows}
    alike, other = [], []
    for a in rows:
        for b in rows:
            if a.sentence != b.sentence:
                near = float(vectors[a.id] @ vectors[b.id])
                (alike if a.speaker == b.speaker else other).append(near)
    assert np.mean(alike) > np.mean(other) + 0.1
    f0 = open_store(out / "features", "f0")
    for u in rows:
        voiced = f0.get(u.sha256)[f0.get(u.sha256) > 0]
        assert 70 < np.median(voiced) < 450 and len(voiced) > 20, u.id

    monkeypatch.setattr(sys, "argv", ["emovc", "check", str(out / "manifest.jsonl")])
    capsys.readouterr()
    main()
    assert capsys.readouterr().out.endswith("\n0 errors, 0 warnings\n")
