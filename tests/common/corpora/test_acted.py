"""Acted corpora whose labels are in the file names, each in its authors' layout."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emovc.common.corpora import Listing, read_corpus
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance


def one(found: Listing, name: str) -> Utterance:
    (utterance,) = [u for u in found.utterances if u.id == name]
    return utterance


def test_ravdess_takes_speech_only(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio(
        "Audio_Speech_Actors_01-24/Actor_02/03-01-06-02-01-02-02.wav",
        "Audio_Song_Actors_01-24/Actor_02/03-02-06-02-01-02-02.wav",
        "Actor_02/01-01-06-02-01-02-02.wav",
        "Actor_02/noise.wav",
    )
    found = read_corpus("ravdess", tmp_path)
    (u,) = found.utterances
    assert (u.speaker, u.gender, u.emotion, u.emotion_raw) == ("ravdess_02", "F", "fear", "fearful")
    assert (u.intensity, u.sentence, u.take) == ("strong", "01", "02")
    said = "\n".join(found.skipped)
    assert "03-02-06-02-01-02-02.wav: is song, not speech" in said
    assert "01-01-06-02-01-02-02.wav: is of modality 01" in said
    assert "Actor_02/noise.wav: is not named like" in said


def test_emodb_skips_strangers(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio("wav/08b02Wd.wav", "wav/08c02Wd.wav", "wav/07a01Wa.wav")
    found = read_corpus("emodb", tmp_path)
    (u,) = found.utterances
    assert (u.speaker, u.gender, u.emotion, u.take) == ("emodb_08", "F", "angry", "d")
    assert (u.sentence, u.language) == ("b02", "de")
    assert len(found.skipped) == 2 and "speaker 07" in found.skipped[1] + found.skipped[0]


def test_nemo_follows_its_table(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio("samples/SB0_surprised_7.wav", "samples/SB0_anger_7.wav", rate=24_000)
    (tmp_path / "data.tsv").write_text(
        "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
        "SB0_surprised_7.wav\tsurprised\tCzy to „ty”?\tczy to ty\t        SB0\tfemale\t27\n"
        "SB0_fear_7.wav\tfear\tA\ta\tSB0\tfemale\t27\n",
        encoding="utf-8",
    )
    found = read_corpus("nemo", tmp_path)
    (u,) = found.utterances
    assert (u.speaker, u.gender, u.emotion, u.sentence) == ("nemo_SB0", "F", "surprise", "7")
    assert (u.text, u.language, u.sample_rate) == ("czy to ty", "pl", 24_000)
    assert found.skipped == [
        "samples/SB0_anger_7.wav: has no row in data.tsv, or not a name like EB0_anger_1",
        "data.tsv: names SB0_fear_7, and there is no such audio file",
    ]
    (tmp_path / "data.tsv").write_text("file_id\n")
    with pytest.raises(UserError, match="column emotion is missing"):
        read_corpus("nemo", tmp_path)


def test_crema_d(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio(
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioWAV/1002_IEO_HAP_HI.wav",
        "AudioWAV/1040_ITH_SAD_X.wav",
        "AudioWAV/1064_IEO_DIS_MD.wav",
        "AudioWAV/1064_XYZ_DIS_MD.wav",
    )
    (tmp_path / "AudioWAV/1003_DFA_NEU_XX.wav").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    (tmp_path / "VideoDemographics.csv").write_text(
        '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","",""\n1002,21,"Female","",""\n'
    )
    found = read_corpus("crema_d", tmp_path)
    assert len(found.utterances) == 3
    angry = one(found, "crema_d/1001_DFA_ANG_XX")
    assert (angry.gender, angry.emotion, angry.emotion_raw) == ("M", "angry", "ANG")
    assert (angry.intensity, angry.sentence) == (None, "DFA")
    assert angry.text == "Don't forget a jacket."
    happy = one(found, "crema_d/1002_IEO_HAP_HI")
    assert (happy.gender, happy.intensity, happy.speaker) == ("F", "high", "crema_d_1002")
    assert one(found, "crema_d/1040_ITH_SAD_X").intensity is None
    said = "\n".join(found.skipped)
    assert "1003_DFA_NEU_XX.wav: is a Git LFS pointer" in said
    assert "1064_IEO_DIS_MD.wav: is broken in the release" in said
    assert "1064_XYZ_DIS_MD.wav: is not named like" in said


def test_savee(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio("AudioData/DC/sa01.wav", "AudioData/KL/n30.wav", "AudioData/XX/a01.wav")
    write_audio("ALL/JK_su02.wav", "ALL/DC_sa01.wav")
    found = read_corpus("savee", tmp_path)
    assert len(found.utterances) == 3
    sad = one(found, "savee/DC_sa01")
    assert (sad.emotion, sad.emotion_raw, sad.sentence) == ("sad", "sadness", "common1")
    assert (sad.speaker, sad.gender, sad.text) == ("savee_DC", "M", None)
    assert one(found, "savee/KL_n30").emotion == "neutral"
    assert one(found, "savee/JK_su02").emotion == "surprise"
    assert found.skipped == [
        "AudioData/DC/sa01.wav: has the same name as ALL/DC_sa01.wav, which is used",
        "AudioData/XX/a01.wav: is not named like DC/sa01",
        ".: numbers 01 to 03 count as the same three sentences in every emotion",
    ]


def test_tess(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio(
        "OAF_neutral/OA_bite_neutral.wav",
        "YAF_pleasant_surprised/YAF_back_ps.wav",
        "YAF_fear/YAF_back_scared.wav",
    )
    found = read_corpus("tess", tmp_path)
    older, younger = found.utterances
    assert (older.id, older.speaker) == ("tess/OAF_bite_neutral", "tess_OAF")
    assert (younger.speaker, younger.gender, younger.emotion) == ("tess_YAF", "F", "surprise")
    assert (younger.sentence, younger.text) == ("back", "Say the word back.")
    assert found.skipped == ["YAF_fear/YAF_back_scared.wav: is not named like OAF_back_angry"]
