"""``emovc prepare`` on a small corpus of tones, from a table to manifest, notes and features."""

import csv
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emovc.common.errors import UserError
from emovc.common.f0 import Dio, SwiftF0
from emovc.common.features.store import open_store
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.prepare import Scheme, prepare, usual_tracker

RATE = 22_050
BASE_HZ = {"ann": 220.0, "bob": 110.0, "cid": 140.0}
SENTENCES = 12


def tone(f0_hz: float, seconds: float = 0.5, level: float = 0.2) -> np.ndarray:
    """Eight harmonics, which DIO finds the pitch of."""
    t = np.arange(int(seconds * RATE)) / RATE
    return level * sum(np.sin(2 * np.pi * k * f0_hz * t) / k for k in range(1, 9))


def f0_of(speaker: str, sentence: int) -> float:
    return BASE_HZ[speaker] * 1.03**sentence


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers say 12 sentences in two emotions, beside what can't be used."""
    root = tmp_path_factory.mktemp("tones")
    rows = []
    for speaker, emotion in ((s, e) for s in BASE_HZ for e in ("neutral", "sad")):
        for n in range(SENTENCES):
            name = f"{speaker}_{emotion}_{n}.wav"
            level = 0.2 if emotion == "neutral" else 0.1
            seconds = 0.45 + 0.01 * len(rows) / 6  # no two of the same length
            soundfile.write(root / name, tone(f0_of(speaker, n), seconds, level), RATE)
            part = "test" if n == 0 else "val" if n == 1 else "train" if n < 10 else ""
            rows.append([name, speaker, "F" if speaker == "ann" else "M", emotion, f"s{n}", part])
    soundfile.write(root / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(root / "short.wav", tone(200, 0.1), RATE)
    soundfile.write(root / "wide.wav", np.stack([tone(200), tone(200)], 1), RATE)
    (root / "broken.wav").write_bytes(b"RIFF and then nothing")
    for name in ("silent.wav", "short.wav", "broken.wav", "absent.wav", "wide.wav"):
        rows.append([name, "bob", "M", "neutral", f"only {name}", "train"])
    for split in ("", "split"):
        with (root.parent / f"tones{split}.csv").open("w") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "speaker", "gender", "emotion", "sentence", "split"])
            writer.writerows([f"{root.name}/{r[0]}", *r[1:5], split and r[5]] for r in rows)
    return root.parent / "tones.csv"


@pytest.fixture(scope="module")
def out(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare("table", corpus, folder, dvector=False, num_workers=2)
    return folder


def parts(utterances: list[Utterance], key: str) -> dict[str, set[str]]:
    found = defaultdict(set)
    for u in utterances:
        found[str(u.split)].add(getattr(u, key))
    return found


def test_what_cannot_be_used_is_left_out_and_noted(out: Path) -> None:
    rows = read_manifest(out / "manifest.jsonl")
    assert len(rows) == 2 * 3 * SENTENCES + 1
    notes = (out / "notes.txt").read_text().splitlines()
    assert len(notes) == 5
    for name, problem in {
        "broken.wav": "is not audio that can be read",
        "absent.wav": "no such audio file",
        "silent.wav": "is silent",
        "short.wav": "lasts 0.10 s, too short",
        "wide.wav": "warning: .*has 2 channels; they are averaged",
    }.items():
        (note,) = [n for n in notes if name in n]
        assert re.search(problem, note)


def test_features_are_those_of_the_audio(out: Path) -> None:
    rows = read_manifest(out / "manifest.jsonl")
    f0, energy = (open_store(out / "features", name) for name in ("f0", "energy"))
    for u in rows[::7]:
        wav, _ = soundfile.read(u.path, dtype="float32")
        np.testing.assert_array_equal(f0.get(u.sha256)[:, 0], SwiftF0()(wav))
        assert len(energy.get(u.sha256)) == len(wav) // 256
        rms = np.sqrt(np.mean(wav[2000:-2000] ** 2))
        assert np.median(energy.get(u.sha256)) == pytest.approx(20 * np.log10(rms), abs=0.3)


def test_speakers_are_described_by_their_training_utterances(out: Path) -> None:
    rows = read_manifest(out / "manifest.jsonl")
    speakers = json.loads((out / "speakers.json").read_text())
    for name in ("ann", "cid"):
        own = [u for u in rows if u.speaker.endswith(name) and u.split == "train"]
        log_f0 = [np.log(f0_of(name, int(str(u.sentence)[1:]))) for u in own]
        found = speakers[own[0].speaker]
        assert found["log_f0_mean"] == pytest.approx(np.mean(log_f0), abs=0.01)
        assert found["log_f0_std"] == pytest.approx(np.std(log_f0), abs=0.01)


def test_a_second_run_changes_nothing(corpus: Path, out: Path) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        files = [p for p in (out / "features").rglob("*") if p.is_file()]
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}

    before, manifest = state(), (out / "manifest.jsonl").read_bytes()
    prepare("table", corpus, out, dvector=False, num_workers=2)
    assert state() == before and (out / "manifest.jsonl").read_bytes() == manifest


