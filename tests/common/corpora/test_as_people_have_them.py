"""Corpora and tables as people have them: older releases, other spellings, other signals."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emovc.common.corpora import read_corpus
from emovc.common.corpora.reading import lines_of
from emovc.common.errors import UserError
from emovc.common.manifest import read_manifest, write_manifest
from emovc.common.pairs import conversion_pairs

Write = Callable[..., None]
BREAKS = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"]


def table(folder: Path, *rows: str) -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("folder", ["laryngo", "EGG", "a/denoised"])
def test_other_signals_beside_emodb_are_not_read(
    tmp_path: Path, write_audio: Write, folder: str
) -> None:
    write_audio(f"{folder}/03a01Fa.wav", "Wav/03a01Fa.wav", "Wav/08b10Na.wav")
    found = read_corpus("emodb", tmp_path)
    assert [u.path.parent.name for u in found.utterances] == ["Wav", "Wav"]
    assert found.skipped == [f"{folder}/03a01Fa.wav: lies beside the folder wav, which holds the"
                             " recordings"]  # fmt: skip
    inside = read_corpus("emodb", tmp_path / "Wav")
    assert len(inside.utterances) == 2


def test_two_recordings_of_one_name_end_the_reading(tmp_path: Path, write_audio: Write) -> None:
    write_audio("one/03a01Fa.wav", "two/03a01Fa.wav")
    with pytest.raises(UserError, match="03a01Fa.wav: has the same name as .* folder wav"):
        read_corpus("emodb", tmp_path)


def test_emodb_in_capitals_and_with_its_labels_ending(tmp_path: Path, write_audio: Write) -> None:
    write_audio("wav/03A01FA.WAV", "wav/08b10nbxx.wav", "wav/16a05Wc.wav")
    ids = [u.id for u in read_corpus("emodb", tmp_path).utterances]
    assert ids == ["emodb/03a01Fa", "emodb/08b10Nb", "emodb/16a05Wc"]


def test_denoised_copies_beside_nemo_are_not_read(tmp_path: Path, write_audio: Write) -> None:
    write_audio("samples/AB0_anger_1.wav", "denoised/AB0_anger_1.wav")
    head = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"
    row = 'AB0_anger_1.wav\tanger\tTak.\ttak "to"\tAB0\tfemale\t30'
    (tmp_path / "data.tsv").write_text(f"{head}\n{row}\n")
    (only,) = read_corpus("nemo", tmp_path).utterances
    assert only.path.parent.name == "samples" and only.text == 'tak "to"'


@pytest.mark.parametrize(("labels", "part"), [("consensus", "Validation"),
                                              ("concensus", "Development")])  # fmt: skip
def test_older_releases_of_msp_podcast(
    tmp_path: Path, write_audio: Write, labels: str, part: str
) -> None:
    write_audio("Audio/MSP-PODCAST_0001_0008.wav")
    (tmp_path / "Labels").mkdir()
    head = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    row = f"MSP-PODCAST_0001_0008.wav,H,nan,4.5,3,12,Female,{part}"
    (tmp_path / "Labels" / f"labels_{labels}.csv").write_text(f"{head}\n{row}\n")
    (only,) = read_corpus("msp_podcast", tmp_path).utterances
    assert (only.split, only.arousal, only.valence) == ("val", None, 4.5)


@pytest.mark.parametrize(("said", "words"), [
    ("[BREATHING] No. [LIPSMACK] Never.", "No. Never."),
    ("[GARBAGE]", None), ("Yes.  ", "Yes."), ("I [unclear] know", "I know"),
])  # fmt: skip
def test_events_are_no_words(
    tmp_path: Path, write_audio: Write, said: str, words: str | None
) -> None:
    name = "Ses02M_script01_M003"
    write_audio(f"Session2/sentences/wav/Ses02M_script01/{name}.wav")
    for folder, line in (
        ("EmoEvaluation", f"[1.0 - 2.0]\t{name}\tneu\t[3.0, 2.0, 3.0]"),
        ("transcriptions", f"{name} [001.0000-002.0000]: {said}"),
    ):
        path = tmp_path / "Session2" / "dialog" / folder / "Ses02M_script01.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line + "\n")
    (only,) = read_corpus("iemocap", tmp_path).utterances
    assert only.text == words


@pytest.mark.parametrize("mark", BREAKS)
def test_breaks_inside_texts_part_no_lines(tmp_path: Path, write_audio: Write, mark: str) -> None:
    write_audio("A/1.wav", "A/2.wav")
    table(tmp_path, "path,speaker,text", f"A/1.wav,A,one{mark}two", "A/2.wav,A,three")
    first, second = read_corpus("table", tmp_path).utterances
    assert first.text == "one two" and second.text == "three"
    manifest = tmp_path / "manifest.jsonl"
    import dataclasses

    written = [dataclasses.replace(first, text=f"one{mark}two"), second]
    write_manifest(manifest, written)
    assert [u.text for u in read_manifest(manifest)] == [f"one{mark}two", "three"]
    assert lines_of(f"a{mark}b\r\nc\n") == [f"a{mark}b", "c"]


def test_a_quoted_cell_may_hold_lines_and_delimiters(tmp_path: Path, write_audio: Write) -> None:
    write_audio("A/1.wav", "A/2.wav")
    table(
        tmp_path,
        "path;speaker;text",
        'A/1.wav;A;"He said:',
        '""go; now""',
        'at once."',
        "A/2.wav;A;x",
    )
    first, second = read_corpus("table", tmp_path).utterances
    assert first.text == 'He said: "go; now" at once.' and second.text == "x"


@pytest.mark.parametrize("value", ["nan", "NaN", "NA", "n/a", "-", "None"])
def test_unknown_ratings_are_unknown(tmp_path: Path, write_audio: Write, value: str) -> None:
    write_audio("A/1.wav")
    table(tmp_path, "path,speaker,arousal", f"A/1.wav,A,{value}")
    assert read_corpus("table", tmp_path).utterances[0].arousal is None


@pytest.mark.parametrize("value", ["inf", "-inf", "9", "0.5", "-1", "7.01", "high", "1e9"])
def test_ratings_off_the_scale_are_named(tmp_path: Path, write_audio: Write, value: str) -> None:
    write_audio("A/1.wav")
    table(tmp_path, "path,speaker,dominance", f"A/1.wav,A,{value}")
    with pytest.raises(UserError, match=r"list\.csv:2: dominance holds .* from 1 to 7"):
        read_corpus("table", tmp_path)


def test_all_problems_of_a_table_come_in_one_report(tmp_path: Path, write_audio: Write) -> None:
    write_audio("A/1.wav")
    table(tmp_path, "path,speaker,valence,split", "A/1.wav,A,9,", "A/2.wav,,3,", "A/3.wav,A,3,dev")
    with pytest.raises(UserError) as raised:
        read_corpus("table", tmp_path)
    text = str(raised.value)
    assert "\n" not in text and "2 more" in text
    assert all(part in text for part in (":2: valence", ":3: speaker", ":4: unknown split"))


def test_unknown_labels_and_columns_are_noted(tmp_path: Path, write_audio: Write) -> None:
    write_audio("A/1.wav", "A/2.wav")
    table(tmp_path, "path,speaker,emotion,mood,sha256", "A/1.wav,A,Furious,x,0", "A/2.wav,A,Sad,,1")
    found = read_corpus("table", tmp_path)
    assert [(u.emotion, u.emotion_raw) for u in found.utterances] == [(None, "Furious"),
                                                                     ("sad", "Sad")]  # fmt: skip
    assert len(found.utterances[0].sha256) == 64
    text = "\n".join(found.skipped)
    assert "A/1.wav: has the unknown emotion 'Furious'" in text
    assert "column 'mood'" in text and "column 'sha256' is measured" in text


def test_paths_of_windows(tmp_path: Path, write_audio: Write) -> None:
    write_audio("my rec/anna/1.wav")
    table(tmp_path, "path,speaker", r"my rec\anna\1.wav,anna", r"anna\2.wav,anna")
    found = read_corpus("table", tmp_path)
    assert [u.id.split("/", 1)[1] for u in found.utterances] == ["my_rec/anna/1"]
    assert found.skipped == ["anna/2.wav: no such audio file"]


def test_other_formats_are_read_or_named(tmp_path: Path, write_audio: Write) -> None:
    write_audio("A/sad/1.wav", "A/sad/2.mp3", "B/sad/3.ogg", "._hidden/4.wav", "B/sad/._3.wav")
    (tmp_path / "B" / "sad" / "5.m4a").write_bytes(b"x")
    found = read_corpus("table", tmp_path)
    assert [u.path.name for u in found.utterances] == ["1.wav", "2.mp3", "3.ogg"]
    assert found.skipped == ["B/sad/5.m4a: .m4a can't be read; convert it to wav or flac"]


def test_folders_of_esd_in_other_spellings(tmp_path: Path, write_audio: Write) -> None:
    write_audio(
        "ESD copy/0011/surprised/0011_001401.wav",
        "ESD copy/0011/ANGRY /0011_000351.wav",
        "ESD copy/0011/sad/Evaluation/0011_001051.wav",
        "ESD copy/0012/Furious/0012_000351.wav",
    )
    (tmp_path / "ESD copy" / "0011" / "0011.txt").write_text("0011_001401\tOh.\tsurprised\n")
    listing = read_corpus("esd", tmp_path)
    found = {u.id: u for u in listing.utterances}
    assert [(u.emotion, u.emotion_raw) for u in found.values()] == [
        ("angry", "Angry"), ("sad", "Sad"), ("surprise", "Surprise"),
    ]  # fmt: skip
    assert found["esd/0011_001401"].text == "Oh."
    assert {u.sentence for u in found.values()} == {"en001"}
    assert "ESD copy/0012/Furious/0012_000351.wav: is not named like" in listing.skipped[-1]


def test_sentences_that_all_emotions_of_savee_share(tmp_path: Path, write_audio: Write) -> None:
    """So that a model can be evaluated on them: pairs of one speaker and the same words."""
    names = [f"DC/{e}{n:02d}.wav" for e in ("a", "n", "sa") for n in (1, 3, 4)]
    write_audio(*names, "JE/a01.wav")
    listing = read_corpus("savee", tmp_path)
    pairs = conversion_pairs(listing.utterances, 10)
    assert {(p.source.sentence, p.target.sentence) for p in pairs} == {
        ("common1", "common1"), ("common3", "common3"),
    }  # fmt: skip
    assert len(pairs) == 4 and all(p.source.speaker == p.target.speaker for p in pairs)
    assert "numbers 01 to 03 count as the same three sentences" in listing.skipped[-1]


def test_audio_that_a_reader_does_not_look_for_is_named(tmp_path: Path, write_audio: Write) -> None:
    write_audio("DC/a01.wav")
    for name in ("DC/a02.m4a", "DC/a03.M4A", "JE/a01.mp3", "DC/._a01.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    skipped = read_corpus("savee", tmp_path).skipped
    assert "JE/a01.mp3: is one of 1 .mp3 files, which are not read" in skipped
    assert "DC/a02.m4a: is one of 2 .m4a files, which are not read" in skipped


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("a\0.wav,ann", "path holds a NUL character"),
        ("a.wav,..", r"speaker '\.\.' names nothing"),
        ("..,ann", r"path '\.\.' names nothing"),
    ],
)
def test_paths_and_speakers_that_name_nothing(cells: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,speaker\n{cells}\n")
    with pytest.raises(UserError, match=rf"list\.csv:2: {message}"):
        read_corpus("table", tmp_path)
