"""The toy corpus is whole, the same each time, and what its annotations say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emovc.common.corpora import read_corpus
from emovc.common.corpora import toy as toy_corpus
from emovc.common.corpora.toy import make_toy, script
from emovc.common.corpora.toy_script import EMOTIONS, SENTENCES, VOICES
from emovc.common.errors import UserError
from emovc.common.f0 import Dio
from emovc.common.manifest import Utterance
from emovc.common.splits import assign_split, find_leaks
from emovc.common.wav import read_wav


@pytest.fixture(scope="session")
def corpus(toy: Path) -> Path:
    """The corpus from which the fixture's manifest was prepared."""
    return toy.parents[1] / "audio"


@pytest.fixture(scope="session")
def rows(corpus: Path) -> list[Utterance]:
    return read_corpus("toy", corpus).utterances


def known(corpus: Path, row: Utterance) -> dict[str, Any]:
    return json.loads((corpus / "annotations" / f"{row.path.stem}.json").read_text())


def mean_f0(corpus: Path, row: Utterance) -> float:
    f0_hz = np.array(known(corpus, row)["f0_hz"])
    return float(np.exp(np.log(f0_hz[f0_hz > 0]).mean()))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_rows_are_the_files_and_the_whole_grid(corpus: Path, rows: list[Utterance]) -> None:
    assert {u.path for u in rows} == set((corpus / "audio").iterdir())
    assert len(list((corpus / "annotations").iterdir())) == len(rows)
    cells = {(u.speaker, u.emotion, u.sentence, u.text) for u in rows}
    assert cells == {
        (f"toy_{voice}", emotion, f"s0{i + 1}", SENTENCES[i])
        for voice in VOICES
        for emotion in EMOTIONS
        for i in range(4)
    }
    assert len({u.sha256 for u in rows}) == len(rows)
    assert all(u.gender == VOICES[u.speaker.removeprefix("toy_")].gender for u in rows)


def test_audio_is_sane(rows: list[Utterance]) -> None:
    for u in rows:
        wav, rate = read_wav(u.path)
        assert rate == u.sample_rate == 22_050
        assert len(wav) % 256 == 0 and 1.3 < u.seconds < 4.0
        assert 0.05 < np.abs(wav).max() < 0.95


def test_f0_measured_is_the_f0_stored(corpus: Path, rows: list[Utterance]) -> None:
    """Dio finds the stored F0, in the same frames and not a fraction of a frame beside them."""
    errors, slopes, agreement = [], [], []
    for u in rows:
        wav, _ = read_wav(u.path)
        stored, found = np.array(known(corpus, u)["f0_hz"]), Dio()(wav)
        assert len(stored) == len(found) == len(wav) // 256
        agreement.append(np.mean((stored > 0) == (found > 0)))
        both = (stored > 0) & (found > 0)
        inner = np.flatnonzero(both[:-2] & both[1:-1] & both[2:]) + 1
        errors.append(1200 * np.log2(found[inner] / stored[inner]))
        slopes.append(600 * np.log2(stored[inner + 1] / stored[inner - 1]))
        assert np.median(np.abs(errors[-1])) < 25
    error, slope = np.concatenate(errors), np.concatenate(slopes)
    assert np.median(np.abs(error)) < 10
    assert np.mean(np.abs(error) > 50) < 0.1
    assert np.mean(agreement) > 0.92
    close = np.abs(error) < 100
    assert abs(error[close] @ slope[close] / (slope[close] @ slope[close])) < 0.2  # in frames


def test_phones_follow_each_other_over_the_whole_file(corpus: Path, rows: list[Utterance]) -> None:
    for u in rows:
        phones = known(corpus, u)["phones"]
        assert phones[0]["name"] == phones[-1]["name"] == "_"
        assert phones[0]["start_s"] == 0.0
        assert phones[-1]["end_s"] == pytest.approx(u.seconds, abs=1e-4)
        for this, following in zip(phones, phones[1:], strict=False):
            assert this["start_s"] < this["end_s"] == following["start_s"]
        assert len(phones) > 20


def test_phones_lie_where_they_sound(corpus: Path, rows: list[Utterance]) -> None:
    """Stressed vowels are voiced and loud, the outer pauses are neither."""
    voiced = []
    for u in rows:
        wav, rate = read_wav(u.path)
        f0_hz = np.array(known(corpus, u)["f0_hz"])
        centres_s = (np.arange(len(f0_hz)) * 256 + 128) / rate
        speech = np.zeros(len(wav), bool)
        vowels = np.zeros(len(f0_hz), bool)
        for phone in known(corpus, u)["phones"]:
            start, end = phone["start_s"], phone["end_s"]
            if phone["name"] != "_":
                speech[int(start * rate) : int(end * rate)] = True
            if phone["name"].startswith("ˈ"):
                vowels |= (centres_s > start) & (centres_s < end)
        voiced.append(np.mean(f0_hz[vowels] > 0))
        outside = wav[: np.argmax(speech) - 256]
        assert np.square(outside).mean() < 1e-3 * np.square(wav[speech]).mean()
    assert min(voiced) > 0.7 and np.mean(voiced) > 0.9  # the closure of a stop counts to the vowel