def test_a_folder_keeps_its_tracker(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    """What was prepared when DIO was the default goes on with DIO, and has one F0 only."""
    tracker = Dio(16_000, 200, 100, f_min=60.0)
    prepare("table", corpus, tmp_path, dvector=False, f0=tracker, num_workers=1)
    before = {p.name for p in (tmp_path / "features").iterdir()}
    next((tmp_path / "features").glob("f0-*/[!m]*.json")).unlink()  # as if it was stopped
    prepare("table", corpus, tmp_path, dvector=False, num_workers=1)
    assert {p.name for p in (tmp_path / "features").iterdir()} == before
    store = open_store(tmp_path / "features", "f0")
    assert all(u.sha256 in store for u in read_manifest(tmp_path / "manifest.jsonl"))
    assert "F0 by Dio, as what" in capsys.readouterr().out

    (tmp_path / "features" / "f0-other").mkdir()
    (tmp_path / "features" / "f0-other" / "meta.json").write_text('{"name": "f0", "settings": {}}')
    with pytest.raises(UserError, match=r"several trackers \(f0-.*, f0-other\); name the one"):
        usual_tracker(tmp_path / "features")


@pytest.mark.parametrize("scheme", ["auto", "text", "speaker", "random", "official"])
def test_splits(corpus: Path, out: Path, scheme: Scheme) -> None:
    """Features are filed by audio, so another split of the same corpus needs none anew."""
    table = corpus.with_name("tonessplit.csv") if scheme == "official" else corpus
    prepare("table", table, out, split=scheme, val=0.2, test=0.2, dvector=False, num_workers=2)
    rows = read_manifest(out / "manifest.jsonl")
    sentences, speakers = parts(rows, "sentence"), parts(rows, "speaker")
    if scheme in ("auto", "text"):
        assert not sentences["train"] & (sentences["val"] | sentences["test"])
        assert rows[0].split_id == "text-0.2-0.2-s0"
    if scheme == "speaker":
        assert [len(speakers[p]) for p in ("train", "val", "test")] == [1, 1, 1]
    if scheme == "random":
        assert speakers["train"] == speakers["val"] == speakers["test"]
    if scheme == "official":
        assert sentences["test"] == {"s0"} and sentences["val"] == {"s1"}
        assert sentences["unused"] == {"s10", "s11"}
    assert len(list((out / "features").glob("*/*.npy"))) == 2


def test_a_corpus_with_its_own_split_keeps_it(corpus: Path, out: Path) -> None:
    table = corpus.with_name("tonessplit.csv")
    prepare("table", table, out, dvector=False, num_workers=2)
    assert parts(read_manifest(out / "manifest.jsonl"), "sentence")["val"] == {"s1"}


@pytest.mark.parametrize(
    ("speakers", "sentences", "scheme"),
    [(1, 4, "text"), (2, 2, "random"), (3, 4, "speaker"), (2, 10, "text")],
)
def test_a_split_that_fits(tmp_path: Path, speakers: int, sentences: int, scheme: str) -> None:
    lines = ["path,speaker,sentence"]
    for n in range(speakers * sentences * 3):
        soundfile.write(tmp_path / f"{n}.wav", tone(100 + n, 0.35), RATE)
        lines.append(f"{n}.wav,s{n % speakers},{n // speakers % sentences}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    out = tmp_path / "out"
    prepare("table", tmp_path, out, val=0.3, test=0.3, dvector=False, energy=False, num_workers=1)
    assert str(read_manifest(out / "manifest.jsonl")[0].split_id).startswith(scheme)


def test_a_speaker_can_be_held_out(corpus: Path, out: Path) -> None:
    speaker = read_manifest(out / "manifest.jsonl")[0].speaker
    prepare("table", corpus, out, "text", 0.1, 0.3, [speaker], dvector=False, num_workers=2)
    speakers = parts(read_manifest(out / "manifest.jsonl"), "speaker")
    assert speaker in speakers["test"] and speaker not in speakers["train"] | speakers["val"]


def test_a_stale_list_of_problems_goes(tmp_path: Path) -> None:
    for speaker, f0_hz in BASE_HZ.items():
        (tmp_path / "in" / speaker).mkdir(parents=True)
        soundfile.write(tmp_path / "in" / speaker / "a.wav", tone(f0_hz), RATE)
    bad = tmp_path / "in" / "ann" / "b.wav"
    bad.touch()
    for _ in range(2):
        prepare("table", tmp_path / "in", tmp_path / "out", dvector=False, energy=False)
        assert (tmp_path / "out" / "notes.txt").exists()
        bad.unlink(missing_ok=True)


def test_nothing_usable_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in" / "ann").mkdir(parents=True)
    soundfile.write(tmp_path / "in" / "ann" / "a.wav", np.zeros(RATE), RATE)
    with pytest.raises(UserError, match=r"a\.wav: is silent; remove it - and no other file"):
        prepare("table", tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_reader_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any importable module with ``read(root)`` is a corpus."""
    for n, f0_hz in enumerate((100, 150, 200)):
        soundfile.write(tmp_path / f"{n}.wav", tone(f0_hz), RATE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "my_reader.py").write_text(
        "from emovc.common.corpora.reading import Collection, find_audio\n"
        "def read(root):\n"
        "    found = Collection('mine', root)\n"
        "    for path in find_audio(root):\n"
        "        found.add(found.row(path, path.stem, path.stem))\n"
        "    return found.listing('my own', 'nobody')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    prepare("package.my_reader", tmp_path, tmp_path / "out", dvector=False, energy=False)
    assert len(read_manifest(tmp_path / "out" / "manifest.jsonl")) == 3
