"""IEMOCAP, MSP-Podcast and VCTK in their authors' layouts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emovc.common.corpora import Listing, read_corpus
from emovc.common.corpora.iemocap import seven_point
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance


def one(found: Listing, name: str) -> Utterance:
    (utterance,) = [u for u in found.utterances if u.id == name]
    return utterance


def write(path: Path, content: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding=encoding)


def test_iemocap(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    session, wav = tmp_path / "Session1", "Session1/sentences/wav"
    write_audio(
        f"{wav}/Ses01F_impro01/Ses01F_impro01_F000.wav",
        f"{wav}/Ses01F_impro01/Ses01F_impro01_M000.wav",
        f"{wav}/Ses01M_script01_1b/Ses01M_script01_1b_F003.wav",
        f"{wav}/Ses01M_script01_1b/Ses01M_script01_1b_M004.wav",
        "Session1/dialog/wav/Ses01F_impro01.wav",
    )
    evaluation = session / "dialog/EmoEvaluation"
    write(
        evaluation / "Ses01F_impro01.txt",
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        "[6.2901 - 8.2357]\tSes01F_impro01_F000\texc\t[2.5000, 1.0000, 5.5000]\n"
        "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
        "[10.0 - 11.3]\tSes01F_impro01_M000\tfru\t[3.0000, 4.0000, 5.0000]\n",
    )
    write(
        evaluation / "Ses01M_script01_1b.txt",
        "[1.0 - 2.0]\tSes01M_script01_1b_F003\tneu\t[3.0, 3.0, 3.0]\n",
    )
    # Single raters' files and a Mac's shadow files must not count.
    other = "[6.2901 - 8.2357]\tSes01M_script01_1b_M004\tsad\t[1.0000, 1.0000, 1.0000]\n"
    write(evaluation / "Self-evaluation/Ses01F_impro01_f1.txt", other)
    write(evaluation / "._Ses01F_impro01.txt", other)
    write(
        session / "dialog/transcriptions/Ses01F_impro01.txt",
        "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
        "Ses01F_impro01_M000 [010.0000-011.3000]: It’s café.\nM: what?\n",
        "cp1252",
    )
    found = read_corpus("iemocap", tmp_path)
    assert len(found.utterances) == 3
    excited = one(found, "iemocap/Ses01F_impro01_F000")
    assert (excited.speaker, excited.gender) == ("iemocap_Ses01F", "F")
    assert (excited.emotion, excited.emotion_raw) == ("happy", "exc")
    assert (excited.valence, excited.arousal, excited.dominance) == (3.25, 1.0, 7.0)
    assert (excited.text, excited.sentence) == ("Excuse me.", None)
    frustrated = one(found, "iemocap/Ses01F_impro01_M000")
    assert (frustrated.speaker, frustrated.emotion) == ("iemocap_Ses01M", None)
    assert (frustrated.emotion_raw, frustrated.text) == ("fru", "It’s café.")
    assert one(found, "iemocap/Ses01M_script01_1b_F003").speaker == "iemocap_Ses01F"
    assert found.skipped == [
        f"{wav}/Ses01M_script01_1b/Ses01M_script01_1b_F003.wav:"
        " has no words in dialog/transcriptions; kept without text",
        f"{wav}/Ses01M_script01_1b/Ses01M_script01_1b_M004.wav:"
        " has no label, or an unknown one, in dialog/EmoEvaluation",
    ]


def test_ratings_keep_ends_and_middle() -> None:
    assert [seven_point(r) for r in (1, 3, 5)] == [1, 4, 7]


HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"


def test_msp_podcast(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    names = [f"MSP-PODCAST_{n}" for n in ("0001_0008", "0001_0009", "0002_0001", "0003_0007")]
    write_audio(*(f"Audios/{n}.wav" for n in names), "Audios/MSP-PODCAST_0009_0001.wav")
    write(
        tmp_path / "Labels/labels_consensus.csv",
        HEADER + f"{names[0]}.wav,N,2.2,4.0,2.6,30,Male,Train\n"
        f"{names[1]}.wav,C,3.8,3.6,3.8,Unknown,Unknown,Development\n"
        f"{names[2]}.wav,U,6.0,5.0,5.0,39,Female,Test1\n"
        f"{names[3]}.wav,,,,,,,Test3\n"
        "MSP-PODCAST_0004_0001.wav,A,1,1,1,3,Male,Train\n",
    )
    write(tmp_path / f"Transcripts/{names[0]}.txt", "well, yes\n")
    write(tmp_path / "readme.txt", "# Release 1.12 (June 6, 2024) #\n")
    found = read_corpus("msp_podcast", tmp_path)
    neutral, contempt, surprise, hidden = found.utterances
    assert (neutral.speaker, neutral.gender, neutral.text) == ("msp_podcast_30", "M", "well, yes")
    assert (neutral.arousal, neutral.valence, neutral.dominance) == (2.2, 4.0, 2.6)
    assert [u.split for u in found.utterances] == ["train", "val", "test", "unused"]
    assert {u.split_id for u in found.utterances} == {"msp-podcast-1.12"}
    assert (contempt.speaker, contempt.gender) == ("msp_podcast_unknown_0001", None)
    assert (contempt.emotion, contempt.emotion_raw) == (None, "contempt")
    assert (surprise.emotion, hidden.emotion, hidden.arousal) == ("surprise", None, None)
    assert found.skipped == [
        "Audios/MSP-PODCAST_0009_0001.wav: has no row in labels_consensus.csv",
        "Labels/labels_consensus.csv: names MSP-PODCAST_0004_0001, and there is no such audio file",
    ]


def test_msp_podcast_refuses_a_broken_table(
    tmp_path: Path, write_audio: Callable[..., None]
) -> None:
    with pytest.raises(UserError, match=r"holds no labels_consensus.csv; expected Labels/"):
        read_corpus("msp_podcast", tmp_path)
    write_audio("Audios/MSP-PODCAST_0001_0008.wav")
    table = tmp_path / "labels_consensus.csv"
    write(table, HEADER + "MSP-PODCAST_0001_0008.wav,N,high,4,2,30,Male,Train\n")
    with pytest.raises(UserError, match=r"csv: MSP-PODCAST_0001_0008.wav: EmoAct holds 'high'"):
        read_corpus("msp_podcast", tmp_path)
    write(table, HEADER.replace("EmoVal", "Valence"))
    with pytest.raises(UserError, match="column EmoVal is missing"):
        read_corpus("msp_podcast", tmp_path)


def test_vctk_0_80(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio("wav48/p225/p225_001.wav", "wav48/p226/p226_002.wav", rate=48_000)
    write(tmp_path / "txt/p225/p225_001.txt", "Please call Stella.\n")
    write(tmp_path / "txt/p226/p226_002.txt", "please  call Stella")
    info = "ID  AGE  GENDER  ACCENTS  REGION\n225  23  F    English    Southern  England\n"
    write(tmp_path / "speaker-info.txt", info + "226  22  M    English    Surrey\n")
    found = read_corpus("vctk", tmp_path)
    first, second = found.utterances
    assert (first.id, first.speaker, first.gender) == ("vctk/p225_001", "vctk_p225", "F")
    assert (first.emotion, first.emotion_raw) == ("neutral", None)
    assert first.text == "Please call Stella." and second.gender == "M"
    assert first.sentence == second.sentence == "please call stella"
    assert found.skipped == []


def test_vctk_0_92_keeps_one_microphone(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    wav = "wav48_silence_trimmed"
    write_audio(f"{wav}/p225/p225_001_mic1.flac", f"{wav}/p225/p225_001_mic2.flac")
    write_audio(f"{wav}/s5/s5_001_mic1.flac", f"{wav}/p315/p315_001_mic1.flac")
    write(tmp_path / "txt/p225/p225_001.txt", "Please call Stella.")
    write(tmp_path / "txt/s5/s5_001.txt", "Ask her.")
    info = "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \np225  23  F    English    Southern\n"
    write(tmp_path / "speaker-info.txt", info + "s5  22  M  British  English\n")
    found = read_corpus("vctk", tmp_path)
    assert [u.id for u in found.utterances] == ["vctk/p225_001", "vctk/p315_001", "vctk/s5_001"]
    assert [u.gender for u in found.utterances] == ["F", None, "M"]
    assert found.utterances[1].sentence is None
    assert found.skipped == [
        f"{wav}: 1 recordings of the second microphone (mic2), which hold the same speech",
        "txt/p315: 1 texts are missing; kept without text",
    ]
