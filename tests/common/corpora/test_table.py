"""A user's own recordings, and what is the same for all readers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emovc.common.corpora import corpus_names, read_corpus
from emovc.common.corpora.reading import natural_key, read_text, words_of
from emovc.common.errors import UserError
from emovc.common.files import sha256_of
from emovc.common.manifest import read_manifest, write_manifest


def test_every_corpus_is_found_and_documented() -> None:
    from importlib import import_module

    names = corpus_names()
    expected = "crema_d emodb esd iemocap msp_podcast nemo ravdess savee table tess vctk"
    assert set(expected.split()) <= set(names) and "reading" not in names
    for name in names:
        module = import_module(f"emovc.common.corpora.{name}")
        assert module.LICENCE and module.CITE and module.__doc__


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_table(tmp_path: Path, write_audio: Callable[..., None], delimiter: str) -> None:
    write_audio("my rec/a 1.wav", "my rec/b.wav", rate=22_050)
    rows = [
        "path,speaker,gender,emotion,arousal,sentence,text,split",
        "my rec/a 1.wav,Ann,female,Anger,5.5,s1,Hello there,train",
        "my rec/b.wav,Bob,M,,,,,",
        "missing.wav,Bob,M,sad,,,,",
    ]
    content = "\n".join(rows).replace(",", delimiter)
    table = tmp_path / "list.csv"
    table.write_text(content, encoding="utf-8-sig")
    for root in (table, tmp_path):
        found = read_corpus("table", root)
        ann, bob = found.utterances
        assert ann.id.endswith("/my_rec/a_1") and ann.speaker == f"{ann.corpus}_Ann"
        assert (ann.gender, ann.emotion, ann.emotion_raw) == ("F", "angry", "Anger")
        assert (ann.arousal, ann.sentence, ann.text) == (5.5, "s1", "Hello there")
        assert (ann.split, ann.split_id) == ("train", f"{ann.corpus}-own")
        assert (bob.emotion, bob.split, bob.gender) == (None, None, "M")
        assert found.skipped == ["missing.wav: no such audio file"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,emotion\na.wav,sad\n", "column speaker is missing"),
        ("path,speaker\na.wav,\n", "list.csv:2: speaker is empty"),
        ("path,speaker,text,text\na.wav,A,x,y\n", "column text stands twice"),
        ("path,speaker,gender\na.wav,A,x\n", "list.csv:2: unknown gender 'x'; use one of F, M"),
        ("path,speaker,valence\na.wav,A,high\n", "list.csv:2: valence holds 'high'"),
        ("path,speaker,split\na.wav,A,dev\n", "unknown split 'dev'; use one of train, val"),
    ],
)
def test_bad_tables_are_refused_in_one_line(
    tmp_path: Path, write_audio: Callable[..., None], content: str, message: str
) -> None:
    write_audio("a.wav")
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_corpus("table", tmp_path)


def test_folders(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio("Ann/Happy/x.wav", "Ann/Happy/deep/x.flac", "Bob/odd/x.wav", "Cid/x.wav", "x.wav")
    found = read_corpus("table", tmp_path)
    corpus = found.utterances[0].corpus
    rows = {u.id.removeprefix(f"{corpus}/"): u for u in found.utterances}
    assert {name: (u.speaker, u.emotion, u.emotion_raw) for name, u in rows.items()} == {
        "Ann/Happy/x": (f"{corpus}_Ann", "happy", "Happy"),
        "Ann/Happy/deep/x": (f"{corpus}_Ann", "happy", "Happy"),
        "Bob/odd/x": (f"{corpus}_Bob", None, "odd"),
        "Cid/x": (f"{corpus}_Cid", None, None),
    }
    assert found.skipped == [
        "Bob/odd/x.wav: has the unknown emotion 'odd'; kept without emotion",
        "x.wav: lies in no speaker's folder",
    ]


def test_ids_are_safe_file_names_and_a_manifest_survives(
    tmp_path: Path, write_audio: Callable[..., None]
) -> None:
    write_audio("up/a.wav", "in/b.wav")
    (tmp_path / "in/list.csv").write_text("path,speaker,id\n../up/a.wav,A/B,\nb.wav,C,../../b\n")
    found = read_corpus("table", tmp_path / "in" / "list.csv")
    assert [(u.id, u.speaker) for u in found.utterances] == [
        ("in/up/a", "in_A_B"),
        ("in/b", "in_C"),
    ]
    write_manifest(tmp_path / "manifest.jsonl", found.utterances)
    again = read_manifest(tmp_path / "manifest.jsonl")
    assert [u.sha256 for u in again] == [sha256_of(u.path) for u in found.utterances]


def test_unusable_audio_is_skipped_with_its_reason(
    tmp_path: Path, write_audio: Callable[..., None]
) -> None:
    write_audio("A/sad/1.wav", "B/sad/1.wav")
    (tmp_path / "A/sad/2.wav").write_bytes(b"")
    (tmp_path / "A/sad/3.wav").write_text("no audio at all")
    soundfile.write(tmp_path / "A/sad/4.wav", np.zeros(0), 16_000)
    (tmp_path / "A/sad/._1.wav").write_text("shadow of a Mac")
    found = read_corpus("table", tmp_path)
    assert len(found.utterances) == 2
    said = [line.split(": ", 1)[1].split(";")[0] for line in found.skipped]
    assert said[0] == "is an empty file" and said[2] == "holds no samples"
    assert said[1].startswith("is not audio that can be read") and len(said) == 3


def test_wrong_names_and_folders_are_refused(
    tmp_path: Path, write_audio: Callable[..., None]
) -> None:
    with pytest.raises(UserError, match="iemcap: no such corpus; known are .*iemocap"):
        read_corpus("iemcap", tmp_path)
    with pytest.raises(UserError, match="nowhere: no such folder; give the folder of the corpus"):
        read_corpus("emodb", tmp_path / "nowhere")
    with pytest.raises(UserError, match="no usable file of the corpus emodb, expected wav/03a01Fa"):
        read_corpus("emodb", tmp_path)
    write_audio("x.wav")
    with pytest.raises(UserError, match="first skipped: x.wav: is not named like 03a01Fa"):
        read_corpus("emodb", tmp_path)
    with pytest.raises(UserError, match="my.corpus: no such module"):
        read_corpus("my.corpus", tmp_path)
    with pytest.raises(UserError, match="defines no read"):
        read_corpus("emovc.common.emotions", tmp_path)


def test_a_module_of_ones_own(
    tmp_path: Path, write_audio: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio("sound/a.wav")
    package = tmp_path / "lab_corpora"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "attic.py").write_text(
        "from emovc.common.corpora.reading import Collection, find_audio\n"
        "def read(root):\n"
        "    found = Collection('attic', root)\n"
        "    for path in find_audio(root):\n"
        "        found.add(found.row(path, path.stem, 'S'))\n"
        "    return found.listing('ours', 'us')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = read_corpus("lab_corpora.attic", tmp_path / "sound")
    assert [u.id for u in found.utterances] == ["attic/a"] and found.licence == "ours"


def test_natural_order_and_words() -> None:
    paths = [Path(n) for n in ("a10/b", "a2/b", "a2/B10", "a2/B9", "10", "9")]
    ordered = [p.as_posix() for p in sorted(paths, key=natural_key)]
    assert ordered == ["9", "10", "a2/B9", "a2/B10", "a2/b", "a10/b"]
    assert words_of(" It’s  a CAFÉ, isn't it? ") == words_of("it's a café isn't it")
    assert words_of("[…]") is None


def test_text_without_zeros_is_never_taken_for_utf_16(tmp_path: Path) -> None:
    for text, encoding in (("", "utf-8"), ("abc", "utf-8"), ("é", "cp1252"), ("好é", "utf-16-le")):
        path = tmp_path / "t.txt"
        path.write_bytes((text * 3 + "\n").encode(encoding))
        assert read_text(path).content == text * 3 + "\n"