def test_emotions_differ_as_intended(corpus: Path, rows: list[Utterance]) -> None:
    cells = {(u.speaker, u.sentence, u.emotion): u for u in rows}
    for speaker, sentence in {(u.speaker, u.sentence) for u in rows}:
        said = {e: cells[speaker, sentence, e] for e in EMOTIONS}
        f0_hz = {e: mean_f0(corpus, u) for e, u in said.items()}
        assert f0_hz["sad"] < f0_hz["neutral"] < f0_hz["angry"] < f0_hz["happy"]
        assert f0_hz["surprise"] > f0_hz["neutral"]
        assert said["sad"].seconds > said["neutral"].seconds > said["angry"].seconds
        power = {e: np.square(read_wav(u.path)[0]).mean() for e, u in said.items()}
        assert power["sad"] < power["neutral"] < power["happy"] < power["angry"]
        ends = {e: np.trim_zeros(known(corpus, u)["f0_hz"])[-1] for e, u in said.items()}
        assert ends["surprise"] / f0_hz["surprise"] > 1.1
        assert ends["neutral"] / f0_hz["neutral"] < 0.95


def test_speakers_have_their_f0(corpus: Path, rows: list[Utterance]) -> None:
    for name, voice in VOICES.items():
        own = [u for u in rows if u.speaker == f"toy_{name}" and u.emotion == "neutral"]
        mean = np.mean([mean_f0(corpus, u) for u in own])
        assert mean == pytest.approx(voice.f0_hz, rel=0.1)


def test_split_is_disjoint_in_text_and_holds_everyone(rows: list[Utterance]) -> None:
    split = assign_split(rows, "official")
    assert find_leaks(split, disjoint=["sentence"]) == []
    texts = {part: {u.text for u in split if u.split == part} for part in ("train", "val", "test")}
    assert not texts["val"] & (texts["train"] | texts["test"])
    for part in texts:
        cells = {(u.speaker, u.emotion) for u in split if u.split == part}
        assert len(cells) == len(VOICES) * len(EMOTIONS)
    assert {u.split_id for u in split} == {"toy-official"}


def test_interrupted_make_is_completed_to_the_same_bytes(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interruption leaves no corpus; the next call gives the bytes of any other make."""
    write_wav = toy_corpus.write_wav

    def breaks(path: Path, wav: np.ndarray, sample_rate: int) -> None:
        if path.stem == "bea_happy_s02":
            raise UserError("the disk is full")
        write_wav(path, wav, sample_rate)

    folder = tmp_path / "corpus"
    monkeypatch.setattr(toy_corpus, "write_wav", breaks)
    with pytest.raises(UserError, match="the disk is full"):
        make_toy(folder, n_sentences=3)
    with pytest.raises(UserError, match="no complete toy corpus"):
        toy_corpus.read(folder)
    monkeypatch.undo()
    before = contents(folder)
    (folder / "audio" / "anna_neutral_s01.flac").unlink()
    assert len(read_corpus("toy", folder).utterances) == 60
    made = contents(folder)
    for name in before.keys() - {"corpus.json"}:
        assert made[name] == before[name]
    first = contents(corpus)
    expected = {n: b for n, b in first.items() if n != "corpus.json" and "_s04" not in n}
    assert {n: b for n, b in made.items() if n != "corpus.json"} == expected


def test_complete_corpus_is_not_made_again(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    monkeypatch.setattr(toy_corpus, "speak", None)
    make_toy(corpus, n_sentences=4)
    read_corpus("toy", corpus)
    assert {p: p.stat().st_mtime_ns for p in corpus.rglob("*")} == times


def test_other_folders_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        make_toy(tmp_path)
    with pytest.raises(UserError, match="holds something else"):
        read_corpus("toy", tmp_path / "thesis.txt")
    (tmp_path / "corpus.json").write_text('{"utterances": []}')
    with pytest.raises(UserError, match="is not of a toy corpus"):
        make_toy(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_script_has_its_limits() -> None:
    with pytest.raises(UserError, match="3 to 24"):
        make_toy(Path("nowhere"), n_sentences=2)
    assert script(12) == script(24)[:240]
    assert len(set(SENTENCES)) == len(SENTENCES)
